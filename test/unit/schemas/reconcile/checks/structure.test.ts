import { expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compareStructure, type TableIndex } from '#schemas/reconcile/checks/structure.ts';
import type { Catalog } from '#schemas/table.ts';

const name = { schema: 'public', name: 'person' };
const table = { ...name, columns: [], checks: [] };
const catalog = { tables: [table], types: [] } as unknown as Catalog;
const column = (source: string, target = source): unknown => ({ source: { name: source }, target });
const mapping = { from: name, to: name, columns: [column('mail', 'email'), column('gone')] } as unknown as TableMapping;

function index(columns: readonly string[], more: Partial<TableIndex> = {}): TableIndex {
  return {
    schema: 'public',
    table: 'person',
    name: 'one',
    primary: false,
    unique: true,
    valid: true,
    special: true,
    method: 'btree',
    columns,
    ...more,
  };
}

function found(source: readonly TableIndex[], target: readonly TableIndex[]): string[] {
  const input = { tables: [mapping], source: catalog, target: catalog, foreignKeys: [], indexes: { source, target } };
  return [...compareStructure(input).values()].flat().map(({ message }) => message);
}

test('a unique index of a part of the rows, or over an expression, is asked for like any other', () => {
  const missing = ['the unique index one, of a part of the rows or over an expression, is missing'];
  expect(found([index(['mail'])], [])).toEqual(missing);
  expect(found([index(['mail'])], [index(['email'])])).toEqual([]);
  // One of all rows lets no more in.
  expect(found([index(['mail'])], [index(['email'], { special: false })])).toEqual([]);
  expect(found([index(['mail'])], [index(['email'], { unique: false })])).toEqual(missing);
  // Expressions have no columns: there is to be one for each.
  expect(found([index([]), index([])], [index([])])).toEqual(missing);
  expect(found([index([]), index([], { unique: false }), index(['other'])], [index([])])).toEqual([]);
});
