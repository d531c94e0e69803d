/**
 * What `approve` and `signoff` share: a target's file, the plan that it gives now, and what was signed of it. Guarantee: what is signed is the plan
 * as file and databases give it at this moment, and no other.
 */
import { readApprovals, readPlanDocument, recordApproval } from '#connectors/target/postgres/approvals.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { type Approval, type ApprovalState, approvalState, mayApprove, type RequiredApproval } from '#schemas/migration/approvals.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { requirePlan } from '#schemas/plan/require-plan.ts';
import { accountName } from '../account-name.ts';
import type { CommandContext } from '../command.ts';
import { currentPlan } from '../plan/current-plan.ts';

const PERSON_LENGTH_MAX = 100;

/** `--as`. @throws PipelineError CF-1007 */
export function personOf({ options }: CommandContext, command: string): string {
  const person = (options.text('as') ?? '').trim().replaceAll(/\s+/g, ' ');
  if (person !== '' && person.length <= PERSON_LENGTH_MAX) return person;
  throw new PipelineError('CF-1007', person === '' ? `${command} needs a person's name` : 'the name is too long', {
    remedy: `Say who signs: crossfade ${command} --as "First Last".`,
  });
}

export interface Subject {
  readonly file: MigrationFile;
  readonly url: string;
  readonly planHash: string;
  readonly plan: PlanDocument;
  readonly approvals: readonly Approval[];
}

/** @throws PipelineError CF-4001 and the like where the file fits no more; CF-4006 where another plan was named; CF-5010 for Redis */
export async function readSubject(file: MigrationFile, command: string): Promise<Subject> {
  const url = postgresTarget(file, command);
  const { plan } = await currentPlan(file);
  requirePlan(plan.hash, file.signedPlan === undefined ? undefined : { hash: file.signedPlan, by: 'option' }, file.name);
  return { file, url, planHash: plan.hash, plan, approvals: await readApprovals(url, file.name) };
}

export function statesOf({ file, approvals, planHash }: Subject): ApprovalState[] {
  return (file.approvals ?? []).map((required) => approvalState(required, approvals, planHash));
}

export interface Signature {
  readonly subject: string;
  readonly person: string;
  readonly reason: string | undefined;
}

/** False: signed before by the same person. @throws PipelineError CF-8004 where the file names others */
export async function sign({ file, url, planHash, plan }: Subject, { subject, person, reason }: Signature): Promise<boolean> {
  const required = file.approvals?.find((one) => one.subject === subject);
  if (!mayApprove(required, person)) throw notAsked(required!, person);
  return recordApproval(url, file.name, {
    subject,
    planHash,
    plan,
    person,
    account: accountName(),
    ...(reason !== undefined && { reason }),
  });
}

/** What the plan does otherwise than those that people signed before, by the hash of theirs. A document of another version's form tells nothing. */
export async function changesSince(
  { file, url, plan }: Subject,
  states: readonly ApprovalState[],
): Promise<Map<string, readonly string[]>> {
  const hashes = new Set(states.flatMap(({ outdated }) => outdated.map(({ planHash }) => planHash)));
  const changes = new Map<string, readonly string[]>();
  for (const hash of hashes) {
    const signed = await readPlanDocument(url, file.name, hash);
    if (isPlan(signed)) changes.set(hash, comparePlans(signed, plan));
  }
  return changes;
}

function isPlan(document: unknown): document is PlanDocument {
  return typeof document === 'object' && document !== null && 'tables' in document && Array.isArray(document.tables);
}

function notAsked({ subject, of }: RequiredApproval, person: string): PipelineError {
  return new PipelineError('CF-8004', `${person} is not among those who sign ${subject}: ${of!.join(', ')}`, {
    remedy: 'Have one of them sign, or name this person under approvals in the file.',
  });
}
