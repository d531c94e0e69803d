/**
 * Where the follower (WAL → log) and the copier (chunks between watermarks) meet. Guarantee: the follower calls these hooks
 * synchronously, in stream order, once per frame it appends, so the copier sees exactly what the log will hold.
 */
import type { Begin, LogicalMessage, Relation, Truncate } from '#schemas/pgoutput/message.ts';
import type { OurMessage } from '#schemas/frame/frame.ts';
import type { Lsn } from '#schemas/lsn.ts';

export interface CopyHooks {
  /** Also called for transactions that the log already holds (skipped ones after a restart): the visibility guard must know them. */
  onBegin(begin: Begin): void;
  onRelation(relation: Relation): void;
  /** True while a chunk of this relation (leaf or table) is open: only then is onChange called for it. One Set look-up. */
  isTracked(oid: number): boolean;
  /** `message` is a view that may be reused after the call: copy what is kept. */
  onChange(message: Buffer, relation: Relation): void;
  onTruncate(truncate: Truncate): void;
  /** One of our own messages (already filtered by migration name). `message` is transactional; we stand inside its transaction. */
  onMessage(our: OurMessage, message: LogicalMessage, commitLsn: Lsn): void;
  /**
   * Called when the commit of the current transaction arrives: record payloads to append inside it, before its Commit frame.
   * Each element is one record given as parts (never copied).
   */
  recordsBeforeCommit(commitLsn: Lsn): readonly (readonly Buffer[])[];
  /** After the Commit frame was put in the batch; may give records that stand between transactions (tableState, copyComplete). */
  recordsAfterCommit(endLsn: Lsn): readonly (readonly Buffer[])[];
  /** All records up to this commit end are durable. Finished chunks are then written to the progress topic. */
  onDurable(endLsn: Lsn): void;
  /**
   * The slot must not pass this end: a finished-chunk record or a re-copy request caused by a commit at or above it is not durable
   * yet. Undefined: nothing pending.
   */
  slotCeiling(): Lsn | undefined;
}

/** What a re-copy asks for; durable in the progress topic before the slot passes its cause. */
export type RecopyRequest =
  | { readonly kind: 'table'; readonly schema: string; readonly table: string; readonly reason: string }
  | { readonly kind: 'range'; readonly schema: string; readonly table: string; readonly from?: string; readonly to?: string; readonly reason: string }
  | { readonly kind: 'keys'; readonly schema: string; readonly table: string; readonly keys: readonly (readonly string[])[]; readonly reason: string };

export interface CopyProgress {
  readonly schema: string;
  readonly table: string;
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly rowsCopied: number;
  readonly rowsEstimated: number;
  readonly chunksInFlight: number;
  readonly error?: string;
}
