/**
 * The part of a flip in which writers wait: from the request for the locks to the decision. Guarantee: it returns only when the fence is
 * committed (or, in a drill, rolled back after everything else was done); it throws only when it is known that the fence was not committed, but for
 * `UndecidedError`. Nothing in it lasts longer than the block budget, the COMMIT and its clarification excepted.
 */
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { failpoint, guarded } from '#schemas/test-hooks.ts';
import {
  type FlipAct,
  type CompareVerdict,
  type FlipPorts,
  flipTo,
  type Marker,
  type OpenCompare,
  type OpenFence,
  type Side,
  type SequenceChange,
  type Tenure,
} from './ports.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { describeGates, recheck, requireOpen } from './recheck.ts';
import type { FlipSettings } from './settings.ts';
import type { StepLog } from './step-log.ts';
import { rejection, within } from './within.ts';

/** The COMMIT's answer was lost, and the side cannot be asked: recovery will. */
export class UndecidedError extends Error {
  override readonly name = 'UndecidedError';
}

export interface BlockParts {
  readonly ports: FlipPorts;
  readonly settings: FlipSettings;
  readonly tenure: Tenure;
  readonly act: FlipAct;
  readonly compare: OpenCompare;
  readonly log: StepLog;
  /** Fires when the operator wants it stopped; heard until the decision. */
  readonly signal: AbortSignal | undefined;
  /** What the certificate says beside what is found here. */
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface BlockFacts {
  readonly marker: Marker;
  readonly compare: CompareVerdict;
  readonly sequences: readonly SequenceChange[];
  readonly lockWaitMs: number;
  /** Of the clock, when the locks were asked for by the try that got them. */
  readonly blockedSince: number;
}

/** How long the COMMIT's answer is waited for before it is asked what became of it. */
const COMMIT_TIMEOUT_MS = 2_000;
/** Connections, and the locks that no writer waits for. */
const OPEN_MARGIN_MS = 15_000;
const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_LAST_MS = 64_000;

export async function runBlock(parts: BlockParts): Promise<BlockFacts> {
  const { fence, blockedSince } = await lockWithTries(parts);
  failpoint('flip.fenced');
  let certain = false;
  try {
    const facts = await untilDecision(parts, fence, blockedSince);
    certain = true;
    if (parts.act.drill)
      await parts.log.run(
        'decide',
        async () => undo(parts, fence),
        () => 'a drill: rolled back',
      );
    else await parts.log.run('decide', async () => decide(parts, fence, facts));
    failpoint('flip.decided');
    return facts;
  } catch (error) {
    // From the COMMIT on it is settled by whoever asked for it.
    if (!certain) await undo(parts, fence);
    throw error;
  }
}

async function lockWithTries(parts: BlockParts): Promise<{ fence: OpenFence; blockedSince: number }> {
  const { ports, settings, act, compare, log, signal, tenure } = parts;
  const side = otherSide(flipTo(act.kind));
  const ends = [rejection(signal), rejection(tenure.lost)];
  for (let attempt = 1; ; attempt++) {
    try {
      const fence = await log.run(
        'fence',
        async () => openInTime(parts, side, ends),
        ({ lockWaitMs }) => `locked after ${Math.round(lockWaitMs)} ms`,
      );
      return { fence, blockedSince: ports.clock.now() - fence.blockedMs };
    } catch (error) {
      if (!(error instanceof PipelineError) || error.retry !== 'timed' || attempt >= settings.attempts) {
        // Its answer may be what was lost: then a session would hold the locks until the server notices.
        await ports.fences[side].settle(act.epoch).catch(() => undefined);
        throw error;
      }
      const full = Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** (attempt - 1));
      const ms = full * (1 - ports.clock.random() / 4);
      await within({ clock: ports.clock, ms: 2 * BACKOFF_LAST_MS, late: () => error, ends }, async (stop) => {
        await ports.clock.delay(ms, stop);
        await compare.refresh(stop);
      });
      await recheck(parts, ends);
    }
  }
}

/** What comes when nobody waits for it any more is given back; the caller settles the epoch. */
async function openInTime({ ports, settings, act }: BlockParts, side: Side, ends: readonly Promise<never>[]): Promise<OpenFence> {
  const ms = settings.lockTimeoutMs + OPEN_MARGIN_MS;
  const late = (): PipelineError => new PipelineError('CF-8307', `the ${side} did not say within ${ms} ms whether its tables are locked`);
  const opening = ports.fences[side].open(act.epoch);
  try {
    return await within({ clock: ports.clock, ms, late, ends }, async () => opening);
  } catch (error) {
    void opening.then(async (fence) => fence.rollback()).catch(() => undefined);
    throw error;
  }
}

