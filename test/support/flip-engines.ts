/** What a simulated flip engine is, what may befall it, and what it leaves in the world (flip-world.ts). */
import type { Act } from '#schemas/migration/migration-row.ts';
import { actOf, type Side, type Standing } from '#schemas/migration/transitions.ts';
import type { CompareVerdict, FlipPorts, GateResult } from '#services/control/flip/ports.ts';

export const LIMITS = {
  leaseMs: 15_000,
  holdMs: 15_000,
  stepMs: 20,
  /** Longer than a session's hold: what is then still waited for never comes. */
  idleTurns: 1_000,
} as const;

export interface WorldFaults {
  /** Of each call: it fails before its effect, or its answer is lost. */
  readonly failing?: number;
  /** The next comparison behind a fence finds drift. */
  readonly drift?: boolean;
  /** It cannot judge a table. */
  readonly unjudged?: boolean;
  /** The pipeline stands still. */
  readonly stuckPipe?: boolean;
  readonly veto?: boolean;
  /** A fence's session is asked for locks and never answers. */
  readonly silentLock?: boolean;
  /** A fence's session does not answer a ROLLBACK. */
  readonly deafFence?: boolean;
  /** Tables came later: its fence leaves them out. */
  readonly hole?: Side;
  /** Nobody may alter these. */
  readonly foreignTables?: boolean;
  /** A gate closes then. */
  readonly closing?: 'begin' | 'again' | 'fence';
  /** The way back does not stand yet. */
  readonly lateReverse?: boolean;
}

/** One process. */
export interface EngineHandle {
  readonly name: string;
  readonly ports: FlipPorts;
  isDead: boolean;
  isStopped: boolean;
  /** Calls whose effect has been. */
  calls: number;
  /** Called before the effect (`half` 0) and behind it (1) of each call. */
  onCall?: (call: number, half: 0 | 1, what: string) => void;
}

export interface AuditEntry {
  readonly event: 'begun' | 'flipped' | 'backed-out';
  readonly epoch: bigint;
}

export function verdictUnder({ drift = false, unjudged = false }: WorldFaults): CompareVerdict {
  return { clean: !drift && !unjudged, differs: drift, summary: 'compared', report: {} };
}

export function gatesUnder({ closing, lateReverse = false }: WorldFaults, phase: WorldFaults['closing']): readonly GateResult[] {
  const all = { gate: 'all', state: closing === phase ? 'closed' : 'open', evidence: 'none looked at' } as const;
  return lateReverse ? [all, { gate: 'reverse', state: 'closed', evidence: 'late' }] : [all];
}

export function actAfter(
  before: Act | undefined,
  next: Standing,
  { actor, at }: { readonly actor: string; readonly at: string | undefined },
): Act | undefined {
  const kind = actOf(next.state)?.kind;
  if (kind === undefined) return undefined;
  return {
    ...(before ?? { kind, epoch: String(next.epoch), step: 'begun', startedAt: '', by: actor }),
    ...(at !== undefined && { step: at }),
  };
}

/** A fence transaction. */
export interface Held {
  readonly epoch: bigint;
  readonly owner: EngineHandle;
  readonly lost: PromiseWithResolvers<Error>;
  /** The server ends an idle session then. */
  readonly until: number;
}

/** A call whose moment has not come. */
export interface Pending {
  readonly owner: EngineHandle;
  readonly isReady: () => boolean;
  readonly execute: () => void;
}

export interface Timer {
  readonly owner: EngineHandle;
  readonly at: number;
  readonly fire: () => void;
}
