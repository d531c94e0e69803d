/**
 * Behind the decision: the other side is opened, and everybody is told. Guarantee: each part is repeated until it is done, by this process for as long as
 * it is allowed to and by whoever recovers the act after it; none can undo the decision, and none acts for a flip that a later one has overtaken.
 */
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { type FlipAct, type RecoveryPorts, type FlipStep, flipTo, type HookReport, type Tenure } from './ports.ts';
import type { FlipSettings } from './settings.ts';
import type { StepLog } from './step-log.ts';

export interface FinishParts {
  readonly ports: RecoveryPorts;
  readonly settings: FlipSettings;
  readonly tenure: Tenure;
  readonly act: FlipAct;
  readonly log: StepLog;
  /** Of the clock, when writers began to wait; absent where that is not known any more: somebody else decided. */
  readonly blockedSince?: number;
  readonly certificate: Readonly<Record<string, unknown>>;
}

export interface Finished {
  readonly certificate: Readonly<Record<string, unknown>>;
  /** What went wrong and holds up nothing. */
  readonly warnings: readonly string[];
}

const RETRY_MS = 200;
const RETRY_LAST_MS = 5_000;

/** @throws PipelineError CF-8308 when it is not done in time, CF-8003 when it is not ours to do any more */
export async function finishFlip(parts: FinishParts): Promise<Finished> {
  const { ports, tenure, act, log } = parts;
  const serves = flipTo(act.kind);
  const warnings: string[] = [];
  await persist(parts, 'open', async () => ports.fences[serves].lift(act.epoch));
  failpoint('flip.opened');
  const blockMs = parts.blockedSince === undefined ? undefined : Math.round(ports.clock.now() - parts.blockedSince);
  const certificate = { ...parts.certificate, ...(blockMs === undefined ? { recovered: true } : { blockMs }) };
  const actor = act.by;
  if (tenure.row.serves !== serves)
    await persist(parts, 'record', async () => tenure.apply('decided', { actor, step: 'open', details: certificate }));
  failpoint('flip.announced');
  await log
    .run('flags', async () => ports.flags.announce(serves, act.epoch))
    .catch((error: unknown) => warnings.push(`the flags could not be pushed: ${messageOf(error)}`));
  const { kind, drill, epoch } = act;
  const hooks = await log
    .run('after-hooks', async () => ports.hooks.after({ event: 'after', kind, drill, epoch, serves }), describeHooks)
    .catch((error: unknown): readonly HookReport[] => {
      warnings.push(`the hooks could not be run: ${messageOf(error)}`);
      return [];
    });
  warnings.push(...hooks.filter(({ ok }) => !ok).map(({ hook, said }) => `hook ${hook} failed: ${said}`));
  failpoint('flip.told');
  const whole = {
    ...certificate,
    timings: log.timings(),
    ...(hooks.length > 0 && { afterHooks: hooks }),
    ...(warnings.length > 0 && { warnings }),
  };
  await persist(parts, 'finish', async () => tenure.apply('finished', { actor, details: whole }));
  return { certificate: whole, warnings };
}

export function describeHooks(reports: readonly HookReport[]): string | undefined {
  if (reports.length === 0) return undefined;
  const failed = reports.filter(({ ok }) => !ok).map(({ hook }) => hook);
  return failed.length === 0 ? `${reports.length} run` : `failed: ${failed.join(', ')}`;
}

async function persist({ ports, settings, tenure, log, act }: FinishParts, step: FlipStep, work: () => Promise<unknown>): Promise<void> {
  const { clock } = ports;
  const deadline = clock.now() + settings.finishTimeoutMs;
  await log.run(step, async () => {
    for (let attempt = 0; ; attempt++) {
      try {
        await work();
        return;
      } catch (error) {
        if (error instanceof PipelineError && error.code === 'CF-8003') throw error;
        tenure.lost.throwIfAborted();
        const pause = Math.min(RETRY_LAST_MS, RETRY_MS * 2 ** Math.min(attempt, 10));
        if (clock.now() + pause > deadline) throw unfinished(act, step, error);
        await clock.delay(pause, tenure.lost);
      }
    }
  });
}

function unfinished({ kind, epoch }: FlipAct, step: FlipStep, error: unknown): PipelineError {
  const serves = flipTo(kind);
  return new PipelineError(
    'CF-8308',
    `the ${kind} of epoch ${epoch} is decided (the ${serves} serves), but step ${step} is not done: ${messageOf(error)}`,
    {
      cause: error,
    },
  );
}
