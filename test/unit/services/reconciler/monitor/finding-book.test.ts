import { expect, test } from 'vitest';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { FindingBook } from '#services/reconciler/monitor/finding-book.ts';

const EQUAL: TableVerdict = {
  from: 'public.a',
  to: 'new.a',
  rowsSource: 10,
  rowsTarget: 10,
  missing: 0,
  extra: 0,
  different: 0,
  sample: [],
  lsn: '0/100',
};

function differing(id: string, lsn: string): TableVerdict {
  return { ...EQUAL, different: 1, sample: [{ key: { id }, sourceKey: [id], kind: 'different', columns: ['v'] }], lsn };
}

const AGAIN = { schema: 'public', table: 'a', reason: 'a test' };

test('a difference is suspected first, and confirmed by a later comparison only', () => {
  const book = new FindingBook();
  expect(book.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 })).toMatchObject([
    { state: 'suspected', key: { id: '1' }, columns: ['v'] },
  ]);
  // Of an older state of the source: it says nothing.
  expect(book.compared({ verdict: differing('1', '0/90'), beganMs: 2, atMs: 2 })).toEqual([]);
  expect(book.compared({ verdict: differing('1', '0/110'), beganMs: 3, atMs: 3 })).toMatchObject([{ state: 'confirmed' }]);
  expect(book.compared({ verdict: differing('1', '0/120'), beganMs: 4, atMs: 4 })).toEqual([]);
  expect(book.count('confirmed')).toBe(1);
});

test('a repaired row is verified only by a comparison behind the repair, and told as different until then', () => {
  const book = new FindingBook();
  book.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 });
  book.compared({ verdict: differing('1', '0/110'), beganMs: 2, atMs: 2 });
  expect(book.repairAsked({ kind: 'keys', ...AGAIN, keys: [['2']] }, { atMs: 3, lsn: '0/200' })).toEqual([]);
  expect(book.repairAsked({ kind: 'keys', ...AGAIN, keys: [['1']] }, { atMs: 3, lsn: '0/200' })).toMatchObject([{ state: 'repairing' }]);
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/190' }, beganMs: 4, atMs: 4 })).toEqual([]);
  expect(book.compared({ verdict: differing('1', '0/210'), beganMs: 5, atMs: 5 })).toEqual([]);
  expect(book.count('repairing')).toBe(1);
  const [last] = book.compared({ verdict: { ...EQUAL, lsn: '0/220' }, beganMs: 6, atMs: 6 });
  expect(last?.steps.map(({ state, lsn }) => [state, lsn])).toEqual([
    ['suspected', '0/100'],
    ['confirmed', '0/110'],
    ['repairing', '0/200'],
    ['verified', '0/220'],
  ]);
  expect(book.open).toEqual([]);
});

test('a repair that does not help is a confirmed difference again', () => {
  const book = new FindingBook();
  book.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 });
  book.repairAsked({ kind: 'table', ...AGAIN }, { atMs: 2, lsn: null });
  expect(book.compared({ verdict: differing('1', '0/200'), beganMs: 900_000, atMs: 900_000 })).toMatchObject([{ state: 'confirmed' }]);
});

test('a difference that goes by itself is recorded as flapped', () => {
  const book = new FindingBook();
  book.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 });
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/100' }, beganMs: 2, atMs: 2 })).toMatchObject([{ state: 'flapped' }]);
});

test('nothing ends by a comparison that was inconclusive, that covered other keys, or that named not all it found', () => {
  const book = new FindingBook();
  book.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 });
  const inconclusive: TableVerdict = { ...EQUAL, lsn: null, inconclusive: { cause: 'lag', message: '' } };
  expect(book.compared({ verdict: inconclusive, beganMs: 2, atMs: 2 })).toEqual([]);
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/200' }, beganMs: 3, atMs: 3, covers: () => false })).toEqual([]);
  const many: TableVerdict = { ...differing('2', '0/200'), different: 3 };
  expect(book.compared({ verdict: many, beganMs: 4, atMs: 4 }).map(({ key, rows, state }) => [key, rows, state])).toEqual([
    [{ id: '2' }, 1, 'suspected'],
    // The third one may be the row that is known by name.
    [null, 1, 'suspected'],
  ]);
  expect(book.open.map(({ key }) => key)).toContainEqual({ id: '1' });
});

