/** When the running comparison makes the phase verified, and when it takes that back. */
import { expect, test } from 'vitest';
import { runningProof, type Standing } from '#schemas/migration/running-proof.ts';
import { driftByCause, inconclusiveByCause } from '#schemas/reconcile/drift-cause.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';

const row: Standing = { state: 'following', serves: 'source', act: undefined, updatedAt: '2026-11-22T10:00:00.000000Z' };
const clean: ReconciliationStatus = {
  proved: 1,
  provedSince: '2026-11-22T10:01:00.000Z',
  comparedAt: '2026-11-22T10:05:00.000Z',
  comparisons: 9,
  suspected: 0,
  confirmed: 0,
  repairing: 0,
  inconclusive: 0,
  driftByCause: driftByCause([]),
  inconclusiveByCause: inconclusiveByCause([]),
};

const checked = { declared: 2, equal: 2, differs: 0, inconclusive: 0, differing: [], madeAt: '2026-11-22T10:04:00.000Z' };

test('a whole clean round since the state last changed proves it', () => {
  expect(runningProof(row, clean)).toBe('proved');
  expect(runningProof(row, { ...clean, checks: checked })).toBe('proved');
  expect(runningProof(undefined, clean)).toBeUndefined();
  expect(runningProof(row, undefined)).toBeUndefined();
});

test.each<readonly [string, Partial<Standing>, Partial<ReconciliationStatus>]>([
  ['a part is older than the last change of the state', {}, { provedSince: '2026-11-22T09:59:00.000Z' }],
  ['clocks may be apart', {}, { provedSince: '2026-11-22T10:00:05.000Z' }],
  ['a part was never compared', {}, { proved: 0.99 }],
  ['nothing was', {}, { proved: null, provedSince: null }],
  ['a row is suspected', {}, { suspected: 1 }],
  ['a row is being repaired', {}, { repairing: 1 }],
  ['a part could not be judged', {}, { inconclusive: 1 }],
  ['a check of the file differs', {}, { checks: { ...checked, equal: 1, differs: 1, differing: ['sum'] } }],
  ['one could not be judged', {}, { checks: { ...checked, equal: 1, inconclusive: 1 } }],
  ['none of them was made', {}, { checks: { ...checked, equal: 0, madeAt: null } }],
  ['the target serves', { serves: 'target' }, {}],
  ['it is observed', { state: 'observing', serves: 'target' }, {}],
  ['nothing is compared', {}, { silent: true }],
  ['it is proved already', { state: 'verified' }, {}],
  ['it is given up', { state: 'aborted' }, {}],
  ['somebody acts', { act: { kind: 'cutover' } as unknown as NonNullable<Standing['act']> }, {}],
])('not while %s', (_why, standing, compared) => {
  expect(runningProof({ ...row, ...standing }, { ...clean, ...compared })).toBeUndefined();
});

test('a confirmed difference or a check that differs takes it back, a suspicion does not', () => {
  const verified: Standing = { ...row, state: 'verified' };
  expect(runningProof(verified, { ...clean, confirmed: 2 })).toBe('doubted');
  expect(runningProof(verified, { ...clean, suspected: 2 })).toBeUndefined();
  expect(runningProof(verified, { ...clean, checks: { ...checked, equal: 1, differs: 1, differing: ['sum'] } })).toBe('doubted');
  expect(runningProof(verified, { ...clean, checks: { ...checked, equal: 1, inconclusive: 1 } })).toBeUndefined();
});