async function untilDecision(parts: BlockParts, fence: OpenFence, blockedSince: number): Promise<BlockFacts> {
  const { ports, settings, tenure, act, compare, log, signal } = parts;
  const { clock } = ports;
  const [to, from] = [flipTo(act.kind), otherSide(flipTo(act.kind))];
  const lost = fence.lost.then((cause): never => {
    throw new PipelineError('CF-8307', `the session that held the fence ended: ${cause.message}`, { cause });
  });
  lost.catch(() => undefined);
  const ends = [lost, rejection(signal), rejection(tenure.lost)];
  const left = (): number => blockedSince + settings.blockBudgetMs - clock.now();
  const overBudget = (): PipelineError =>
    new PipelineError('CF-8307', `writers were blocked for the whole budget of ${settings.blockBudgetMs} ms at step ${log.current}`);
  const bounded = async <T>(work: (stop: AbortSignal) => Promise<T>, ms = left(), late = overBudget): Promise<T> =>
    ms < left() ? within({ clock, ms, late, ends }, work) : within({ clock, ms: left(), late: overBudget, ends }, work);

  const marker = await log.run(
    'marker',
    async () => bounded(async () => ports.pipe.mark(from)),
    ({ lsn }) => lsn,
  );
  failpoint('flip.marked');
  const drainLate = (): PipelineError =>
    new PipelineError('CF-8305', `the ${to} had not applied the marker at ${marker.lsn} within ${settings.drainTimeoutMs} ms`);
  if (guarded('flip-drain'))
    await log.run('drain', async () => bounded(async (stop) => ports.pipe.applied(from, marker, stop), settings.drainTimeoutMs, drainLate));
  failpoint('flip.drained');
  requireOpen(await log.run('purity', async () => bounded(async () => ports.gates.atFence(act.kind, act.drill)), describeGates));
  const compareLate = (): PipelineError =>
    new PipelineError('CF-8306', `the final comparison was not done within ${settings.compareTimeoutMs} ms`);
  const verdict = await log.run(
    'final-compare',
    async () => bounded(async (stop) => compare.finish(marker, stop, fence.reader), settings.compareTimeoutMs, compareLate),
    ({ summary }) => summary,
  );
  if (!verdict.clean && guarded('flip-compare'))
    throw new PipelineError('CF-8304', `${unequal(verdict)} behind the fence: ${verdict.summary}`, {
      details: { report: verdict.report },
    });
  failpoint('flip.compared');
  const sequences = await log.run(
    'sequences',
    async () => bounded(async () => ports.fences[to].setSequences(await fence.sequences())),
    (set) => (set.length === 0 ? 'there are none' : `${set.length} set`),
  );
  failpoint('flip.sequenced');
  if (fence.swapNames !== undefined) await log.run('swap', async () => bounded(async () => fence.swapNames!()));
  const facts = { marker, compare: verdict, sequences, lockWaitMs: fence.lockWaitMs, blockedSince };
  // It proves, too, that the lease is still ours.
  await bounded(async () => tenure.apply('stepped', { actor: act.by, step: 'decide', details: certificateOf(facts) }));
  failpoint('flip.recorded');
  if (left() <= 0) throw overBudget();
  return facts;
}

/** What could not be judged is no difference, and no proof. */
export function unequal({ differs }: CompareVerdict): string {
  return differs ? 'source and target differ' : 'source and target are not known to be equal';
}

export function certificateOf({ marker, compare, sequences, lockWaitMs }: BlockFacts): Record<string, unknown> {
  return { marker, compare: { clean: compare.clean, summary: compare.summary, ...compare.report }, sequences, lockWaitMs };
}

async function decide({ ports, act, facts }: BlockParts, fence: OpenFence, found: BlockFacts): Promise<void> {
  const side = otherSide(flipTo(act.kind));
  const late = (): PipelineError => new PipelineError('CF-8307', `the COMMIT was not answered within ${COMMIT_TIMEOUT_MS} ms`);
  try {
    await within({ clock: ports.clock, ms: COMMIT_TIMEOUT_MS, late }, async () =>
      fence.commit(found.marker.id, { ...facts, ...certificateOf(found) }),
    );
  } catch (error) {
    const fate = await ports.fences[side].settle(act.epoch).catch((cause: unknown) => {
      throw new UndecidedError(`the COMMIT failed (${messageOf(error)}), and the ${side} cannot be asked for it: ${messageOf(cause)}`, {
        cause,
      });
    });
    if (fate === 'void') throw error;
  }
}

/** A rollback that fails is made certain otherwise: nothing may be left that could still be committed, or that blocks writers. */
async function undo({ ports, act }: BlockParts, fence: OpenFence): Promise<void> {
  const side = otherSide(flipTo(act.kind));
  try {
    await fence.rollback();
  } catch {
    const fate = await ports.fences[side].settle(act.epoch).catch((cause: unknown) => {
      throw new UndecidedError(`the fence could not be rolled back, and the ${side} cannot be asked for it: ${messageOf(cause)}`, {
        cause,
      });
    });
    if (fate === 'decided') throw new UndecidedError('the fence that was rolled back is committed');
  }
}
