import { expect, test } from 'vitest';
import { bindRelation } from '#schemas/mapping/bind.ts';
import { describeMappedRows, mappedSide } from '#schemas/mapping/mapped-side.ts';
import { decodeRelation } from '#schemas/pgoutput/message.ts';
import { relation } from '#test/support/frames.ts';
import { TABLES } from '#test/support/gather-tables.ts';

const filtered = TABLES.find(({ mapping }) => mapping.filter !== undefined)!.mapping;
const renamed = TABLES.find(({ mapping }) => mapping.from.name === 'renamed')!.mapping;
const MAPPING = { name: 'm', hash: 'h', tables: [filtered, renamed] };

test('rows from the mapped topics have passed the filter', () => {
  const side = mappedSide(MAPPING);
  expect(side.tables.map(({ filter }) => filter)).toEqual([undefined, undefined]);
  expect(side).toMatchObject({ name: 'm', hash: 'h', tables: MAPPING.tables.map(({ from, to, columns }) => ({ from, to, columns })) });
});

test('a relation in any order is described in the mapping’s order, without what is not mapped', () => {
  const streamed = decodeRelation(
    relation({ oid: 7, name: 'renamed', columns: ['dropped', 'v', 'x', 'y'].map((name) => ({ name, key: 'xy'.includes(name) })) }),
  );
  const [, table] = mappedSide(MAPPING).tables;
  const described = describeMappedRows(MAPPING)(streamed, table!);
  expect(described.columns.map(({ name, isKey }) => [name, isKey])).toEqual([
    ['x', true],
    ['v', false],
    ['y', true],
  ]);
  expect(bindRelation(table!, described)).toMatchObject({ kind: 'bound', transparent: true });
});

test('a relation without a column that only the filter reads is refused', () => {
  const streamed = decodeRelation(relation({ oid: 7, name: 'filtered', identity: 'f', columns: [{ name: 'id' }, { name: 'big' }] }));
  const [table] = mappedSide(MAPPING).tables;
  expect(() => describeMappedRows(MAPPING)(streamed, table!)).toThrow(expect.objectContaining({ code: 'CF-2006' }));
});
