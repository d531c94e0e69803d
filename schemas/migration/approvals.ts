/**
 * What people have to sign before an act, and what they have signed. Guarantee: an approval counts for the very plan that it was given for, and a
 * person counts once, however the name is spaced or capitalised.
 */
import { closedGate, type Gate, openGate } from './gate.ts';

/** Acts that an approval can be asked for; every other subject is an item of the checklist, which the cut-over waits for. */
export const APPROVED_ACTS = ['cutover', 'rollback', 'signoff', 'repair-deletes', 'cleanup'] as const;
export type ApprovedAct = (typeof APPROVED_ACTS)[number];

export interface RequiredApproval {
  readonly subject: string;
  /** So many different people. */
  readonly count: number;
  /** Only these; absent: anybody. */
  readonly of?: readonly string[];
  readonly isItem: boolean;
}

export interface Approval {
  readonly subject: string;
  readonly planHash: string;
  readonly person: string;
  /** By the target's clock, in UTC. */
  readonly at: string;
  readonly reason?: string;
}

export interface ApprovalState {
  readonly required: RequiredApproval;
  /** Those that count. */
  readonly given: readonly Approval[];
  readonly missing: number;
  /** Who may still sign; absent: anybody. */
  readonly from?: readonly string[];
  /** Given for another plan. */
  readonly outdated: readonly Approval[];
}

export function approvalState(required: RequiredApproval, approvals: readonly Approval[], planHash: string): ApprovalState {
  const own = approvals.filter(({ subject }) => subject === required.subject);
  const people = required.of?.map(personKey);
  const given = new Map<string, Approval>();
  for (const approval of own) {
    const key = personKey(approval.person);
    const counts = approval.planHash === planHash && (people === undefined || people.includes(key));
    if (counts && !given.has(key)) given.set(key, approval);
  }
  return {
    required,
    given: [...given.values()],
    missing: Math.max(0, required.count - given.size),
    ...(required.of !== undefined && { from: required.of.filter((person) => !given.has(personKey(person))) }),
    outdated: own.filter((approval) => approval.planHash !== planHash && !given.has(personKey(approval.person))),
  };
}

/** Whether this person may sign at all. */
export function mayApprove(required: RequiredApproval | undefined, person: string): boolean {
  return required?.of === undefined || required.of.some((one) => personKey(one) === personKey(person));
}

export function personKey(person: string): string {
  // What nobody sees (a soft hyphen, a zero width space) comes along with a name that is pasted.
  return person
    .normalize('NFKC')
    .replaceAll(/\p{Default_Ignorable_Code_Point}/gu, '')
    .trim()
    .replaceAll(/\s+/g, ' ')
    .toLowerCase();
}

/** What an act waits for; the cut-over also for the checklist. */
export function requiredFor(act: ApprovedAct, required: readonly RequiredApproval[] = []): RequiredApproval[] {
  return required.filter(({ subject, isItem }) => subject === act || (isItem && act === 'cutover'));
}

/** One gate for each thing to be signed; open ones where nothing is asked: none. */
export function approvalGates(
  act: ApprovedAct,
  {
    required,
    approvals,
    planHash,
  }: { readonly required: readonly RequiredApproval[] | undefined; readonly approvals: readonly Approval[]; readonly planHash: string },
): Gate[] {
  return requiredFor(act, required).map((one) => approvalGate(approvalState(one, approvals, planHash), planHash));
}

function approvalGate(state: ApprovalState, planHash: string): Gate {
  const { required, given, missing, from } = state;
  const gate = required.isItem ? `checklist ${required.subject}` : `approvals ${required.subject}`;
  const evidence = describeApprovals(state, planHash);
  if (missing === 0) return openGate(gate, evidence);
  const who = from === undefined ? '"NAME"' : `"${from[0] ?? 'NAME'}"`;
  const command = required.subject === 'signoff' ? 'crossfade signoff' : `crossfade approve ${required.subject}`;
  return closedGate(gate, evidence, `${given.length === 0 ? 'Have it signed' : 'Have it signed by others too'}: ${command} --as ${who}`);
}

/** `1 of 2 signed: Ada (2026-11-22T08:00:00Z); Grace signed plan 1234abcd… and the plan is 9876fedc… now` */
export function describeApprovals({ required, given, from, missing, outdated }: ApprovalState, planHash: string): string {
  const signed = given.map(({ person, at }) => `${person} (${at})`).join(', ');
  return [
    `${given.length} of ${required.count} signed${signed === '' ? '' : `: ${signed}`}`,
    ...(missing > 0 && from !== undefined ? [`still to sign, of: ${from.join(', ')}`] : []),
    ...outdated.map((one) => `${one.person} signed plan ${short(one.planHash)}, and the plan is ${short(planHash)} now`),
  ].join('; ');
}

const HASH_SHOWN = 12;

/** A plan's hash where people read it. */
export function short(planHash: string): string {
  return `${planHash.slice(0, HASH_SHOWN)}…`;
}