test('rows without a key are one finding for each kind, and end when none is left', () => {
  const book = new FindingBook();
  const keyless: TableVerdict = { ...EQUAL, missing: 1, extra: 2, sample: [{ key: null, kind: 'extra', columns: [] }] };
  expect(book.compared({ verdict: keyless, beganMs: 1, atMs: 1 }).map(({ kind, rows }) => [kind, rows])).toEqual([
    ['missing', 1],
    ['extra', 2],
  ]);
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/200' }, beganMs: 2, atMs: 2 })).toMatchObject([
    { state: 'flapped' },
    { state: 'flapped' },
  ]);
});

test('findings of an earlier run go on where they were', () => {
  const first = new FindingBook();
  first.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 });
  const second = new FindingBook(first.open);
  expect(second.compared({ verdict: differing('1', '0/200'), beganMs: 2, atMs: 2 })).toMatchObject([{ state: 'confirmed' }]);
});

test('rows with one key in one target are told apart by the source that they are of', () => {
  const book = new FindingBook();
  for (const atMs of [1, 2])
    for (const from of ['eu.a', 'us.a']) book.compared({ verdict: { ...differing('1', `0/10${atMs}`), from }, beganMs: atMs, atMs });
  expect(book.open.map(({ from, state }) => [from, state])).toEqual([
    ['eu.a', 'confirmed'],
    ['us.a', 'confirmed'],
  ]);
});

test('a comparison that began before the repair was asked for proves nothing of it', () => {
  const book = new FindingBook();
  book.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 2 });
  book.repairAsked({ kind: 'keys', ...AGAIN, keys: [['1']] }, { atMs: 5, lsn: null });
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/200' }, beganMs: 4, atMs: 6 })).toEqual([]);
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/200' }, beganMs: 7, atMs: 8 })).toMatchObject([{ state: 'verified' }]);
});

test('a range that is copied again repairs the rows within it, and no others', () => {
  const book = new FindingBook();
  for (const key of ['5', '900']) book.compared({ verdict: differing(key, '0/100'), beganMs: 1, atMs: 2, covers: () => false });
  const asked = book.repairAsked({ kind: 'range', ...AGAIN, from: '1', to: '10' }, { atMs: 3, lsn: null });
  expect(asked.map(({ key }) => key)).toEqual([{ id: '5' }]);
});

test('rows of ranges that are only counted are no finding: the next round has other ranges', () => {
  const book = new FindingBook();
  const verdict: TableVerdict = { ...differing('2', '0/200'), different: 3, ranges: [{ rows: 10, differences: 3 }] };
  expect(book.compared({ verdict, beganMs: 1, atMs: 2 }).map(({ key }) => key)).toEqual([{ id: '2' }]);
});

test('a clock that was set back, or a source that was restored, keeps no finding open for ever', () => {
  const back = new FindingBook();
  back.compared({ verdict: differing('1', '0/100'), beganMs: 5_000_000, atMs: 5_000_001 });
  expect(back.compared({ verdict: { ...EQUAL, lsn: '0/90' }, beganMs: 1_000, atMs: 1_001 })).toEqual([]);
  expect(back.compared({ verdict: { ...EQUAL, lsn: '0/110' }, beganMs: 2_000, atMs: 2_001 })).toMatchObject([{ state: 'flapped' }]);

  const restored = new FindingBook();
  restored.compared({ verdict: differing('1', '0/100'), beganMs: 1, atMs: 1 });
  expect(restored.compared({ verdict: { ...EQUAL, lsn: '0/50' }, beganMs: 500_000, atMs: 500_001 })).toEqual([]);
  expect(restored.compared({ verdict: { ...EQUAL, lsn: '0/50' }, beganMs: 700_000, atMs: 700_001 })).toMatchObject([{ state: 'flapped' }]);
});

