/**
 * What whoever takes the lease has to do before anything else, by what it finds (SPEC.md, crash rules). Guarantee: pure; done again and again
 * until it says `nothing`, it ends in a state without an act, whatever line the one before died at. Nothing is decided here: what the journals
 * say stands, and an epoch that has no row yet is first made undecidable.
 */
import { guarded } from '../test-hooks.ts';
import { actOf, fencedSide, type MigrationEvent, otherSide, type Side, type Standing, step } from './transitions.ts';

/** Written in the transaction of the fence that it stands for. One row an epoch and side, never changed: who is first says what became of it. */
export interface JournalRow {
  readonly epoch: bigint;
  /** Who serves from its COMMIT on. */
  readonly serves: Side;
  /** Empty in a void row: it only says that this epoch was not decided, and never will be. */
  readonly marker: string | null;
  readonly isVoid: boolean;
  /** As PostgreSQL prints it, in UTC. */
  readonly at: string;
}

export interface Journals {
  readonly source: readonly Pick<JournalRow, 'epoch' | 'serves' | 'isVoid'>[];
  readonly target: readonly Pick<JournalRow, 'epoch' | 'serves' | 'isVoid'>[];
}

/** Of the highest epoch over both sides. Void rows decide nothing. */
export function lastDecision({ source, target }: Journals): { readonly epoch: bigint; readonly serves: Side } | undefined {
  let last: { readonly epoch: bigint; readonly serves: Side } | undefined;
  for (const row of [...source, ...target]) if (!row.isVoid && (last === undefined || row.epoch > last.epoch)) last = row;
  return last && { epoch: last.epoch, serves: last.serves };
}

/** None was ever decided: the source. */
export function whoServes(journals: Journals): Side {
  return lastDecision(journals)?.serves ?? 'source';
}

export function highestEpoch({ source, target }: Journals): bigint {
  return [...source, ...target].reduce((highest, { epoch }) => (epoch > highest ? epoch : highest), 0n);
}

export type Recovery =
  | { readonly do: 'nothing' }
  /** Write a void row for the epoch on the side that the act fences, or read what stands there already (settleEpoch); then look again. */
  | { readonly do: 'settle'; readonly side: Side; readonly epoch: bigint; readonly serves: Side }
  /** `forced-found` with the highest epoch of the journals. */
  | { readonly do: 'apply'; readonly event: Extract<MigrationEvent, 'decided' | 'backed-out' | 'forced-found'> }
  /** Lift the fence as of the decision's epoch, then flags and hooks, then the event `finished`. Each of them may have been done already. */
  | { readonly do: 'finish'; readonly lift: Side; readonly epoch: bigint }
  /** What was found cannot be true: nobody writes until a person has looked. */
  | { readonly do: 'halt'; readonly why: string };

/** What the act that was left has to come to. */
export function recoveryOf(standing: Standing, journals: Journals): Recovery {
  const act = actOf(standing.state);
  const decision = lastDecision(journals);
  const serves = decision?.serves ?? 'source';
  if (act === undefined) return serves === standing.serves || ENDED.has(standing.state) ? { do: 'nothing' } : unlike(standing, journals);
  if (act.isDecided) {
    return serves === standing.serves ? { do: 'finish', lift: serves, epoch: decision?.epoch ?? 0n } : unlike(standing, journals);
  }
  const side = fencedSide(act.kind);
  const row = journals[side].find(({ epoch }) => epoch === standing.epoch);
  if (row === undefined && guarded('settle')) return { do: 'settle', side, epoch: standing.epoch, serves: side };
  // A forced rollback may have taken the very epoch: it says that the act was not decided, as a void row does.
  const isDecided = row !== undefined && !row.isVoid && row.serves !== side;
  if (serves !== (isDecided ? otherSide(side) : side)) return unlike(standing, journals);
  return { do: 'apply', event: isDecided ? 'decided' : 'backed-out' };
}

/** Of one that has ended nothing is asked any more: cleaning up takes journals and fences away. */
const ENDED: ReadonlySet<string> = new Set(['signed-off', 'aborted', 'cleaned-up']);

/**
 * Only a forced rollback decides without the state's knowledge, and it leaves its row on the source. That no row says who serves is not one: the source
 * was put back to an earlier moment, or its journal is gone, and whatever the target has taken since would be given up by nobody's order.
 */
function unlike(standing: Standing, journals: Journals): Extract<Recovery, { readonly do: 'apply' | 'halt' }> {
  const serves = whoServes(journals);
  if (serves === 'source' && isForced(journals) && step(standing, 'forced-found').ok) return { do: 'apply', event: 'forced-found' };
  const { state, epoch } = standing;
  const why = `the state is ${state} at epoch ${epoch}, where the ${standing.serves} serves, and by the journals the ${serves} does`;
  return { do: 'halt', why };
}

/** The last decision that the source itself knows is that it serves: no rollback but a forced one is decided there. */
function isForced({ source }: Journals): boolean {
  return lastDecision({ source, target: [] })?.serves === 'source';
}

/**
 * The state knows that the target serves, and no journal says so any more, nor that somebody has decided otherwise since: the source was put back to an
 * earlier moment, or lost its journal. Who serves is not to be told by these journals.
 */
export function isBereft(standing: Standing | undefined, journals: Journals): boolean {
  if (standing?.serves !== 'target' || ENDED.has(standing.state)) return false;
  const decision = lastDecision(journals);
  return decision === undefined || (decision.serves === 'source' && decision.epoch < standing.epoch && !isForced(journals));
}

export type Mending =
  | { readonly do: 'nothing' }
  | { readonly do: 'lift'; readonly side: Side; readonly epoch: bigint }
  /**
   * The target came back after a forced rollback, or lost its fence: fence it, under the lease and with no act under way,
   * in one transaction that writes the decision for the source, of an epoch above all others, into the target's journal.
   */
  | { readonly do: 'raise'; readonly side: 'target' }
  | { readonly do: 'halt'; readonly why: string };

/** What the fences need once no act is left. `fences`: committed, and they act. */
export function mendingOf(standing: Standing, journals: Journals, fences: Readonly<Record<Side, boolean>>): Mending {
  if (actOf(standing.state) !== undefined || ENDED.has(standing.state)) return { do: 'nothing' };
  const decision = lastDecision(journals);
  const serves = decision?.serves ?? 'source';
  if (serves !== standing.serves) return { do: 'nothing' };
  if (fences[serves]) return { do: 'lift', side: serves, epoch: decision?.epoch ?? 0n };
  // Before the first flip nobody was told to write to the target: it needs no fence.
  if (decision === undefined) return { do: 'nothing' };
  // A decision for the source that the target does not know keeps nobody there from lifting what stands: raised anew, fenced or not.
  const isKnown = serves === 'target' || journals.target.some(({ epoch, isVoid }) => !isVoid && epoch === decision.epoch);
  if (fences[otherSide(serves)] && isKnown) return { do: 'nothing' };
  if (serves === 'source') return { do: 'raise', side: 'target' };
  return {
    do: 'halt',
    why: 'the target serves, and the fence on the source is gone: something else took it away, and both may be written',
  };
}
