import { expect, test } from 'vitest';
import { coverageOf, dueParts, newPart, type Part, roundSize } from '#services/reconciler/monitor/schedule.ts';

const OPTIONS = { sweepMs: 60_000, roundRows: 100, sweepRows: 100, retryMs: 1_000 };

function part(what: string, given: Partial<Part<string>> = {}): Part<string> {
  return { ...newPart(what, 10), ...given };
}

const PROVED = { comparedAtMs: 1_000, provedAtMs: 1_000, verdict: 'equal' } as const;

function order(parts: readonly Part<string>[], nowMs: number): string[] {
  return dueParts(parts, nowMs, OPTIONS).map(({ what }) => what);
}

test('what waits for another look comes first, then what changed longest ago, then what was never compared', () => {
  const parts = [
    part('quiet', PROVED),
    part('changed late', { ...PROVED, changedAtMs: 1_900 }),
    part('changed early', { ...PROVED, changedAtMs: 1_500 }),
    part('new'),
    part('new and changed', { changedAtMs: 1_950 }),
    part('found', { ...PROVED, verdict: 'differs', urgent: true }),
  ];
  expect(order(parts, 2_000)).toEqual(['found', 'new and changed', 'changed early', 'changed late', 'new']);
});

test('what does not change is due again after the sweep, and only then', () => {
  expect(order([part('quiet', PROVED)], 60_999)).toEqual([]);
  expect(order([part('quiet', PROVED)], 61_000)).toEqual(['quiet']);
});

test('what is due for the sweep is not passed over for what changes all the time', () => {
  const hot = Array.from({ length: 20 }, (_, i) =>
    part(`hot ${i}`, { ...PROVED, comparedAtMs: 60_500, changedAtMs: 61_100 + i, rows: 50 }),
  );
  expect(order([...hot, part('quiet', PROVED), part('quiet, too', PROVED)], 62_000)).toEqual(['hot 0', 'hot 1', 'quiet']);
  expect(order([...hot, part('quiet and large', { ...PROVED, rows: 5_000 })], 62_000)).toEqual(['hot 0', 'hot 1', 'quiet and large']);
});

test('what could not be compared waits, however pressing it is, and is then tried again', () => {
  const failed = part('failed', { comparedAtMs: 1_000, verdict: 'inconclusive', urgent: true, changedAtMs: 900 });
  expect(order([failed], 1_999)).toEqual([]);
  expect(order([failed], 2_000)).toEqual(['failed']);
});

test('a clock that was set back makes nothing wait until it is that late again', () => {
  const failed = part('failed', { comparedAtMs: 900_000, verdict: 'inconclusive', changedAtMs: 890_000 });
  const quiet = part('quiet', { comparedAtMs: 900_000, provedAtMs: 900_000, verdict: 'equal' });
  expect(order([failed, quiet], 1_000)).toEqual(['failed', 'quiet']);
});

test('what differs is looked at again without a change: somebody may have put it right', () => {
  const differs = part('differs', { comparedAtMs: 1_000, verdict: 'differs' });
  expect(order([differs], 6_999)).toEqual([]);
  expect(order([differs], 7_000)).toEqual(['differs']);
});

test('before its rest is over only what was changed or found is looked at again', () => {
  const parts = [
    part('quiet', PROVED),
    part('new'),
    part('changed', { ...PROVED, changedAtMs: 1_500 }),
    part('found', { ...PROVED, urgent: true }),
  ];
  const lent = dueParts(parts, 62_000, { ...OPTIONS, pressingOnly: true }).map(({ what }) => what);
  expect(lent).toEqual(['found', 'changed']);
  expect(dueParts(parts.slice(0, 2), 62_000, { ...OPTIONS, pressingOnly: true })).toEqual([]);
});

test('a round takes no more rows than it may, but for one part that is larger alone', () => {
  expect(order([part('a', { rows: 60 }), part('b', { rows: 60 })], 0)).toEqual(['a']);
  expect(order([part('a', { rows: 6_000 })], 0)).toEqual(['a']);
});

test('what has not changed fills what is left of the time in which changes are to be looked at again', () => {
  const quiet = Array.from({ length: 20 }, (_, i) => part(`quiet ${i}`, { ...PROVED, rows: 10 }));
  const hot = part('hot', { ...PROVED, changedAtMs: 61_000, rows: 20 });
  const chosen = (sweepRows: number): number => dueParts([...quiet, hot], 62_000, { ...OPTIONS, sweepRows }).length - 1;
  expect([chosen(60), chosen(20), chosen(0)]).toEqual([4, 1, 1]);
  const fresh = Array.from({ length: 20 }, (_, i) => part(`new ${i}`));
  const many = part('much', { ...PROVED, changedAtMs: 61_000, rows: 90 });
  const withNew = (changed: Part<string>): number => dueParts([...fresh, changed], 62_000, { ...OPTIONS, sweepRows: 0 }).length - 1;
  expect([withNew(hot), withNew(many)]).toEqual([8, 5]);
  expect(roundSize({ rows: 10_000, workedMs: 100 }, 0.1)).toEqual({ roundRows: 200_000, sweepRows: 80_000 });
  expect(roundSize({ rows: 200_000, workedMs: 500 }, 0.1)).toEqual({ roundRows: 320_000, sweepRows: 320_000 });
  expect(roundSize({ rows: 200_000, workedMs: 500 }, 1)).toEqual({ roundRows: 1_000_000, sweepRows: 1_000_000 });
  expect(roundSize({ rows: 0, workedMs: 0 }, 0.1)).toEqual({ roundRows: 200_000, sweepRows: 200_000 });
});

test('a part that is larger than a round does not keep a finding waiting', () => {
  const found = part('found', { ...PROVED, verdict: 'differs', urgent: true });
  expect(order([part('large', { ...PROVED, rows: 5_000 }), found], 62_000)).toEqual(['found']);
});

test('coverage counts what was found equal, and has no oldest proof while a part was never proved', () => {
  expect(coverageOf([part('a', { ...PROVED, rows: 30 }), part('b', { rows: 10 })])).toMatchObject({
    proved: 0.75,
    oldestProofMs: undefined,
    inconclusive: 0,
  });
  expect(coverageOf([part('a', PROVED), part('b', { ...PROVED, provedAtMs: 500, verdict: 'inconclusive', cause: 'lag' })])).toMatchObject({
    proved: 0.5,
    oldestProofMs: 500,
    inconclusive: 1,
    inconclusiveByCause: { lag: 1, held: 0 },
  });
  const empty = part('empty', { ...PROVED, rows: 0 });
  expect(coverageOf([empty]).proved).toBe(1);
  expect(coverageOf([]).proved).toBe(1);
  // All rows of the source are proved, and yet something is not.
  for (const verdict of ['differs', 'inconclusive'] as const) {
    expect(coverageOf([part('a', PROVED), { ...empty, verdict }]).proved).toBeLessThan(1);
    expect(coverageOf([{ ...empty, verdict }]).proved).toBe(0);
  }
});

test('what never says anything is asked ever less often', () => {
  const failed = (failures: number): Part<string> => part('failed', { comparedAtMs: 0, verdict: 'inconclusive', urgent: true, failures });
  expect(order([failed(1)], 1_000)).toEqual(['failed']);
  expect(order([failed(4)], 7_999)).toEqual([]);
  expect(order([failed(4)], 8_000)).toEqual(['failed']);
  expect(order([failed(50)], 60_000)).toEqual(['failed']);
});
