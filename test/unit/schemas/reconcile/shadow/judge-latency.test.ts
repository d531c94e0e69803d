import { expect, test } from 'vitest';
import { judgeLatency, type Measured } from '#schemas/reconcile/shadow/judge-latency.ts';
import { seeded } from '#test/support/random.ts';

const ROUNDS = 10;
const PER_ROUND = 20;

function measured(time: (round: number, i: number) => number, timeouts = 0): Measured {
  const rounds = Array.from({ length: ROUNDS }, (_, round) => Array.from({ length: PER_ROUND }, (_each, i) => time(round, i)));
  return { rounds, elapsedMs: rounds.flat().reduce((sum, one) => sum + one, 0), timeouts };
}

/** Around `middle`, a third of it to either side, with a tail. */
function noisy(seed: number, middle: number): Measured {
  const random = seeded(seed);
  return measured(() => middle * (1 + (random.between(0, 600) - 300) / 1000) * (random.chance(0.03) ? 4 : 1));
}

test('one store twice is never told to be slower', () => {
  for (let seed = 1; seed <= 400; seed++) expect(judgeLatency(noisy(seed, 5), noisy(seed + 1000, 5), 10).verdict).not.toBe('slower');
});

test('a store that takes half as long again is told to be slower, with figures of both', () => {
  for (let seed = 1; seed <= 100; seed++) expect(judgeLatency(noisy(seed, 5), noisy(seed + 1000, 7.5), 10).verdict).toBe('slower');
  const verdict = judgeLatency(
    measured((_, i) => 10 + i / 10),
    measured((_, i) => 20 + i / 10),
    10,
  );
  expect(verdict).toMatchObject({
    verdict: 'slower',
    source: { executions: 200, p50: 10.9, p95: 11.8, p99: 11.9, throughput: 91.324, timeouts: 0 },
    target: { p50: 20.9 },
    message: 'the target is slower: p50 20.9 ms, source 10.9 ms, p95 21.8 ms, source 11.8 ms',
  });
  // Twice as fast is no finding, and what the file allows is none.
  expect(
    judgeLatency(
      measured(() => 20),
      measured(() => 10),
      10,
    ).verdict,
  ).toBe('within');
  expect(
    judgeLatency(
      measured(() => 10),
      measured(() => 20),
      150,
    ).verdict,
  ).toBe('within');
});

test('a disturbance of a moment accuses nobody', () => {
  // Both have a tail of 30 ms; what is disturbed is the middle, in six rounds of ten.
  const tailed = (times: (round: number) => number): Measured => measured((round, i) => (i < 2 ? 30 : times(round)));
  const calm = tailed(() => 10);
  expect(
    judgeLatency(
      calm,
      tailed((round) => (round < 6 ? 11.5 : 10)),
      10,
    ).verdict,
  ).toBe('unclear');
  expect(
    judgeLatency(
      calm,
      tailed(() => 11.5),
      10,
    ).verdict,
  ).toBe('slower');
});

test('too few answers, or answers given up, are told apart', () => {
  const few: Measured = { rounds: [[10], [10]], elapsedMs: 20, timeouts: 0 };
  expect(judgeLatency(few, few, 10)).toMatchObject({ verdict: 'unclear', message: expect.stringContaining('too few') as string });
  const none: Measured = { rounds: [], elapsedMs: 0, timeouts: 1 };
  expect(
    judgeLatency(
      measured(() => 10),
      none,
      10,
    ),
  ).toMatchObject({ verdict: 'slower', target: { executions: 0, p50: null, throughput: null } });
  expect(judgeLatency(none, none, 10).verdict).toBe('unclear');
});
