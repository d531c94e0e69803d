/**
 * What `cutover`, `rollback` and `drill` share. Guarantee: every step is told on stderr when it is over; the first SIGTERM or SIGINT, and `--timeout`, back
 * out what is not decided and are not heard behind the decision; whatever is thrown leaves either side's writers as the message says.
 */
import type { Command } from 'commander';
import { parseDuration } from '#schemas/config/cutover-schema.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { flip, type FlipOutcome } from '#services/control/flip/engine.ts';
import { type FlipKind, flipTo } from '#services/control/flip/ports.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { installTestHooksFrom } from '#services/up/test-hook-environment.ts';
import { accountName } from '../account-name.ts';
import type { CommandContext, Outcome } from '../command.ts';
import { targetOption } from '../migration-input.ts';
import { planOption } from '../plan/signed-plan.ts';
import { openFlip } from './open-flip.ts';
import { describeStep, flipOutcome } from './flip-outcome.ts';

export interface FlipCommand {
  /** Of the command, for what it says. */
  readonly command: string;
  readonly drill: boolean;
  readonly dryRun: boolean;
  /** Undefined: whatever comes next. */
  readonly kind?: FlipKind;
}

export function flipOptions(command: Command): void {
  planOption(command);
  targetOption(command);
  command
    .option('--timeout <time>', 'back out unless it is decided by then (for example 2min)')
    .option('--by <name>', 'who does it; recorded (default: the user of this session)');
}

/** @throws PipelineError what ended it */
export async function runFlip(file: MigrationFile, wanted: FlipCommand, context: CommandContext): Promise<Outcome> {
  installTestHooksFrom(context.io.environment);
  const by = context.options.text('by') ?? accountName();
  await using open = await openFlip(file, context, by);
  const { ports, migration } = open;
  const kind = wanted.kind ?? (await nextKind(ports));
  const outcome = await flip(ports, migration.settings, {
    kind,
    drill: wanted.drill,
    dryRun: wanted.dryRun,
    by,
    signal: AbortSignal.any([context.signal, timeoutOf(context)]),
    onStep: (step) => context.io.stderr.write(`${describeStep(step, context.paint)}\n`),
  });
  return flipOutcome(outcome, { ...wanted, kind, file, reverse: open.reverse }, context.paint);
}

/** The one that is possible. */
async function nextKind({ state }: Awaited<ReturnType<typeof openFlip>>['ports']): Promise<FlipKind> {
  const tenure = await state.lease();
  const { serves } = tenure.row;
  await tenure.release();
  return flipTo('cutover') === otherSide(serves) ? 'cutover' : 'rollback';
}

function timeoutOf({ options }: CommandContext): AbortSignal {
  const text = options.text('timeout');
  if (text === undefined) return new AbortController().signal;
  const ms = parseDuration(text);
  if (ms === undefined) throw new PipelineError('CF-1007', `--timeout takes a time, for example 30s or 2min, not ${JSON.stringify(text)}`);
  const over = new AbortController();
  setTimeout(() => over.abort(new PipelineError('CF-8307', `it was not decided within ${text}`)), ms).unref();
  return over.signal;
}

export type { FlipOutcome };
