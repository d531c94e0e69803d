/**
 * What whoever takes the lease has to do before anything else, by what it finds (SPEC.md, crash rules). Guarantee: pure; done again and again
 * until it says `nothing`, it ends in a state without an act, whatever line the one before died at. Nothing is decided here: what the journals
 * say stands, and an epoch that has no row yet is first made undecidable.
 */
import { guarded } from '../test-hooks.ts';
import { actOf, fencedSide, otherSide, type MigrationEvent, type Side, type Standing } from './transitions.ts';

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

/** The decision of the highest epoch over both sides; none: the source. */
export function whoServes({ source, target }: Journals): Side {
  let last: { readonly epoch: bigint; readonly serves: Side } | undefined;
  for (const row of [...source, ...target]) if (!row.isVoid && (last === undefined || row.epoch > last.epoch)) last = row;
  return last?.serves ?? 'source';
}

export function highestEpoch({ source, target }: Journals): bigint {
  return [...source, ...target].reduce((highest, { epoch }) => (epoch > highest ? epoch : highest), 0n);
}

export type Recovery =
  | { readonly do: 'nothing' }
  /** Write a void row for the epoch on the side that the act fences, or read what stands there already (settleEpoch); then look again. */
  | { readonly do: 'settle'; readonly side: Side; readonly epoch: bigint; readonly serves: Side }
  | { readonly do: 'apply'; readonly event: Extract<MigrationEvent, 'decided' | 'backed-out' | 'forced-found'> }
  /** Lift the fence of the side that serves now, then flags and hooks, then the event `finished`. Each of them may have been done already. */
  | { readonly do: 'finish'; readonly lift: Side }
  /** State and journals cannot both be true: nobody writes until a person has looked. */
  | { readonly do: 'halt'; readonly why: string };

export function recoveryOf(standing: Standing, journals: Journals): Recovery {
  const serves = whoServes(journals);
  const act = actOf(standing.state);
  if (act === undefined) return atRest(standing, serves);
  if (act.isDecided) {
    if (serves === standing.serves) return { do: 'finish', lift: serves };
    return serves === 'source' ? { do: 'apply', event: 'forced-found' } : apart(standing, serves);
  }
  const side = fencedSide(act.kind);
  const row = journals[side].find(({ epoch }) => epoch === standing.epoch);
  if (row === undefined && guarded('settle')) return { do: 'settle', side, epoch: standing.epoch, serves: side };
  if (row === undefined || row.isVoid) {
    return serves === side ? { do: 'apply', event: 'backed-out' } : forcedOr(standing, serves);
  }
  return serves === otherSide(side) ? { do: 'apply', event: 'decided' } : forcedOr(standing, serves);
}

function atRest(standing: Standing, serves: Side): Recovery {
  // Of one that has ended nothing is asked any more: cleaning up takes the journals away.
  if (serves === standing.serves || ['signed-off', 'aborted', 'cleaned-up'].includes(standing.state)) return { do: 'nothing' };
  return forcedOr(standing, serves);
}

function forcedOr(standing: Standing, serves: Side): Recovery {
  const canBeForced = serves === 'source' && standing.state !== 'following' && standing.state !== 'verified';
  return canBeForced && standing.state !== 'cutover-drill' ? { do: 'apply', event: 'forced-found' } : apart(standing, serves);
}

function apart({ state, epoch, serves }: Standing, journals: Side): Recovery {
  return {
    do: 'halt',
    why: `the state is ${state} at epoch ${epoch}, where the ${serves} serves, and by the journals the ${journals} does`,
  };
}

/** Which fences stand at rest. The target's is first needed after a flip: until then nobody was told to write there. */
export function fencesAtRest(journals: Journals): { readonly source: boolean; readonly target: boolean } {
  const isFlipped = [...journals.source, ...journals.target].some(({ isVoid }) => !isVoid);
  const serves = whoServes(journals);
  return { source: serves === 'target', target: serves === 'source' && isFlipped };
}