test('a row that is repaired again and again keeps its first step and its last ones', () => {
  const book = new FindingBook();
  book.compared({ verdict: differing('1', '0/1'), beganMs: 1, atMs: 1 });
  for (let i = 1; i <= 300; i++) book.repairAsked({ kind: 'keys', ...AGAIN, keys: [['1']] }, { atMs: 1 + i, lsn: null });
  const steps = book.open[0]!.steps;
  expect([steps.length, steps[0]!.state, steps.at(-1)!.atMs]).toEqual([100, 'suspected', 301]);
});

test('rows of a store without snapshots that never lay still keep nobody from hearing of the others, and end nothing', () => {
  const book = new FindingBook();
  const inconclusive = { cause: 'hot', message: 'one row changed at each look' } as const;
  book.compared({ verdict: { ...differing('1', '0/100'), inconclusive }, beganMs: 1, atMs: 1 });
  expect(book.compared({ verdict: { ...differing('1', '0/110'), inconclusive }, beganMs: 2, atMs: 2 })).toMatchObject([
    { state: 'confirmed' },
  ]);
  expect(book.compared({ verdict: { ...EQUAL, inconclusive, lsn: '0/120' }, beganMs: 3, atMs: 3 })).toEqual([]);
  expect(
    book.compared({ verdict: { ...differing('2', '0/120'), inconclusive: { cause: 'lag', message: 'far behind' } }, beganMs: 4, atMs: 4 }),
  ).toEqual([]);
  expect(book.count('confirmed')).toBe(1);
});

test('of a table that lies in ruins the book does not grow with each comparison, and what is found elsewhere has its place', () => {
  const book = new FindingBook();
  const ruined = (round: number): TableVerdict => ({
    ...EQUAL,
    missing: 1_000_000,
    // Which rows are named is another part of them each time.
    sample: Array.from({ length: 1_000 }, (_, i) => {
      const id = String(round * 1_000 + i);
      return { key: { id }, sourceKey: [id], kind: 'missing', columns: [] } as const;
    }),
    lsn: `0/${(256 + round).toString(16)}`,
    ranges: [{ rows: 1_000_000, differences: 1_000_000 }],
  });
  for (let round = 0; round < 15; round++) book.compared({ verdict: ruined(round), beganMs: round, atMs: round });
  expect(book.open).toHaveLength(10_000);
  const other = { ...differing('1', '0/300'), from: 'public.b', to: 'new.b' };
  expect(book.compared({ verdict: other, beganMs: 20, atMs: 20 })).toMatchObject([{ state: 'suspected' }]);
  // A part in which every row is named has names for all of them.
  expect(book.compared({ verdict: differing('x', '0/300'), beganMs: 21, atMs: 21, covers: () => false })).toHaveLength(1);
  expect(book.compared({ verdict: { ...EQUAL, lsn: '0/310' }, beganMs: 22, atMs: 22 })).toHaveLength(10_001);
});

test('rows that one comparison names and the next only counts are told once', () => {
  const book = new FindingBook();
  const many = (round: number): TableVerdict => {
    const named = [0, 1, 2].map((i) => ({ ...differing(`${round}-${i}`, '0/100').sample[0]!, kind: 'missing' as const }));
    return { ...EQUAL, missing: 20, sample: named, lsn: `0/${(256 + round).toString(16)}` };
  };
  for (let round = 0; round < 4; round++) {
    book.compared({ verdict: many(round), beganMs: round, atMs: round });
    expect(book.count('suspected') + book.count('confirmed')).toBe(20);
  }
});
