/** What is told once of several targets. */
import { expect, test } from 'vitest';
import { mergeTargets, type TargetView } from '#schemas/status/merge-targets.ts';
import { statusResultSchema, type StatusResult, UNKNOWN_COPY } from '#schemas/status/status-result.ts';

function status(changes: Partial<StatusResult>): StatusResult {
  return {
    name: 'shop',
    phase: 'following',
    tables: [{ from: 'public.a', to: 'public.a', phase: 'following', rowsCopied: 1, rowsEstimated: 1, changesApplied: 2 }],
    lag: { bytes: 10, seconds: 1, known: true },
    source: { lsn: '0/30', slot: { retainedBytes: 5, status: 'reserved' } },
    applied: { lsn: '0/20', exact: true },
    copy: UNKNOWN_COPY,
    restarts: 1,
    deadLetters: 2,
    drift: 3,
    plan: null,
    ...changes,
  };
}

function view(name: string, changes: Partial<StatusResult> = {}, more: Partial<TargetView> = {}): TargetView {
  return { name, kind: 'postgres', connected: true, status: status(changes), ...more };
}

test('the whole is as far as the target that is furthest behind, in the shape that status has', () => {
  const merged = mergeTargets([
    view('new'),
    view('cache', { applied: { lsn: '0/1F', exact: false }, lag: { bytes: 11, seconds: 0, known: true } }),
  ]);
  expect(statusResultSchema.parse(merged)).toEqual(merged);
  expect(merged).toMatchObject({
    phase: 'following',
    lag: { bytes: 11, seconds: 1, known: true },
    applied: { lsn: '0/1F', exact: false },
    deadLetters: 4,
    drift: 6,
    targets: [
      { name: 'new', applied: { lsn: '0/20', exact: true } },
      { name: 'cache', applied: { lsn: '0/1F', exact: false } },
    ],
  });
  expect(merged.tables.map(({ target }) => target)).toEqual(['new', 'cache']);
});

test('each of several runs under a plan of its own, and the only one under that of the migration', () => {
  const plan = { hash: 'a', signed: true, since: '2026-11-22T00:00:00Z', changed: false };
  const merged = mergeTargets([view('new', { plan }), view('cache')]);
  expect([merged.plan, merged.targets?.map((target) => target.plan)]).toEqual([null, [plan, null]]);
  expect(mergeTargets([view('new', { plan })]).plan).toEqual(plan);
});

test('what is not known of one is not known of all', () => {
  const merged = mergeTargets([
    view('new'),
    view('late', {
      phase: 'copying',
      applied: { lsn: null, exact: false },
      lag: { bytes: null, seconds: null, known: false },
      drift: null,
    }),
  ]);
  expect(merged).toMatchObject({ phase: 'copying', lag: { known: false }, applied: { lsn: null, exact: false }, drift: null });
});

test('one that could not be asked has no phase, and one that was added and not begun makes the whole a copy', () => {
  const away = mergeTargets([view('new'), view('cache', { phase: 'planned' }, { isUnknown: true, error: 'gone' })]);
  expect([away.phase, away.targets?.[1]]).toEqual(['following', expect.objectContaining({ phase: null, error: 'gone' })]);
  expect(mergeTargets([view('new'), view('late', { phase: 'planned' })]).phase).toBe('copying');
  expect(mergeTargets([view('new', { phase: 'planned' }), view('late', { phase: 'planned' })]).phase).toBe('planned');
});
