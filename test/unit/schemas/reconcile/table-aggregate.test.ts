/** Aggregates kept from changes, against the same sums computed anew from the rows that are left. */
import { expect, test } from 'vitest';
import { Buckets, type BucketState } from '#schemas/reconcile/buckets.ts';
import { DecimalSum } from '#schemas/reconcile/decimal-sum.ts';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';
import { RowStore } from '#schemas/reconcile/row-store.ts';
import { TableAggregate } from '#schemas/reconcile/table-aggregate.ts';
import { goldenVectors } from '#test/support/golden-vectors.ts';
import { type Random, seeded, seedFromEnvironment } from '#test/support/random.ts';
import { digestInTypeScript } from '#test/support/row-digests.ts';

const BUCKETS = 8;
const seed = seedFromEnvironment();
const digester = new RowDigester(goldenVectors().secrets);
const NUMBERS = ['0', '-1', '2.50', '-0.005', '99999999999999999999.123456789', 'NaN', 'Infinity', '-Infinity', null];

type Row = readonly [key: string, amount: string | null, note: string | null];
type Change =
  | { readonly kind: 'put'; readonly row: Row }
  | { readonly kind: 'open'; readonly key: string }
  | { readonly kind: 'remove'; readonly key: string }
  | { readonly kind: 'truncate' };

function unlimited(limits: Partial<{ rowsMax: number; notesMax: number }> = {}): TableAggregate {
  return new TableAggregate({ buckets: BUCKETS, declared: 1, rowsMax: 1e6, notesMax: 1e6, ...limits });
}

function keyOf(key: string): Int32Array {
  const bytes = Buffer.from(key);
  return digester.keyOf(bytes, 0, bytes.length);
}

function apply(aggregate: TableAggregate, change: Change): void {
  if (change.kind === 'truncate') aggregate.truncate();
  else if (change.kind === 'remove') aggregate.remove(keyOf(change.key));
  else if (change.kind === 'open') aggregate.leaveOpen(keyOf(change.key), [change.key]);
  else {
    digestInTypeScript(digester, change.row, [0]);
    aggregate.put(digester.keyLanes, { lanes: digester.lanes, declared: [change.row[1]], wide: undefined });
  }
}

function statesOf(aggregate: TableAggregate): readonly (BucketState & { readonly open: readonly string[] })[] {
  return Array.from({ length: BUCKETS }, (_, i) => ({
    ...aggregate.bucket(i),
    open: aggregate
      .openKeys(i)
      .map((key) => String(key))
      .toSorted(),
  }));
}

/** With BigInt and nothing of the product but the digest. */
function anew(rows: ReadonlyMap<string, Row | 'open'>): readonly object[] {
  return Array.from({ length: BUCKETS }, (_, bucket) => {
    const inside = [...rows].filter(([key]) => (keyOf(key)[1]! & (BUCKETS - 1)) === bucket);
    const whole = inside.flatMap(([, row]) => (row === 'open' ? [] : [row]));
    const digests = whole.map((row) => digestInTypeScript(digester, row, [0]));
    const sum = new DecimalSum();
    for (const [, amount] of whole) sum.add(amount, 1);
    return {
      rows: whole.length,
      a: BigInt.asUintN(
        64,
        digests.reduce((total, { a }) => total + a, 0n),
      ),
      b: BigInt.asUintN(
        64,
        digests.reduce((total, { b }) => total + b, 0n),
      ),
      sums: [sum.value],
      open: inside
        .filter(([, row]) => row === 'open')
        .map(([key]) => key)
        .toSorted(),
    };
  });
}

function randomChange(random: Random): Change {
  const key = `k${random.between(0, 40)}`;
  if (random.chance(0.005)) return { kind: 'truncate' };
  if (random.chance(0.25)) return { kind: 'remove', key };
  if (random.chance(0.05)) return { kind: 'open', key };
  return {
    kind: 'put',
    row: [key, NUMBERS[random.between(0, NUMBERS.length - 1)]!, random.chance(0.2) ? null : `note ${random.between(0, 5)}`],
  };
}

function model(changes: readonly Change[]): Map<string, Row | 'open'> {
  const rows = new Map<string, Row | 'open'>();
  for (const change of changes) {
    if (change.kind === 'truncate') rows.clear();
    else if (change.kind === 'remove') rows.delete(change.key);
    else if (change.kind === 'open') rows.set(change.key, 'open');
    else rows.set(change.row[0], change.row);
  }
  return rows;
}

