import { expect, test } from 'vitest';
import { toLsn } from '#schemas/lsn.ts';
import { formatSnapshot, isVisible, parseSnapshot, type Snapshot, widenXid } from '#schemas/snapshot.ts';
import { VisibilityMemory } from '#services/reader/copy/visibility.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const WRAP = 2 ** 32;

test('a snapshot is read as PostgreSQL writes it', () => {
  const snapshot = parseSnapshot('10:20:10,14');
  expect([9, 10, 11, 14, 19, 20].map((xid) => isVisible(snapshot, xid))).toEqual([true, false, true, false, true, false]);
  expect(formatSnapshot(snapshot)).toBe('10:20:10,14');
  expect(isVisible(parseSnapshot('20:20:'), 19)).toBe(true);
  expect(() => parseSnapshot('nonsense')).toThrow('not a snapshot');
});

test('an id is widened to the nearest one, also across the wrap', () => {
  expect(widenXid(5, 3 * WRAP + 10)).toBe(3 * WRAP + 5);
  expect(widenXid(WRAP - 3, 3 * WRAP + 10)).toBe(3 * WRAP - 3);
  expect(widenXid(4, 3 * WRAP - 2)).toBe(3 * WRAP + 4);
});

test('a transaction streamed before the low watermark and still running refuses the chunk', () => {
  const memory = new VisibilityMemory(true);
  memory.onBegin(15, toLsn(100n));
  expect(memory.refuse(parseSnapshot('15:20:15'), memory.streamed())).toContain('xid 15');
  expect(memory.refuse(parseSnapshot('16:20:'), memory.streamed())).toBeUndefined();
});

test('with nothing remembered no running transaction may be older than the start', () => {
  const memory = new VisibilityMemory(false);
  memory.prune(parseSnapshot('15:20:15'));
  expect(memory.refuse(parseSnapshot('15:30:15'), [])).toContain('15');
  expect(memory.refuse(parseSnapshot('25:30:25'), [])).toBeUndefined();
});

test('marks of records under way at the same time cover what each of them saw', () => {
  const memory = new VisibilityMemory(true);
  const all = parseSnapshot('50:50:');
  memory.onBegin(1, toLsn(10n));
  const first = memory.record(all);
  memory.onBegin(2, toLsn(20n));
  const second = memory.record(all);
  memory.onBegin(3, toLsn(30n));
  memory.recorded(first.mark);
  expect(memory.firstUncovered()).toBe(20n);
  memory.recorded(second.mark);
  expect(memory.firstUncovered()).toBe(30n);
});

test('our own transaction is forgotten, and no other in its place', () => {
  const memory = new VisibilityMemory(true);
  memory.onBegin(1, toLsn(10n));
  memory.onBegin(2, toLsn(20n));
  memory.forget(toLsn(20n));
  memory.forget(toLsn(20n));
  expect(memory.streamed().map(({ xid }) => xid)).toEqual([1]);
});

/** Commits become visible at random moments; the memory must refuse exactly where one that remembers everything does. */
test('forgetting never accepts a chunk that full memory would refuse', () => {
  const seed = seedFromEnvironment();
  for (let round = 0; round < 300; round++) {
    const random = seeded(seed + round);
    const base = 7 * WRAP - 20;
    let next = base;
    const running = new Set<number>();
    const everything: { xid: number; lsn: ReturnType<typeof toLsn> }[] = [];
    let memory = new VisibilityMemory(true);
    let durable: { transactions: readonly { xid: number; lsn: ReturnType<typeof toLsn> }[] } = { transactions: [] };
    const snapshot = (): Snapshot => ({ xmin: Math.min(next, ...running), xmax: next, running: new Set(running) });
    const attempts: { hold: ReturnType<VisibilityMemory['hold']>; snapshot?: Snapshot }[] = [];
    for (let step = 0; step < 80; step++) {
      const act = random.between(0, 6);
      if (act <= 1) {
        running.add(next);
        everything.push({ xid: next % WRAP, lsn: toLsn(BigInt(next)) });
        memory.onBegin(next % WRAP, toLsn(BigInt(next)));
        next++;
      } else if (act === 2) {
        const [oldest] = running;
        const any = [...running][random.between(0, Math.max(0, running.size - 1))] ?? oldest;
        if (any !== undefined) running.delete(any);
      } else if (act === 3) attempts.push({ hold: memory.hold() });
      else if (act === 4) {
        const attempt = attempts.find((one) => !one.snapshot);
        if (attempt) attempt.hold.snapshot = attempt.snapshot = snapshot();
      } else if (act === 5) {
        const now = snapshot();
        durable = memory.record(now);
        memory.prune(now);
      } else {
        // The low watermark passes: judged now against everything there ever was.
        const attempt = attempts.shift();
        if (!attempt) continue;
        const before = memory.streamed();
        memory.release(attempt.hold);
        const read = attempt.snapshot ?? snapshot();
        const full = everything.some(({ xid }) => !isVisible(read, widenXid(xid, read.xmax)));
        expect(memory.refuse(read, before) !== undefined, `seed ${seed + round}`).toBe(full);
      }
    }
    // A restart: what was recorded, and what is streamed again after it, is enough for every later snapshot.
    memory = new VisibilityMemory(true, durable.transactions);
    expect(memory.streamed().every(({ xid }) => xid >= 0 && xid < WRAP)).toBe(true);
  }
});
