/**
 * Fences at rest. Guarantee: with no act under way the serving side takes writes and, after a first decision, the other one does not; a fence on the source that is
 * gone while the target serves is told and not mended, since nobody knows what was written there meanwhile.
 */
import { PipelineError } from '#schemas/errors.ts';
import { highestEpoch, type Journals, lastDecision, type Mending, mendingOf } from '#schemas/migration/recovery.ts';
import type { Side, Standing } from '#schemas/migration/transitions.ts';
import type { RecoveryPorts, Tenure } from './ports.ts';

/** What the fences need, as they are now. */
export async function neededMending({ fences }: Pick<RecoveryPorts, 'fences'>, standing: Standing, journals: Journals): Promise<Mending> {
  // Without a decision no fence was ever committed.
  if (lastDecision(journals) === undefined) return { do: 'nothing' };
  const [source, target] = await Promise.all([fences.source.state(), fences.target.state()]);
  // A partition that came later makes the source's fence a partial one: no reason to stop a rollback. The target's is raised anew, which costs nobody anything.
  const isUp = (side: Side, state: typeof source): boolean =>
    state === 'up' || (state === 'partly' && (side === 'source' || standing.serves === 'target'));
  return mendingOf(standing, journals, { source: isUp('source', source), target: isUp('target', target) });
}

/** @returns whether anything was done. @throws PipelineError CF-8005 where a person has to look */
export async function mendFences(
  parts: { readonly ports: Pick<RecoveryPorts, 'fences'>; readonly tenure: Tenure },
  journals: Journals,
): Promise<boolean> {
  const { row } = parts.tenure;
  const next = await neededMending(parts.ports, row, journals);
  if (next.do === 'halt') throw new PipelineError('CF-8005', next.why);
  if (next.do === 'lift') await parts.ports.fences[next.side].lift(next.epoch);
  if (next.do === 'raise') await fenceTarget(parts, highest(row.epoch, highestEpoch(journals)) + 1n);
  return next.do !== 'nothing';
}

function highest(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}

/** Nobody could be kept from writing there. Who serves is not changed by it. */
export async function fenceTarget(
  { ports, tenure }: { readonly ports: Pick<RecoveryPorts, 'fences'>; readonly tenure: Tenure },
  epoch: bigint,
): Promise<void> {
  const { target } = ports.fences;
  await target.prepare(epoch);
  const fence = await target.open(epoch);
  try {
    // Whoever has it now may have decided otherwise.
    await tenure.confirm();
  } catch (error) {
    await fence.rollback().catch(() => undefined);
    throw error;
  }
  await fence.commit('forced', { forced: true });
}