function keyed(change: Change): string {
  if (change.kind === 'truncate') return '';
  return change.kind === 'put' ? change.row[0] : change.key;
}

test(`after any changes the aggregate is that of the rows left, step by step (seed ${seed})`, () => {
  const random = seeded(seed);
  for (let run = 0; run < 20; run++) {
    const aggregate = unlimited();
    const changes = Array.from({ length: 300 }, () => randomChange(random));
    changes.forEach((change, i) => {
      apply(aggregate, change);
      if (i % 25 === 0 || i === changes.length - 1) expect(statesOf(aggregate)).toEqual(anew(model(changes.slice(0, i + 1))));
    });
  }
});

test(`keys in any order, and changes folded to the last of each key, give the same aggregate (seed ${seed})`, () => {
  const random = seeded(seed);
  for (let run = 0; run < 20; run++) {
    const changes = Array.from({ length: 200 }, () => randomChange(random)).filter(({ kind }) => kind !== 'truncate');
    const [inOrder, byKey, folded] = [unlimited(), unlimited(), unlimited()];
    for (const change of changes) apply(inOrder, change);
    const queues = [...Map.groupBy(changes, keyed).values()].map((queue) => [...queue]);
    const last = queues.map((queue) => queue.at(-1)!);
    while (queues.length > 0) {
      const at = random.between(0, queues.length - 1);
      apply(byKey, queues[at]!.shift()!);
      if (queues[at]!.length === 0) queues.splice(at, 1);
    }
    for (const change of last) apply(folded, change);
    expect(statesOf(byKey)).toEqual(statesOf(inOrder));
    expect(statesOf(folded)).toEqual(statesOf(inOrder));
  }
});

test('beyond its limits an aggregate is void and stays so', () => {
  const few = unlimited({ rowsMax: 2 });
  for (const key of ['a', 'b', 'c', 'd']) apply(few, { kind: 'put', row: [key, '1', null] });
  expect(few.void).toBe('more than 2 rows');
  apply(few, { kind: 'truncate' });
  expect(few.void).toBeDefined();
  const noted = unlimited({ notesMax: 1 });
  apply(noted, { kind: 'put', row: ['a', '1', null] });
  apply(noted, { kind: 'put', row: ['a', '2', null] });
  expect(noted.void).toBeUndefined();
  apply(noted, { kind: 'open', key: 'b' });
  expect(noted.void).toBe('more than 1 rows with wide, left out or summed values');
});

test(`a store of rows finds what was put and not removed, however keys crowd (seed ${seed})`, () => {
  const random = seeded(seed);
  const store = new RowStore();
  const kept = new Map<string, number>();
  const key = new Int32Array(4);
  for (let step = 0; step < 20_000; step++) {
    // Few homes: long runs of entries, around the end of the table too.
    key.set([random.between(0, 400), 7, 0, -random.between(0, 3)]);
    const id = key.join();
    if (random.chance(0.5)) {
      store.put(key, Int32Array.of(step, 0, 0, 0));
      kept.set(id, step);
    } else {
      store.remove(key);
      kept.delete(id);
    }
    const at = store.find(key);
    expect(at < 0 ? undefined : store.words[at]).toBe(kept.get(id));
  }
  expect(store.size).toBe(kept.size);
  for (const [id, step] of kept) expect(store.words[store.find(Int32Array.from(id.split(','), Number))]).toBe(step);
});

test('sums of lanes carry between their words, both ways', () => {
  const buckets = new Buckets(1, 0);
  const rows = [
    [-1, -1, 0, 1],
    [0, 1, -1, -1],
    [0x7fffffff, -1, -0x80000000, 0],
  ].map((lanes) => Int32Array.from(lanes));
  for (const lanes of [...rows, ...rows]) buckets.add(0, lanes);
  for (const lanes of rows) buckets.subtract(0, lanes);
  expect(buckets.state(0)).toEqual({ rows: 3, a: 0x7fffffffffffffffn, b: 0x8000000000000000n, sums: [] });
  for (const lanes of rows) buckets.subtract(0, lanes);
  expect(buckets.state(0)).toEqual({ rows: 0, a: 0n, b: 0n, sums: [] });
});
