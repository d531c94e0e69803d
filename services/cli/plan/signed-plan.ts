/**
 * `--plan`: a command is bound to the plan that people signed. Guarantee: what is done is done under that very hash or not at all (CF-4006, exit 10);
 * with the document at hand the refusal tells what changed.
 */
import { isAbsolute, join } from 'node:path';
import type { Command } from 'commander';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { requirePlan } from '#schemas/plan/require-plan.ts';
import { wholeHash } from '#schemas/plan/whole-hash.ts';
import type { CliIo, CommandContext } from '../command.ts';
import { loadMigration, loadTarget, loadTargets, loadWhole, type MigrationInput, readText, type TargetsInput } from '../migration-input.ts';
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

/** For commands that know one target only. @throws PipelineError CF-1002 to CF-1007 */
export async function loadSigned(context: CommandContext): Promise<SignedInput> {
  return bind(await loadMigration(context), await givenPlan(context));
}

/** For commands that act on all targets at once. @throws PipelineError CF-1002 to CF-1007 */
export async function loadSignedWhole(context: CommandContext): Promise<SignedInput> {
  const input = await loadWhole(context);
  const given = await givenPlan(context);
  if (given?.document !== undefined && targetFiles(input.file).length > 1) throw documentOfOne(given.typed);
  return bind(input, given);
}

/** For commands that act on targets one by one. @throws PipelineError CF-1002 to CF-1007, CF-4006 where the hash is of other targets */
export async function loadSignedTargets(context: CommandContext): Promise<SignedInput & TargetsInput> {
  const input = await loadTargets(context);
  const given = await givenPlan(context);
  if (given === undefined) return { ...input, document: undefined };
  if (given.document !== undefined && input.targets.length > 1) throw documentOfOne(given.typed);
  return { ...input, targets: await bindTargets(input, given), document: given.document };
}

/** @throws PipelineError CF-1002 to CF-1007; CF-1007 where the file has several and none is named */
export async function loadSignedTarget(context: CommandContext): Promise<SignedInput> {
  // Refused before any server is asked.
  await loadTarget(context);
  const { targets, ...input } = await loadSignedTargets(context);
  return { ...input, file: targets[0]! };
}

interface Given {
  readonly typed: string;
  readonly hash: string;
  readonly document: PlanDocument | undefined;
}

async function givenPlan({ options, io }: CommandContext): Promise<Given | undefined> {
  const typed = options.text('plan') ?? (io.environment['CROSSFADE_PLAN'] || undefined);
  if (typed === undefined) return undefined;
  const document = HASH.test(typed) ? undefined : await readPlanDocument(typed, io);
  return { typed, hash: document?.hash ?? typed.toLowerCase(), document };
}

function bind(input: MigrationInput, given: Given | undefined): SignedInput {
  if (given === undefined) return { ...input, document: undefined };
  return { ...input, file: { ...input.file, signedPlan: given.hash }, document: given.document };
}

/** To the hash of its own: what was given is either that or the hash of all targets together. */
async function bindTargets({ file, targets }: TargetsInput, given: Given): Promise<readonly MigrationFile[]> {
  const views = targetFiles(file);
  const asGiven = targets.map((view) => ({ ...view, signedPlan: given.hash }));
  if (views.length === 1 || given.document !== undefined) return asGiven;
  const [only] = targets;
  if (targets.length === 1 && (await currentPlan(only!)).plan.hash === given.hash) return asGiven;
  const plans = await Promise.all(views.map(async (view) => ({ name: view.targetName!, hash: (await currentPlan(view)).plan.hash })));
  requirePlan(wholeHash(plans), { hash: given.hash, by: 'option' }, file.name);
  const hashes = new Map(plans.map(({ name, hash }) => [name, hash]));
  return targets.map((view) => ({ ...view, signedPlan: hashes.get(view.targetName!)! }));
}

/** A document is of one target. */
export function documentOfOne(typed: string): PipelineError {
  return new PipelineError('CF-1007', `${typed} is the plan of one target, and the file has several`, {
    remedy: 'Give the hash of all of them, which crossfade plan prints last; or name the target, where the command takes --target.',
  });
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
