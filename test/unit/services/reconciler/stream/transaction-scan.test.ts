import { expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { ChangeRing } from '#services/reconciler/stream/change-ring.ts';
import { TransactionScan, type ScannedTransaction } from '#services/reconciler/stream/transaction-scan.ts';
import { begin, commit, insert, relation } from '#test/support/frames.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

/** Of an insert of one value. */
const HEAD_BYTES = 13;
const EPOCH = encodeJsonFrame(FRAME.epoch, { epoch: 2, systemId: '1', timeline: 1 });

/** What counted, as `LSN: rows`, and what else was told. */
class Seen {
  readonly counted: string[] = [];
  readonly told: string[] = [];
  readonly scan: TransactionScan = new TransactionScan({
    onBegin: ({ commitLsn }) => {
      this.#lsn = commitLsn;
      this.#rows = [];
    },
    onFrame: (frame) => void this.#rows.push(frame.toString('latin1', HEAD_BYTES)),
    onCommit: () => void this.counted.push(`${this.#lsn}: ${this.#rows.join('')}`),
    onVoid: () => void this.told.push(`void ${this.#lsn}`),
    onRelation: () => void this.told.push('relation'),
    onTableState: () => void this.told.push('state'),
  });
  #lsn = 0n;
  #rows: string[] = [];

  take(...frames: Buffer[]): this {
    for (const frame of frames) this.scan.take(frame);
    return this;
  }
}

function row(text: string): Buffer {
  return insert(7, [text]);
}

test('a transaction that an epoch frame cuts off does not count, and counts when it comes again whole', () => {
  const seen = new Seen().take(begin(10n), row('a'), commit(10n, 11n), begin(20n), row('b'), EPOCH);
  expect(seen.counted).toEqual(['10: a']);
  expect(seen.told).toEqual(['void 20']);
  seen.take(begin(20n), row('b'), row('c'), commit(20n, 21n));
  expect(seen.counted).toEqual(['10: a', '20: bc']);
});

test('what was committed before is a repeat, also where its end is the next one’s beginning', () => {
  const seen = new Seen().take(begin(10n), row('a'), commit(10n, 20n), begin(10n), row('a'), commit(10n, 20n));
  seen.take(begin(20n), row('b'), commit(20n, 30n), begin(10n), row('a'), commit(10n, 20n), begin(20n), row('b'), commit(20n, 30n));
  expect(seen.counted).toEqual(['10: a', '20: b']);
  expect(seen.told).toEqual([]);
  expect(seen.scan.last).toBe(20n);
});

test('of a transaction whose begin was not read nothing counts; descriptions always do', () => {
  const table = relation({ oid: 7, name: 'a', columns: [{ name: 'id', key: true }] });
  const seen = new Seen().take(row('x'), table, row('y'), commit(5n, 6n), begin(10n), row('a'), commit(10n, 11n));
  expect(seen.counted).toEqual(['10: a']);
  expect(seen.told).toEqual(['relation']);
});

test('a begin within a transaction, or a record that stands between transactions, cuts it off', () => {
  const state = encodeJsonFrame(FRAME.tableState, { schema: 's', table: 't', state: 'copying' });
  const seen = new Seen().take(begin(10n), row('a'), begin(20n), row('b'), state, row('c'), commit(20n, 21n));
  expect(seen.counted).toEqual([]);
  expect(seen.told).toEqual(['void 10', 'void 20', 'state']);
});

test('however transactions are cut off and repeated, each counts once', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const all = Array.from({ length: 200 }, (_, i) => [
    begin(BigInt(10 * i + 10)),
    row(`${i};`),
    row('z;'),
    commit(BigInt(10 * i + 10), BigInt(10 * i + 20)),
  ]);
  const seen = new Seen();
  for (let next = 0; next < all.length;) {
    const dice = random.between(0, 9);
    if (dice === 0) seen.take(...all[next]!.slice(0, random.between(1, 3)), EPOCH);
    else if (dice === 1 && next > 0) seen.take(...all[random.between(0, next - 1)]!);
    else seen.take(...all[next++]!);
  }
  expect(seen.counted, `seed ${seed}`).toEqual(all.map((_, i) => `${10 * i + 10}: ${i};z;`));
});

interface Lost {
  readonly table: string;
  readonly xid: number;
}

function ring(changesMax: number): {
  readonly ring: ChangeRing<string>;
  readonly lost: Lost[];
  readonly write: (one: ScannedTransaction, ids: readonly string[]) => void;
} {
  const lost: Lost[] = [];
  const made = new ChangeRing<string>(changesMax, (table, { xid }) => void lost.push({ table, xid }));
  const write = (one: ScannedTransaction, ids: readonly string[]): void => {
    made.begin(one);
    for (const id of ids) made.add({ table: 't', id, key: Int32Array.of(0, 0, 0, 0), before: undefined, copied: false });
    made.commit();
  };
  return { ring: made, lost, write };
}

function at(xid: number): ScannedTransaction {
  return { xid, commitLsn: BigInt(xid) as ScannedTransaction['commitLsn'] };
}

test('changes are told from the last to the first, of the transactions asked for', () => {
  const { ring: changes, write } = ring(100);
  write(at(1), ['a', 'b']);
  write(at(2), []);
  write(at(3), ['c', 'd']);
  expect([...changes.backwards('t', () => true)].map(({ id }) => id)).toEqual(['d', 'c', 'b', 'a']);
  expect([...changes.backwards('t', ({ xid }) => xid === 1)].map(({ id }) => id)).toEqual(['b', 'a']);
  expect([...changes.backwards('other', () => true)]).toEqual([]);
  changes.prune(({ xid }) => xid === 1);
  expect(changes.size).toBe(2);
});

test('what is not kept is told, the oldest first, and memory stays bounded by one transaction of any size', () => {
  const { ring: changes, lost, write } = ring(10);
  write(at(1), ['a', 'b', 'c']);
  write(
    at(2),
    Array.from({ length: 8 }, (_, i) => `d${i}`),
  );
  expect(lost).toEqual([{ table: 't', xid: 1 }]);
  expect(changes.size).toBe(8);
  write(
    at(3),
    Array.from({ length: 1000 }, (_, i) => `e${i}`),
  );
  expect(lost).toEqual([
    { table: 't', xid: 1 },
    { table: 't', xid: 2 },
    { table: 't', xid: 3 },
  ]);
  expect(changes.size).toBeLessThanOrEqual(10);
});

test('a transaction that is cut off is handed back to be undone, with the tables that cannot be', () => {
  const { ring: changes, write } = ring(3);
  write(at(1), ['a']);
  changes.begin(at(2));
  for (const id of ['b', 'c', 'd', 'e', 'f', 'g'])
    changes.add({ table: 't', id, key: Int32Array.of(0, 0, 0, 0), before: undefined, copied: false });
  const open = changes.takeOpen();
  expect([...open!.lost]).toEqual(['t']);
  expect(open!.changes.length).toBeLessThanOrEqual(3);
  expect(changes.size).toBe(0);
  expect(changes.takeOpen()).toBeUndefined();
});
