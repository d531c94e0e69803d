import { describe, expect, test } from 'vitest';
import { bindRelation, type BindMismatch, type BoundTable } from '#schemas/mapping/bind.ts';
import type { ColumnMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Relation, RelationColumn } from '#schemas/pgoutput/message.ts';
import type { CatalogColumn } from '#schemas/table.ts';

function column(name: string, over: Partial<CatalogColumn> = {}): ColumnMapping {
  const source: CatalogColumn = {
    name,
    typeOid: 23,
    typmod: -1,
    type: 'integer',
    baseType: 'integer',
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull: false,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: 4,
    ...over,
  };
  return { target: `${name}_new`, targetType: source.type, targetBaseType: source.baseType, source };
}

const TABLE: TableMapping = {
  from: { schema: 'public', name: 'a' },
  to: { schema: 'public', name: 'b' },
  columns: [column('x'), column('y'), column('z', { typeOid: 1043, typmod: 14 })],
  sourceKey: ['y', 'x'],
  targetKey: ['y_new', 'x_new'],
  overridesIdentity: false,
  existing: 'refuse',
  dropped: [],
};

function field(name: string, over: Partial<RelationColumn> = {}): RelationColumn {
  return { name, isKey: name === 'x' || name === 'y', typeOid: name === 'z' ? 1043 : 23, typmod: name === 'z' ? 14 : -1, ...over };
}

function relation(columns: readonly RelationColumn[], replicaIdentity = 'd'): Relation {
  return { oid: 1, schema: 'public', name: 'a_1', replicaIdentity, columns };
}

function bound(table: TableMapping, columns: readonly RelationColumn[], replicaIdentity = 'd'): BoundTable {
  const result = bindRelation(table, relation(columns, replicaIdentity));
  if (result.kind !== 'bound') throw new Error(result.message);
  return result;
}

function mismatch(table: TableMapping, columns: readonly RelationColumn[], replicaIdentity = 'd'): Pick<BindMismatch, 'reason' | 'column'> {
  const result = bindRelation(table, relation(columns, replicaIdentity));
  if (result.kind !== 'mismatch') throw new Error('it was bound');
  return { reason: result.reason, column: result.column };
}

describe('a relation that is the mapped table', () => {
  test("has every field found by name, whatever the leaf's order", () => {
    const leaf = bound(TABLE, [field('z'), field('y'), field('x')]);
    expect([...leaf.columnFields]).toEqual([2, 1, 0]);
    expect([...leaf.fieldColumns]).toEqual([2, 1, 0]);
    expect([...leaf.keyFields]).toEqual([1, 2]);
    expect([...leaf.keyColumns]).toEqual([1, 0]);
    expect(leaf.transparent).toBe(false);
  });

  test('is transparent only when nothing has to be done to a row', () => {
    const fields = [field('x'), field('y'), field('z')];
    expect(bound(TABLE, fields).transparent).toBe(true);
    expect(bound({ ...TABLE, dropped: ['w'] }, [...fields, field('w')]).transparent).toBe(false);
    expect(bound({ ...TABLE, filter: { conditions: [] } }, fields).transparent).toBe(false);
    const cast = { ...TABLE.columns[2]!, cast: { fromType: 'text', sql: '($$)::integer' } };
    expect(bound({ ...TABLE, columns: [...TABLE.columns.slice(0, 2), cast] }, fields).transparent).toBe(false);
  });

  test('may have columns that the file drops, ignores or filters by', () => {
    const fields = [field('w'), field('x'), field('y'), field('z')];
    const table: TableMapping = { ...TABLE, dropped: ['w'], filter: { conditions: [{ column: 'w', op: 'in', values: ['7', null] }] } };
    const filtered = bound(table, fields);
    expect([...filtered.filterFields]).toEqual([0]);
    expect([...filtered.fieldColumns]).toEqual([-1, 0, 1, 2]);
    expect([['7'], [null], ['8']].map((values) => filtered.accepts?.(values))).toEqual([true, true, false]);
    expect(bound({ ...TABLE, unmapped: 'ignore' }, [...fields, field('new')]).kind).toBe('bound');
  });

  test('may be identified by its full rows', () => {
    const flagged = [field('x'), field('y'), field('z', { isKey: true })];
    expect(bound(TABLE, flagged, 'f').kind).toBe('bound');
    expect(bound({ ...TABLE, sourceKey: [], targetKey: [] }, flagged, 'f').keyFields).toHaveLength(0);
  });

  test('may have a modifier that only grew', () => {
    expect(bound(TABLE, [field('x'), field('y'), field('z', { typmod: 104 })]).kind).toBe('bound');
    expect(bound(TABLE, [field('x'), field('y'), field('z', { typmod: -1 })]).kind).toBe('bound');
    const numeric = { ...TABLE, columns: [...TABLE.columns.slice(0, 2), column('z', { typeOid: 1700, typmod: (10 << 16) + 2 + 4 })] };
    const scaled = (precision: number, scale: number): RelationColumn =>
      field('z', { typeOid: 1700, typmod: (precision << 16) + scale + 4 });
    expect(bound(numeric, [field('x'), field('y'), scaled(12, 2)]).kind).toBe('bound');
    expect(mismatch(numeric, [field('x'), field('y'), scaled(12, 4)])).toEqual({ reason: 'type', column: 'z' });
  });
});

describe('another relation is refused', () => {
  const fields = [field('x'), field('y'), field('z')];

  test.each([
    ['a mapped column is gone', fields.slice(0, 2), 'missing', 'z'],
    ['a column was renamed', [field('x'), field('y'), field('zz')], 'missing', 'z'],
    ['a type changed', [field('x'), field('y'), field('z', { typeOid: 25, typmod: -1 })], 'type', 'z'],
    ['a type became narrower', [field('x'), field('y'), field('z', { typmod: 9 })], 'type', 'z'],
    ['a column was added', [...fields, field('w')], 'added', 'w'],
    ['the key grew', [field('x'), field('y'), field('z', { isKey: true })], 'key', 'z'],
    ['the key shrank', [field('x'), field('y', { isKey: false }), field('z')], 'key', 'y'],
  ] as const)('when %s', (_what, columns, reason, name) => {
    expect(mismatch(TABLE, columns)).toEqual({ reason, column: name });
  });

  test('when it tells nothing of what a row was', () => {
    const unflagged = fields.map((one) => ({ ...one, isKey: false }));
    expect(mismatch(TABLE, unflagged, 'n').reason).toBe('key');
    expect(mismatch({ ...TABLE, sourceKey: [], targetKey: [] }, unflagged, 'd').reason).toBe('key');
  });
});
