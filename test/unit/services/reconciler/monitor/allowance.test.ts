import { expect, test } from 'vitest';
import { Allowance, restMs } from '#services/reconciler/monitor/allowance.ts';
import { seeded } from '#test/support/random.ts';

const BUDGET = 0.1;
/** Ten minutes' worth of the budget. */
const LENT_WORK_MS = 60_000;

function worked(elapsedMs: number, waitedMs = 0): { readonly elapsedMs: number; readonly waitedMs: number } {
  return { elapsedMs, waitedMs };
}

test('a round is rested for by the budget, and while the target was waited for, all rested', () => {
  expect(restMs(worked(2_000), BUDGET)).toBe(18_000);
  expect(restMs(worked(2_500, 500), BUDGET)).toBe(17_500);
  expect(restMs(worked(8_500, 8_000), BUDGET)).toBe(1_000);
  expect(restMs(worked(500), 1)).toBe(1_000);
  expect(restMs(worked(7_200_000), BUDGET)).toBe(600_000);
});

test('behind a round that took long, what was changed is looked at in time to be found within ten seconds, and what rests, rests on', () => {
  const allowance = new Allowance(BUDGET);
  allowance.spent(worked(1_700), 100_000);
  expect(allowance.closedMs(100_000)).toBe(4_600);
  expect([allowance.isLent(104_600), allowance.isLent(115_299), allowance.isLent(115_300)]).toEqual([true, true, false]);
});

test('what was lent is paid back by the rounds that take little', () => {
  const allowance = new Allowance(BUDGET);
  allowance.spent(worked(1_700), 100_000);
  allowance.spent(worked(300), 104_900);
  // Of 1,700 ms it had paid 630, and 30 of the next 300: 1,340 are owed, and the next rest is as long as may be.
  expect(allowance.closedMs(104_900)).toBe(7_400);
  expect(allowance.isLent(112_300)).toBe(false);
  const paid = new Allowance(BUDGET);
  paid.spent(worked(300), 100_000);
  expect(paid.closedMs(100_000)).toBe(2_700);
});

test.each([0, 400])('when all is lent, each round pays for itself, and what rests has its turn again: %i ms waited', (waitedMs) => {
  const allowance = new Allowance(BUDGET);
  let nowMs = 0;
  const rests = Array.from({ length: 100 }, () => {
    const elapsedMs = 2_000 + waitedMs;
    allowance.spent({ elapsedMs, waitedMs }, (nowMs += elapsedMs));
    const rest = allowance.closedMs(nowMs);
    nowMs += rest;
    return rest;
  });
  const [soon, paid] = [4_000 - waitedMs, 18_000 - waitedMs];
  expect(rests.slice(0, 3)).toEqual([soon, soon, soon]);
  expect(rests.slice(-2)).toEqual([paid, paid]);
  expect(allowance.isLent(nowMs)).toBe(false);
});

test('what is lent is at most half of the time, and a budget of all of it is given all', () => {
  const allowance = new Allowance(BUDGET);
  allowance.spent(worked(4_500), 100_000);
  expect(allowance.closedMs(100_000)).toBe(4_500);
  const whole = new Allowance(1);
  whole.spent(worked(4_500), 100_000);
  expect(whole.closedMs(100_000)).toBe(1_000);
});

test('after a round of hours, nothing changed waits for longer than ten minutes', () => {
  const allowance = new Allowance(BUDGET);
  allowance.spent(worked(7_200_000), 7_200_000);
  expect(allowance.closedMs(7_200_000)).toBeLessThanOrEqual(600_000);
  expect(allowance.isLent(7_800_000)).toBe(false);
});

test.each(Array.from({ length: 50 }, (_, seed) => seed))(
  'however long rounds take, and however soon each begins, the budget is kept but for what is lent once: seed %i',
  (seed) => {
    const random = seeded(seed);
    const longest = random.between(10, 5_000);
    const allowance = new Allowance(BUDGET);
    let [nowMs, workedMs] = [0, 0];
    for (let round = 0; round < 300; round++) {
      const elapsedMs = random.between(1, longest);
      const waitedMs = random.between(0, elapsedMs);
      nowMs += elapsedMs;
      workedMs += elapsedMs - waitedMs;
      allowance.spent({ elapsedMs, waitedMs }, nowMs);
      nowMs += allowance.closedMs(nowMs);
      expect(workedMs).toBeLessThanOrEqual(nowMs * BUDGET + LENT_WORK_MS + 0.001);
    }
  },
);
