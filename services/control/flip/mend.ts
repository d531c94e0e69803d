/**
 * Fences at rest. Guarantee: with no act under way the serving side takes writes and, after a first decision, the other one does not; a fence on the source that
 * somebody took away while the target serves is told and not mended. What was written on a side that had lost its fence, the comparison of the next flip finds.
 */
import { PipelineError } from '#schemas/errors.ts';
import { type Fenced, highestEpoch, type Journals, lastDecision, type Mending, mendingOf } from '#schemas/migration/recovery.ts';
import { otherSide, type Side, type Standing } from '#schemas/migration/transitions.ts';
import type { RecoveryPorts, Tenure } from './ports.ts';
import type { FlipSettings } from './settings.ts';
import type { StepLog } from './step-log.ts';

/** What the fences need, as they are now. */
export async function neededMending({ fences }: Pick<RecoveryPorts, 'fences'>, standing: Standing, journals: Journals): Promise<Mending> {
  // Without an act none was ever prepared; without a decision none was committed, but somebody may have woken what sleeps.
  if (standing.epoch === 0n && lastDecision(journals) === undefined) return { do: 'nothing' };
  const [source, target] = await Promise.all([fences.source.state(), fences.target.state()]);
  const fenced = (state: typeof source): Fenced => (state === 'none' ? 'down' : state);
  return mendingOf(standing, journals, { source: fenced(source), target: fenced(target) });
}

/** Of the audit trail; the report counts it as an incident. */
export const FENCE_RAISED = 'fence-raised';

export interface MendParts {
  readonly ports: Pick<RecoveryPorts, 'fences'>;
  readonly tenure: Tenure;
  /** Who does it. */
  readonly by: string;
  readonly mayLeaveHoles?: boolean;
}

/** @returns what was done. @throws PipelineError CF-8005 where a person has to look */
export async function mendFences(parts: MendParts, journals: Journals): Promise<Mending> {
  const { row } = parts.tenure;
  const next = await neededMending(parts.ports, row, journals);
  if (next.do === 'halt') throw new PipelineError('CF-8005', next.why);
  if (next.do === 'lift') await parts.ports.fences[next.side].lift(next.epoch);
  if (next.do === 'raise') {
    try {
      await raiseAgain(parts, next, journals);
    } catch (error) {
      // A lock that is not had just now is no reason to stop a rollback. Somebody else's partition is, since its part of the fence could not be lifted: the
      // flip's own preparation says so (CF-8102), before writers wait.
      if (!next.isHole || parts.mayLeaveHoles !== true || !(error instanceof PipelineError) || error.code === 'CF-8003') throw error;
      return { do: 'nothing' };
    }
  }
  return next;
}

/** A fence that should have stood, and did not: the audit trail has it, and what to look for. */
export async function raiseAgain(
  parts: MendParts,
  { side, isHole = false }: { readonly side: Side; readonly isHole?: boolean },
  journals: Journals,
): Promise<void> {
  const lost = lastDecision(journals);
  const epoch = await raiseFence(parts, side, journals);
  const reason = isHole
    ? 'tables that came later were not fenced'
    : `the ${side} did not know that the ${otherSide(side)} serves, and could be written: it failed over without its last transactions, was put back to an earlier moment, or was away`;
  const details = {
    side,
    epoch: String(epoch),
    decision: String(lost?.epoch ?? 0n),
    reason,
    remedy: 'crossfade verify tells which rows it took, and which it lost',
  };
  await parts.tenure.note({ actor: parts.by, event: FENCE_RAISED, details });
}

/**
 * Before the first decision others are only counted when they write to the target (gate purity), unless the file wants it fenced: then as if it had served
 * and given back.
 * @returns the highest epoch of the journals then
 */
export async function fenceTargetFirst(
  parts: { readonly ports: Pick<RecoveryPorts, 'fences'>; readonly tenure: Tenure; readonly settings: FlipSettings; readonly log: StepLog },
  journals: Journals,
): Promise<bigint> {
  if (!parts.settings.fencesTarget || lastDecision(journals) !== undefined) return highestEpoch(journals);
  return parts.log.run('target-fence', async () => raiseFence(parts, 'target', journals));
}

/** Who serves is not changed by it. @returns its epoch */
export async function raiseFence(
  { ports, tenure }: { readonly ports: Pick<RecoveryPorts, 'fences'>; readonly tenure: Tenure },
  side: Side,
  journals: Journals,
): Promise<bigint> {
  const epoch = highest(tenure.row.epoch, highestEpoch(journals)) + 1n;
  await ports.fences[side].prepare(epoch);
  const fence = await ports.fences[side].open(epoch);
  try {
    // Whoever has it now may have decided otherwise.
    await tenure.confirm();
  } catch (error) {
    await fence.rollback().catch(() => undefined);
    throw error;
  }
  await fence.commit('raised', { raised: true });
  return epoch;
}

function highest(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}
