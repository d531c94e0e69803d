/**
 * `--plan`: a command is bound to the plan that people signed. Guarantee: what is done is done under that very hash or not at all (CF-4006, exit 10);
 * with the document at hand the refusal tells what changed.
 */
import { isAbsolute, join } from 'node:path';
import type { Command } from 'commander';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import type { CliIo, CommandContext } from '../command.ts';
import { loadMigration, type MigrationInput, readText } from '../migration-input.ts';
import { currentPlan } from './current-plan.ts';

const HASH = /^[0-9a-f]{64}$/i;

export function planOption(command: Command): void {
  command.option(
    '--plan <plan>',
    'go on only under this plan: its hash, or the .json file that crossfade plan wrote (default: CROSSFADE_PLAN)',
  );
}

export interface SignedInput extends MigrationInput {
  /** Undefined: the hash alone is known, or none. */
  readonly document: PlanDocument | undefined;
}

/** @throws PipelineError CF-1002 to CF-1007 */
export async function loadSigned(context: CommandContext): Promise<SignedInput> {
  const input = await loadMigration(context);
  const given = context.options.text('plan') ?? (context.io.environment['CROSSFADE_PLAN'] || undefined);
  if (given === undefined) return { ...input, document: undefined };
  const document = HASH.test(given) ? undefined : await readPlanDocument(given, context.io);
  return { ...input, file: { ...input.file, signedPlan: document?.hash ?? given.toLowerCase() }, document };
}

/** @throws PipelineError CF-1002, CF-1007 */
export async function readPlanDocument(typed: string, { directory }: Pick<CliIo, 'directory'>): Promise<PlanDocument> {
  if (!typed.endsWith('.json')) {
    throw new PipelineError('CF-1007', `${JSON.stringify(typed)} is neither the hash of a plan (64 digits) nor a .json file`, {
      remedy: 'Give the hash that crossfade plan prints, or what crossfade plan --format json --out plan.json wrote.',
    });
  }
  const text = await readText(isAbsolute(typed) ? typed : join(directory, typed), typed);
  try {
    const document = JSON.parse(text) as PlanDocument;
    if (HASH.test(document.hash) && Array.isArray(document.tables)) return document;
  } catch (error) {
    throw new PipelineError('CF-1002', `${typed} is no plan: ${messageOf(error)}`, { path: typed, cause: error });
  }
  throw new PipelineError('CF-1002', `${typed} is no plan: it has no hash`, {
    path: typed,
    remedy: 'Give what crossfade plan --format json --out plan.json wrote.',
  });
}

/** The refusal of a plan, with what changed where that is known; every other error as it is. */
export async function tellChanges(error: unknown, { file, document }: SignedInput): Promise<unknown> {
  if (!(error instanceof PipelineError) || error.code !== 'CF-4006' || document === undefined) return error;
  const { plan } = await currentPlan(file);
  const findings = [error.message, ...comparePlans(document, plan)].map((line) => errorFinding('CF-4006', line));
  return new PipelineError(error.code, error.message, { ...error.place, cause: error, details: { ...error.details, findings } });
}
