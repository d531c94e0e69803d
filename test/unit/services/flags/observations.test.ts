import { expect, test } from 'vitest';
import type { Observation } from '#schemas/flags/observation.ts';
import { Observations } from '#services/flags/observations.ts';

const READ: Observation = { op: 'read', stage: 'shadow' };

test('a minute: consistency, percentiles and errors of each side, units', () => {
  const observations = new Observations(() => 90_000);
  observations.add(Array.from({ length: 99 }, () => ({ ...READ, unit: 'acme', result: 'equal', source: { ms: 10 }, target: { ms: 2 } })));
  observations.add([
    { ...READ, unit: 'acme', result: 'different', hashes: ['a', 'b'], source: { ms: 400 }, target: { ms: 2 } },
    { ...READ, unit: 'late', result: 'settled', source: { ms: 10 }, target: { ms: 2 } },
    { ...READ, unit: 'late', result: 'incomparable', source: { ms: 10 }, target: { ms: 7, error: '57014' } },
  ]);
  const { minutes, mismatches } = observations.report();
  expect(minutes).toHaveLength(1);
  const [minute] = minutes;
  expect(minute).toMatchObject({
    at: '1970-01-01T00:01:00.000Z',
    observed: 102,
    compared: 101,
    equal: 99,
    different: 1,
    settled: 1,
    incomparable: 1,
  });
  expect(minute!.consistency).toBeCloseTo(100 / 101);
  expect(minute!.target).toMatchObject({ count: 102, errors: 1 });
  expect(minute!.source.p50Ms).toBeGreaterThanOrEqual(10);
  expect(minute!.source.p50Ms).toBeLessThan(10.6);
  expect(minute!.source.p99Ms).toBeLessThan(10.6);
  expect(minute!.units).toEqual([
    { unit: 'acme', observed: 100, errors: 0, different: 1 },
    { unit: 'late', observed: 2, errors: 1, different: 0 },
  ]);
  expect(mismatches).toEqual([expect.objectContaining({ hashes: ['a', 'b'] })]);
});

test('the 99th percentile sees what the slowest did, and nothing measured is no duration', () => {
  const observations = new Observations(() => 0);
  observations.add(Array.from({ length: 100 }, (_each, i) => ({ ...READ, source: { ms: i < 97 ? 1 : 500 } })));
  const { source, target, consistency } = observations.report().minutes[0]!;
  expect(source.p99Ms).toBeGreaterThanOrEqual(500);
  expect(source.p99Ms).toBeLessThan(530);
  expect([target.p50Ms, consistency]).toEqual([null, null]);
});

test('bounded: minutes, units, mismatches', () => {
  let nowMs = 0;
  const observations = new Observations(() => nowMs);
  for (let minute = 0; minute < 400; minute++) {
    nowMs = minute * 60_000;
    observations.add(Array.from({ length: 3 }, (_each, i) => ({ ...READ, unit: `u${i}`, result: 'different' })));
  }
  observations.add(Array.from({ length: 500 }, (_each, i) => ({ ...READ, unit: `many${i}` })));
  const { minutes, mismatches } = observations.report();
  expect(minutes).toHaveLength(180);
  expect(mismatches).toHaveLength(100);
  expect(minutes.at(-1)!.units.length).toBe(201);
  expect(minutes.at(-1)!.units.find(({ unit }) => unit === '(others)')!.observed).toBe(303);
  expect(observations.report(2).minutes).toHaveLength(2);
});
