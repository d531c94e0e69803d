import { expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { MonitoredTables } from '#services/reconciler/monitor/monitored-tables.ts';
import { compile } from '#test/support/compile.ts';

const SQL = 'CREATE TABLE a (id int8 PRIMARY KEY, v text)';
const TABLE = (await compile({ source: SQL, target: SQL })).mapping!.tables[0]!;
const RANGES = [{ high: '100' }, { low: '100', high: '200' }, { low: '200' }];

function cut(): MonitoredTables {
  const tables = new MonitoredTables([TABLE]);
  tables.cut(TABLE, RANGES);
  return tables;
}

function verdict(differences: readonly number[]): TableVerdict {
  const ranges = differences.map((count, i) => ({ ...RANGES[i], rows: 50, differences: count }));
  return {
    from: 'public.a',
    to: 'public.a',
    rowsSource: 150,
    rowsTarget: 150,
    missing: 0,
    extra: 0,
    different: differences.reduce((sum, one) => sum + one, 0),
    sample: differences.flatMap((count) => Array.from({ length: count }, () => ({ key: {}, kind: 'different' as const, columns: [] }))),
    lsn: '0/1',
    ranges,
  };
}

function finding(key: string, state: DriftFinding['state']): DriftFinding {
  return {
    id: key,
    from: 'public.a',
    to: 'public.a',
    key: { id: key },
    sourceKey: [key],
    kind: 'different',
    columns: ['v'],
    rows: 1,
    state,
    steps: [],
  };
}

const NONE = new Map();

test('a change is of the range that its key is in, and of all where the key is not known', () => {
  const tables = cut();
  tables.touch(new Map([['public.a', new Set(['150', '-7'])]]), 5);
  expect(tables.parts.map(({ changedAtMs }) => changedAtMs)).toEqual([5, 5, undefined]);
  tables.touch(new Map([['public.a', 'all']]), 6);
  expect(tables.parts.map(({ changedAtMs }) => changedAtMs)).toEqual([5, 5, 6]);
});

test('what was changed before a comparison began is seen by it, what comes meanwhile is not', () => {
  const tables = cut();
  tables.touch(new Map([['public.a', 'all']]), 1);
  const changed = tables.begin(tables.parts);
  tables.touch(new Map([['public.a', new Set(['150'])]]), 2);
  tables.compared(tables.parts, { verdict: verdict([0, 0, 0]), changed, open: [], atMs: 3 });
  expect(tables.parts.map(({ changedAtMs, verdict: one }) => [changedAtMs, one])).toEqual([
    [undefined, 'equal'],
    [2, 'equal'],
    [undefined, 'equal'],
  ]);
});

test('a table of which the larger part is compared is compared whole', () => {
  const tables = cut();
  const [low, middle, high] = tables.parts;
  expect(tables.filledUp([middle!])).toEqual([middle]);
  expect(tables.filledUp([high!, low!])).toEqual([high, low, middle]);
});

test('a comparison that says nothing leaves the parts changed', () => {
  const tables = cut();
  tables.touch(new Map([['public.a', new Set(['150'])]]), 1);
  const changed = tables.begin(tables.parts);
  const inconclusive = { ...verdict([0, 0, 0]), inconclusive: { cause: 'lag' as const, message: '' } };
  tables.compared(tables.parts, { verdict: inconclusive, changed, open: [], atMs: 3 });
  expect(tables.parts.map(({ changedAtMs }) => changedAtMs)).toEqual([undefined, 1, undefined]);
  expect(tables.coverage()).toMatchObject({ proved: 0, oldestProofMs: undefined, inconclusive: 3, inconclusiveByCause: { lag: 3 } });
});

test('only the range with a difference differs, and is pressing while its finding waits', () => {
  const tables = cut();
  tables.compared(tables.parts, { verdict: verdict([0, 1, 0]), changed: NONE, open: [finding('150', 'suspected')], atMs: 3 });
  expect(tables.parts.map(({ verdict: one, urgent }) => [one, urgent])).toEqual([
    ['equal', false],
    ['differs', true],
    ['equal', false],
  ]);
  expect(tables.coverage()).toMatchObject({ proved: 100 / 150, oldestProofMs: undefined });
});

test('what neighbours have in common is shared out, and what is not named may be in each of them', () => {
  const tables = cut();
  const joined = (extra: Partial<TableVerdict>): TableVerdict => ({
    ...verdict([0, 0, 0]),
    ...extra,
    ranges: [
      { high: '200', rows: 80, differences: extra.different ?? 0 },
      { low: '200', rows: 7, differences: 0 },
    ],
  });
  tables.compared(tables.parts, { verdict: joined({}), changed: NONE, open: [], atMs: 3 });
  expect(tables.parts.map(({ rows, verdict: one }) => [rows, one])).toEqual([
    [40, 'equal'],
    [40, 'equal'],
    [7, 'equal'],
  ]);
  tables.compared(tables.parts, { verdict: joined({ different: 9 }), changed: NONE, open: [], atMs: 4 });
  expect(tables.parts.map(({ verdict: one }) => one)).toEqual(['differs', 'differs', 'equal']);
});

test('a finding is covered by a comparison of its range, and of all ranges', () => {
  const tables = cut();
  const [first, second] = tables.parts;
  const covers = tables.coversOf([second!]);
  expect(covers?.(finding('150', 'confirmed'))).toBe(true);
  expect(covers?.(finding('50', 'confirmed'))).toBe(false);
  expect(tables.coversOf([first!])?.(finding('50', 'confirmed'))).toBe(true);
  expect(tables.coversOf(tables.parts)).toBeUndefined();
});

test('a table that is cut anew keeps what was proved of the ranges that it had, and no more', () => {
  const tables = cut();
  const [first, second] = tables.parts;
  tables.compared([first!], { verdict: verdict([0]), changed: NONE, open: [], atMs: 3 });
  tables.compared([second!], { verdict: verdict([0]), changed: NONE, open: [], atMs: 5 });
  tables.touch(new Map([['public.a', new Set(['50'])]]), 7);
  tables.cut(TABLE, [{ high: '40' }, { low: '40', high: '150' }, { low: '150', high: '180' }, { low: '180' }]);
  expect(tables.parts.map(({ provedAtMs, changedAtMs, verdict: one }) => [provedAtMs, changedAtMs, one])).toEqual([
    [3, 7, 'equal'],
    [3, 7, 'equal'],
    [5, undefined, 'equal'],
    [undefined, undefined, undefined],
  ]);
});

test('a table is cut when it can be, and again when a range has grown, and asked no more than once an hour', () => {
  const keyless: TableMapping = { ...TABLE, sourceKey: [], targetKey: [] };
  const tables = new MonitoredTables([TABLE, keyless]);
  expect(tables.uncut(0)).toEqual([TABLE]);
  expect(tables.uncut(60_000)).toEqual([]);
  tables.cut(TABLE, RANGES);
  expect(tables.uncut(4_000_000)).toEqual([]);
  const grown = { ...verdict([0, 0, 0]), ranges: RANGES.map((range) => ({ ...range, rows: 40_000, differences: 0 })) };
  tables.compared(tables.parts.slice(0, 3), { verdict: grown, changed: NONE, open: [], atMs: 1 });
  expect(tables.uncut(3_000_000)).toEqual([]);
  expect(tables.uncut(4_000_000)).toEqual([TABLE]);
  tables.cut(TABLE, RANGES);
  expect(tables.parts.slice(0, 3).map(({ rows }) => rows)).toEqual([40_000, 40_000, 40_000]);
});

test('keys that no range can hold break nothing: all parts are looked at', () => {
  const tables = cut();
  tables.touch(new Map([['public.a', new Set(['1.5', 'abc'])]]), 5);
  expect(tables.parts.map(({ changedAtMs }) => changedAtMs)).toEqual([5, 5, 5]);
  expect(() => tables.pressing([{ ...finding('x', 'confirmed'), sourceKey: [''] }])).not.toThrow();
});

test('a part that differs goes on differing when it is cut together with one that is equal', () => {
  const tables = cut();
  tables.compared(tables.parts, { verdict: verdict([0, 1, 0]), changed: NONE, open: [finding('150', 'confirmed')], atMs: 3 });
  tables.cut(TABLE, [{ high: '150' }, { low: '150', high: '200' }, { low: '200' }]);
  expect(tables.parts.map(({ verdict: one }) => one)).toEqual(['differs', 'differs', 'equal']);
});
