/** What several targets have together. */
import { afterEach, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { TargetSide } from '#services/up/target-side.ts';
import { TargetSides } from '#services/up/target-sides.ts';

afterEach(() => installTestHooks({}));

function side(name: string, at: number | undefined, failure?: Error): TargetSide {
  const applied = at === undefined ? undefined : { offset: at, lsn: BigInt(at) * 10n, commitTimeMs: 0 };
  const sink = { applied: () => applied, status: () => ({ connected: at !== undefined }), waitMarker: async () => undefined };
  return { name, sink, failure: () => failure } as unknown as TargetSide;
}

test('the log is needed from where the slowest stands, and whole while one shows nothing', () => {
  const both = new TargetSides([side('new', 70), side('cache', 30)]);
  expect([both.neededOffset(), both.appliedLsn(), both.highestLsn()]).toEqual([30, 300n, 700n]);
  const begun = new TargetSides([side('new', 70), side('cache', undefined)]);
  expect([begun.neededOffset(), begun.appliedLsn(), begun.highestLsn(), begun.missing()]).toEqual([
    undefined,
    undefined,
    700n,
    'connecting to cache',
  ]);
});

test('with the guard off it would be needed from where the fastest stands', () => {
  installTestHooks({ disabledGuards: ['slowest-target'] });
  expect(new TargetSides([side('new', 70), side('cache', 30)]).neededOffset()).toBe(70);
});

test('of one that was given up nothing is waited for', async () => {
  const sides = new TargetSides([side('new', 1), side('cache', 1, new Error('lost'))]);
  await expect(sides.waitMarker('m', AbortSignal.timeout(1_000))).rejects.toThrow('lost');
  await expect(sides.named('new').waitMarker('m', AbortSignal.timeout(1_000))).resolves.toBeUndefined();
  expect(() => sides.named('nowhere')).toThrow('the migration has no target nowhere');
});
