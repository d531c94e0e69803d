/** What a simulated flip engine is, what may befall it, and what it leaves in the world (flip-world.ts). */
import type { Act } from '#schemas/migration/migration-row.ts';
import { actOf, type Standing } from '#schemas/migration/transitions.ts';
import type { FlipPorts } from '#services/control/flip/ports.ts';

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
  /** A gate closes after it was looked at first. */
  readonly closing?: 'again' | 'fence';
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
