/**
 * What whoever takes the lease has to do before anything else, by what it finds (SPEC.md, crash rules). Guarantee: pure; done again and again
 * until it says `nothing`, it ends in a state without an act, whatever line the one before died at. Nothing is decided here: what the journals
 * say stands, and an epoch that has no row yet is first made undecidable.
 */
import { guarded } from '../test-hooks.ts';
import { actOf, fencedSide, type MigrationEvent, otherSide, type Side, type Standing, step } from './transitions.ts';

/**
 * Written in the transaction of the fence that it stands for, and once more, as an echo, in the one that opens the other side: a side that loses its last
 * transactions (an asynchronous fail-over) takes the decision with it from one journal only. One row an epoch and side, never changed: who is first says
 * what became of it.
 */
export interface JournalRow {
  readonly epoch: bigint;
  /** Who serves from its COMMIT on. */
  readonly serves: Side;
  /** Decided on the other side: this one was opened by it. */
  readonly isEcho: boolean;
  /** Empty in a void row: it only says that this epoch was not decided, and never will be. */
  readonly marker: string | null;
  readonly isVoid: boolean;
  /** As PostgreSQL prints it, in UTC. */
  readonly at: string;
}

export type Entry = Pick<JournalRow, 'epoch' | 'serves' | 'isVoid'> & Partial<Pick<JournalRow, 'isEcho'>>;

export interface Journals {
  readonly source: readonly Entry[];
  readonly target: readonly Entry[];
}

/** Of the audit trail: the way back lost its place while the target served, and was begun anew on an operator's word. */
export const REVERSE_ANEW = 'reverse-begun-anew';

/** Of the highest epoch over both sides. Void rows decide nothing. */
export function lastDecision({ source, target }: Journals): { readonly epoch: bigint; readonly serves: Side } | undefined {
  const last = lastEntry([...source, ...target]);
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
  /** As of the epoch's decision. */
  | { readonly do: 'lift'; readonly side: Side; readonly epoch: bigint }
  /** The side has lost the decision, and its fence with it; see `Mending`. */
  | { readonly do: 'raise'; readonly side: Side }
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
  return undecided(standing, journals, fencedSide(act.kind));
}

/**
 * The row of the epoch on the side that is fenced says what became of it, or the echo on the other one: then the first was lost. Both are written once, so
 * that an epoch is made undecidable on both: a process that has seen the COMMIT, and not that it was lost, would open the other side as late as that.
 */
function undecided(standing: Standing, journals: Journals, side: Side): Recovery {
  const { epoch } = standing;
  const to = otherSide(side);
  const [row, echo] = [entryOf(journals[side], epoch), entryOf(journals[to], epoch)];
  const isFound = echo?.isEcho === true && !echo.isVoid;
  if (row === undefined && !isFound && guarded('settle')) return { do: 'settle', side, epoch, serves: side };
  // A forced rollback may have taken the very epoch: it says that the act was not decided, as a void row does.
  const isDecided = isFound || (row !== undefined && !row.isVoid && row.serves !== side);
  if (whoServes(journals) !== (isDecided ? to : side)) return unlike(standing, journals);
  if (!isDecided && echo === undefined && guarded('settle-echo')) return { do: 'settle', side: to, epoch, serves: side };
  if (isFound && !isKnown(journals, side, epoch)) return { do: 'raise', side };
  // Before the state says it: what the state knows, both journals are to know.
  if (isDecided && echo === undefined && guarded('lift-echo')) return { do: 'lift', side: to, epoch };
  return { do: 'apply', event: isDecided ? 'decided' : 'backed-out' };
}

function entryOf(journal: readonly Entry[], epoch: bigint): Entry | undefined {
  return journal.find((entry) => entry.epoch === epoch);
}

