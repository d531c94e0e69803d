/** Triggers judged: by hand, and against what must hold of any samples. */
import { expect, test } from 'vitest';
import { BASELINE_MS, baselineOf, judge } from '#schemas/triggers/evaluate.ts';
import type { Sample, Trigger } from '#schemas/triggers/trigger.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const MINUTE = 60_000;
const ERRORS: Trigger = {
  name: 'errors',
  kind: 'errors',
  above: 0.01,
  windowMs: 5 * MINUTE,
  atLeast: 50,
  feed: { kind: 'reports' },
  action: 'ask',
};
const SLOW: Trigger = { ...ERRORS, name: 'slow', kind: 'slow', above: 2 };
const FLIP = 1_000 * MINUTE;
const NOW = FLIP + 30 * MINUTE;

const at = (minutesAgo: number, sum: number, count: number): Sample => ({ atMs: NOW - minutesAgo * MINUTE, sum, count });
const judged = (trigger: Trigger, samples: readonly Sample[], baseline?: number): ReturnType<typeof judge> =>
  judge(trigger, { samples, flippedAtMs: FLIP, nowMs: NOW, baseline });

test('a rate fires above its limit, over all of the window, and not at it', () => {
  expect(judged(ERRORS, [at(1, 2, 100), at(2, 2, 100)])).toMatchObject({
    state: 'fired',
    value: 0.02,
    limit: 0.01,
    evidence: '2.00 % errors over 5 min, limit 1.00 % errors',
  });
  expect(judged(ERRORS, [at(1, 1, 100)])).toMatchObject({ state: 'quiet' });
  // A bad minute among good ones is a rate of them all.
  expect(judged(ERRORS, [at(1, 5, 100), at(2, 0, 900)])).toMatchObject({ state: 'quiet', value: 0.005 });
  expect(judged(ERRORS, [at(6, 90, 100), at(1, 0, 100)])).toMatchObject({ state: 'quiet' });
});

test('what is missing is unknown: no sample, too few requests, a feed that fell silent, no baseline', () => {
  expect(judged(ERRORS, [])).toMatchObject({ state: 'unknown', value: null });
  expect(judged(ERRORS, [at(1, 10, 49)])).toMatchObject({
    state: 'unknown',
    evidence: 'only 49 of at least 50 requests in the last 5 min',
  });
  expect(judged(ERRORS, [at(4, 0, 1000)])).toMatchObject({
    state: 'unknown',
    evidence: expect.stringContaining('silent for 4 min') as string,
  });
  // What was bad enough stays it, though nobody reports any more: perhaps because nothing works.
  expect(judged(ERRORS, [at(4, 500, 1000)])).toMatchObject({ state: 'fired' });
  expect(judged(SLOW, [at(1, 900 * 100, 100)])).toMatchObject({ state: 'unknown', limit: null });
});

test('a time is held against its baseline of before the flip', () => {
  expect(judged(SLOW, [at(1, 90 * 100, 100)], 40)).toMatchObject({
    state: 'fired',
    limit: 80,
    evidence: '90 ms over 5 min, limit 80 ms (2 × 40 ms)',
  });
  const before: Sample = { atMs: FLIP - MINUTE, sum: 40 * 100, count: 100 };
  expect(judged(SLOW, [before, at(1, 70 * 100, 100)])).toMatchObject({ state: 'quiet', limit: 80 });
  expect(baselineOf(SLOW, [before, { ...before, atMs: FLIP - BASELINE_MS - 1, sum: 1e9 }], FLIP)).toBe(40);
  expect(baselineOf(SLOW, [{ ...before, atMs: FLIP + 1 }], FLIP)).toBeUndefined();
  expect(baselineOf(SLOW, [{ ...before, sum: 0 }], FLIP)).toBeUndefined();
});

const seed = seedFromEnvironment();

test(`whatever the samples are, what is said follows from those of the window (seed ${seed})`, () => {
  const random = seeded(seed);
  const between = (min: number, max: number): number => min + random.next() * (max - min);
  for (let round = 0; round < 3_000; round++) {
    const nowMs = FLIP + between(0, 20 * MINUTE);
    const samples = Array.from({ length: Math.floor(between(0, 12)) }, (): Sample => {
      const count = Math.floor(between(0, 120));
      const broken = random.chance(0.05);
      return { atMs: nowMs - between(-MINUTE, 20 * MINUTE), sum: broken ? Number.NaN : between(0, count * 0.04), count };
    });
    const all = { samples, flippedAtMs: FLIP, nowMs };
    const verdict = judge(ERRORS, all);
    const inside = samples.filter(
      ({ atMs, sum, count }) => atMs > Math.max(FLIP, nowMs - ERRORS.windowMs) && atMs <= nowMs && Number.isFinite(sum) && count > 0,
    );
    const count = inside.reduce((total, one) => total + one.count, 0);
    const rate = inside.reduce((total, one) => total + one.sum, 0) / count;

    // Only the window counts, in any order.
    expect(judge(ERRORS, { ...all, samples: inside.toReversed() })).toMatchObject({ state: verdict.state });
    if (count < ERRORS.atLeast) expect(verdict.state).toBe('unknown');
    else if (Math.abs(rate - 0.01) > 1e-9) expect(verdict.state === 'fired').toBe(rate > 0.01);
    if (verdict.state === 'quiet') expect(Math.max(...inside.map(({ atMs }) => atMs))).toBeGreaterThanOrEqual(nowMs - ERRORS.windowMs / 2);
    // More errors never calm it, and fewer never make it fire.
    const worse = samples.map((one) => ({ ...one, sum: one.sum * 2 }));
    if (verdict.state === 'fired') expect(judge(ERRORS, { ...all, samples: worse }).state).toBe('fired');
    // Taking samples away never makes quiet of unknown.
    if (verdict.state === 'unknown' && verdict.value === null)
      expect(judge(ERRORS, { ...all, samples: samples.slice(1) }).state).toBe('unknown');
  }
});

test('a mean of rows is called one', () => {
  const drift: Trigger = { ...ERRORS, name: 'drift', kind: 'drift', above: 0, atLeast: 1, feed: { kind: 'crossfade' } };
  expect(judged(drift, [at(1, 1, 1), at(2, 1, 1), at(3, 0, 1)]).evidence).toBe(
    'a mean of 0.7 rows that differ in each look over 5 min, limit 0 rows that differ',
  );
  expect(judged(drift, [at(1, 1, 1)]).evidence).toBe('1 rows that differ over 5 min, limit 0 rows that differ');
});
