/** What must hold before anything is taken away. Guarantee: pure; while the source could still be needed, or something runs, a gate is closed. */
import { duration, shortTime } from '../document/blocks.ts';
import type { AuditRecord } from '../migration/audit-record.ts';
import { closedGate, type Gate, openGate } from '../migration/gate.ts';
import type { MigrationState } from '../migration/transitions.ts';

export interface CleanupFacts {
  readonly name: string;
  /** Of several targets. */
  readonly target: string | undefined;
  /** Undefined: no act was ever thought of. */
  readonly state: MigrationState | undefined;
  /** `--abort`: it is to be given up, which only one that was never flipped, or flipped back, can be. */
  readonly abort: boolean;
  readonly audit: readonly Pick<AuditRecord, 'event' | 'at'>[];
  readonly afterMs: number;
  readonly nowMs: number;
}

/** Of one target. */
export function stateGates(facts: CleanupFacts): Gate[] {
  return [stateGate(facts), ...delayGate(facts)];
}

const ENDED_STATES: ReadonlySet<MigrationState | undefined> = new Set<MigrationState | undefined>(['signed-off', 'aborted', 'cleaned-up']);

/** The source serves, and nothing is under way. */
export function canBeAborted(state: MigrationState | undefined): boolean {
  return state === undefined || state === 'following' || state === 'verified';
}

function stateGate({ name, target, state, abort }: CleanupFacts): Gate {
  const evidence = `${target === undefined ? '' : `${target}: `}${state ?? 'nothing was begun'}`;
  if (ENDED_STATES.has(state) || (abort && canBeAborted(state))) return openGate('state', evidence);
  if (state === 'observing')
    return closedGate('state', evidence, `The target serves and is not signed off: crossfade signoff --as "NAME" --confirm ${name}`);
  if (canBeAborted(state)) return closedGate('state', evidence, `To give the migration up: crossfade cleanup --abort --confirm ${name}`);
  return closedGate('state', evidence, 'Wait until the act is done: crossfade status.');
}

function delayGate({ state, audit, afterMs, nowMs }: CleanupFacts): Gate[] {
  const signed = audit.findLast(({ event }) => event === 'signed-off');
  if (state !== 'signed-off' || signed === undefined || afterMs === 0) return [];
  const dueMs = Date.parse(signed.at) + afterMs;
  const evidence = `signed off ${shortTime(signed.at)}, and the file waits ${duration(afterMs)}`;
  if (nowMs >= dueMs) return [openGate('delay', evidence)];
  return [closedGate('delay', evidence, `Not before ${shortTime(new Date(dueMs).toISOString())} (cleanup: { after } in the file).`)];
}

/** @param sessions In words. */
export function runningGate(sessions: readonly string[]): Gate {
  if (sessions.length === 0) return openGate('running', 'no session of the pipelines');
  return closedGate('running', sessions.join(', '), 'Stop crossfade up, or the services.');
}
