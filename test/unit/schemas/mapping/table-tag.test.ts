import { expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import { TABLES } from '#test/support/gather-tables.ts';

const { mapping } = TABLES[0]!;
const [first] = mapping.columns;
const condition = { column: 'note', op: 'in' as const, values: ['in'] };

test.for<[string, Partial<TableMapping>]>([
  ['a column', { columns: mapping.columns.slice(1) }],
  ['a column’s name on the target', { columns: [{ ...first!, target: 'other' }, ...mapping.columns.slice(1)] }],
  ['the target table', { to: { ...mapping.to, name: 'other' } }],
  ['the key', { sourceKey: [], targetKey: [] }],
  ['the filter', { filter: { conditions: [condition] } }],
])('what changes a mapped record changes the tag: %s', ([, change]) => {
  expect(tableTag({ ...mapping, ...change })).not.toBe(tableTag(mapping));
});

test.for<[string, Partial<TableMapping>]>([
  ['a cast', { columns: [{ ...first!, cast: { fromType: 'text', sql: '($$)::int' } }, ...mapping.columns.slice(1)] }],
  ['the target’s type', { columns: [{ ...first!, targetType: 'varchar(3)' }, ...mapping.columns.slice(1)] }],
  ['the source’s type', { columns: [{ ...first!, source: { ...first!.source, type: 'bigint' } }, ...mapping.columns.slice(1)] }],
  ['what is done with rows that are there', { existing: 'merge' }],
])('what changes no row leaves the tag as it is: %s', ([, change]) => {
  expect(tableTag({ ...mapping, ...change })).toBe(tableTag(mapping));
});
