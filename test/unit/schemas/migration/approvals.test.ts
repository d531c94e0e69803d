import { expect, test } from 'vitest';
import {
  type Approval,
  approvalGates,
  approvalState,
  describeApprovals,
  mayApprove,
  type RequiredApproval,
} from '#schemas/migration/approvals.ts';
import { lastProof } from '#schemas/migration/last-proof.ts';
import { cleanVerifyGate, signoffGates } from '#schemas/migration/signoff-gates.ts';

const PLAN = 'a'.repeat(64);
const FORMER = 'b'.repeat(64);
const by = (person: string, planHash = PLAN, subject = 'cutover'): Approval => ({ subject, planHash, person, at: '2026-11-22T08:00:00Z' });
const two: RequiredApproval = { subject: 'cutover', count: 2, isItem: false };
const named: RequiredApproval = { ...two, of: ['Ada Lovelace', 'Grace Hopper'] };

const HOUR_MS = 3_600_000;

test('different people count, each once', () => {
  expect(approvalState(two, [by('Ada Lovelace'), by(' ada  LOVELACE ')], PLAN)).toMatchObject({ missing: 1 });
  expect(approvalState(two, [by('Ada Lovelace'), by('Ada\u200b Love\u00adlace')], PLAN)).toMatchObject({ missing: 1 });
  expect(approvalState(two, [by('Ada Lovelace'), by('Grace')], PLAN)).toMatchObject({ missing: 0, outdated: [] });
  expect(approvalState(two, [by('Ada', PLAN, 'signoff'), by('Grace')], PLAN)).toMatchObject({ missing: 1 });
});

test('where people are named, only they count', () => {
  expect(approvalState(named, [by('Eve'), by('ada lovelace')], PLAN)).toMatchObject({ missing: 1, from: ['Grace Hopper'] });
  expect([mayApprove(named, 'GRACE hopper'), mayApprove(named, 'Eve'), mayApprove(two, 'Eve'), mayApprove(undefined, 'Eve')]).toEqual([
    true,
    false,
    true,
    true,
  ]);
});

test('what was signed of another plan counts no more, and is told with both hashes', () => {
  const state = approvalState(two, [by('Ada', FORMER), by('Grace')], PLAN);
  expect(state).toMatchObject({ missing: 1, outdated: [{ person: 'Ada' }] });
  expect(describeApprovals(state, PLAN)).toBe(
    '1 of 2 signed: Grace (2026-11-22T08:00:00Z); Ada signed plan bbbbbbbbbbbb…, and the plan is aaaaaaaaaaaa… now',
  );
  expect(approvalState(two, [by('Ada', FORMER), by('Ada')], PLAN).outdated).toEqual([]);
});

test('the cut-over waits for its approvals and for the checklist, the others for their own', () => {
  const item: RequiredApproval = { subject: 'backup-restored', count: 1, isItem: true };
  const required = [two, item, { ...two, subject: 'rollback', count: 1 }];
  const evidence = { required, approvals: [by('Ada'), by('Grace')], planHash: PLAN };
  expect(approvalGates('cutover', evidence).map(({ gate, isOpen }) => [gate, isOpen])).toEqual([
    ['approvals cutover', true],
    ['checklist backup-restored', false],
  ]);
  expect(approvalGates('rollback', evidence)).toMatchObject([
    { isOpen: false, evidence: '0 of 1 signed', remedy: 'Have it signed: crossfade approve rollback --as "NAME"' },
  ]);
  expect(approvalGates('cutover', { ...evidence, required: undefined })).toEqual([]);
});

test('nothing is signed off that is not observed, or that nobody has looked at', () => {
  const at = '2026-11-22T08:00:00.000000Z';
  const proof = { differences: 0, at };
  const nowMs = Date.parse(at) + HOUR_MS;
  const evidence = { required: undefined, approvals: [], planHash: PLAN, proof, nowMs };
  expect(signoffGates({ row: undefined, ...evidence })).toMatchObject([
    { gate: 'state', isOpen: false, evidence: 'nothing was cut over' },
    { gate: 'verify', isOpen: true },
  ]);
  expect(signoffGates({ row: { state: 'rolling-back' }, ...evidence })[0]).toMatchObject({ isOpen: false });
  expect(signoffGates({ row: { state: 'observing' }, ...evidence })[0]).toMatchObject({ isOpen: true });
  const isOpen = (one: Parameters<typeof cleanVerifyGate>[0]): boolean => cleanVerifyGate(one).isOpen;
  expect(isOpen({ proof: undefined, nowMs })).toBe(false);
  expect(isOpen({ proof: { ...proof, differences: 2 }, nowMs })).toBe(false);
  expect(isOpen({ proof, nowMs: nowMs + 23 * HOUR_MS })).toBe(true);
  expect(isOpen({ proof, nowMs: nowMs + 23 * HOUR_MS + 1 })).toBe(false);
  expect(isOpen({ proof: undefined, nowMs, noWayBack: 'the file says so' })).toBe(true);
  expect(isOpen({ proof: { ...proof, differences: 2 }, nowMs, noWayBack: 'the file says so' })).toBe(false);
});

test('a proof is of the side that serves now, until something differs', () => {
  const record = (event: string, details = {}): Parameters<typeof lastProof>[0][number] => ({ event, at: event, details });
  expect(lastProof([])).toBeUndefined();
  expect(lastProof([record('proved'), record('decided'), record('finished')])).toBeUndefined();
  expect(lastProof([record('decided'), record('proved'), record('approved')])).toEqual({ differences: 0, at: 'proved' });
  expect(lastProof([record('proved'), record('doubted', { differences: 3 })])).toEqual({ differences: 3, at: 'doubted' });
  expect(lastProof([record('proved'), record('rollback-begun'), record('backed-out')])).toMatchObject({ differences: 0 });
  expect(lastProof([record('proved'), record('forced-found')])).toBeUndefined();
});