/** By a row of its own, of that epoch or behind it, the side knows that the other one serves. */
export function isKnown(journals: Journals, side: Side, epoch: bigint): boolean {
  return journals[side].some((entry) => !entry.isVoid && entry.serves !== side && entry.epoch >= epoch);
}

/** Of one that has ended nothing is asked any more: cleaning up takes journals and fences away. */
const ENDED: ReadonlySet<string> = new Set(['signed-off', 'aborted', 'cleaned-up']);

/**
 * Two things are decided without the state's knowledge: a forced rollback, which leaves its row on the source, and a rollback that the target has lost,
 * state and all, of which the source has the echo. That no row says who serves is neither: the source was put back to an earlier moment, or its
 * journal is gone, and whatever the target has taken since would be given up by nobody's order.
 */
function unlike(standing: Standing, journals: Journals): Extract<Recovery, { readonly do: 'apply' | 'raise' | 'halt' }> {
  const decision = lastDecision(journals);
  const serves = decision?.serves ?? 'source';
  if (decision !== undefined && serves === 'source' && isUntold(standing, journals) && step(standing, 'forced-found').ok) {
    // Before anything else is done: whoever still writes there is not to go on.
    return isKnown(journals, 'target', decision.epoch) ? { do: 'apply', event: 'forced-found' } : { do: 'raise', side: 'target' };
  }
  const { state, epoch } = standing;
  const why = `the state is ${state} at epoch ${epoch}, where the ${standing.serves} serves, and by the journals the ${serves} does`;
  return { do: 'halt', why };
}

function isUntold({ epoch }: Standing, journals: Journals): boolean {
  const last = lastEntry(journals.source);
  return isForced(journals) || (last?.isEcho === true && last.serves === 'source' && last.epoch > epoch);
}

/** The last decision that was made on the source is that it serves: no rollback but a forced one is. */
function isForced({ source }: Journals): boolean {
  return lastEntry(source.filter(({ isEcho }) => isEcho !== true))?.serves === 'source';
}

function lastEntry(journal: readonly Entry[]): Entry | undefined {
  let last: Entry | undefined;
  for (const entry of journal) if (!entry.isVoid && (last === undefined || entry.epoch > last.epoch)) last = entry;
  return last;
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
   * The target came back after a forced rollback, or a side has lost the decision, its fence, or a part of it: fence it, under the lease and
   * with no act under way that could still be decided, in one transaction that writes the decision for the other side, of an epoch above all others, into
   * its journal. A hole: it stands, but for tables that came later.
   */
  | { readonly do: 'raise'; readonly side: Side; readonly isHole: boolean }
  | { readonly do: 'halt'; readonly why: string };

/** Committed, and it acts; partly: tables came later. */
export type Fenced = 'up' | 'partly' | 'down';

/** What the fences need once no act is left. */
export function mendingOf(standing: Standing, journals: Journals, fences: Readonly<Record<Side, Fenced>>): Mending {
  if (actOf(standing.state) !== undefined || ENDED.has(standing.state)) return { do: 'nothing' };
  const decision = lastDecision(journals);
  const serves = decision?.serves ?? 'source';
  if (serves !== standing.serves) return { do: 'nothing' };
  if (fences[serves] !== 'down') return { do: 'lift', side: serves, epoch: decision?.epoch ?? 0n };
  // Before the first flip nobody was told to write to the target: it needs no fence.
  if (decision === undefined) return { do: 'nothing' };
  const side = otherSide(serves);
  // A decision that the fenced side does not know keeps nobody there from lifting what stands: raised anew, fenced or not.
  const isToldThere = isKnown(journals, side, decision.epoch);
  if (fences[side] === 'up' && isToldThere) return { do: 'nothing' };
  const isHole = fences[side] === 'partly' && isToldThere;
  if (side === 'target' || !isToldThere || isHole) return { do: 'raise', side, isHole };
  return {
    do: 'halt',
    why: 'the target serves, and the fence on the source is gone: something else took it away, and both may be written',
  };
}
