/** The state row of a migration, as everybody reads it. Guarantee: what is under way is there exactly while the state says that something is. */
import type { MigrationPhase } from '../status/status-result.ts';
import type { AuditHead } from './audit-record.ts';
import type { ActKind, MigrationState, Standing } from './transitions.ts';

/** One run of a flip or a drill. */
export interface Act {
  readonly kind: ActKind;
  /** Text: it stands in JSON. */
  readonly epoch: string;
  /** What it came to last. */
  readonly step: string;
  readonly startedAt: string;
  readonly by: string;
}

export interface MigrationRow extends Standing {
  readonly name: string;
  /** Raised by each change of the state. */
  readonly version: bigint;
  /** The reverse path is to stand. */
  readonly reverseWanted: boolean;
  readonly act: Act | undefined;
  /** Rules of the read flags, as JSON; undefined: none was ever set. */
  readonly reads: unknown;
  /** The plan that the last flip was made under. */
  readonly planHash: string | undefined;
  /** Who acts, or did. `isHeld` is false when its time is over or its session gone. */
  readonly lease: { readonly holder: string; readonly isHeld: boolean } | undefined;
  readonly auditHead: AuditHead;
  readonly updatedAt: string;
}

const PHASES: Readonly<Record<MigrationState, MigrationPhase>> = {
  following: 'following',
  verified: 'verified',
  'cutover-drill': 'following',
  'cutting-over': 'cutting-over',
  'cutover-decided': 'cutting-over',
  observing: 'observing',
  'rollback-drill': 'observing',
  'rolling-back': 'rolling-back',
  'rollback-decided': 'rolling-back',
  'signed-off': 'signed-off',
  aborted: 'aborted',
  'cleaned-up': 'cleaned-up',
};

/** What status says: the state says nothing of a copy that is not done. */
export function phaseOfState(state: MigrationState, copied: MigrationPhase): MigrationPhase {
  const isBefore = state === 'following' || state === 'verified' || state === 'cutover-drill';
  return isBefore && copied !== 'following' ? copied : PHASES[state];
}
