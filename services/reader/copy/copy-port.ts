/**
 * Where the follower (WAL → log) and the copier (chunks between watermarks) meet. Guarantee: the follower calls these hooks
 * synchronously, in stream order, once per frame it appends, so the copier sees exactly what the log will hold.
 *
 * For a transaction that the log already holds (skipped after a restart) the follower calls onBegin, onRelation, onChange, onTruncate
 * and onMessage all the same (the guard and the re-copies of moved keys must know it), but neither recordsBeforeCommit nor
 * recordsAfterCommit: what they give would not be appended.
 */
import type { Begin, LogicalMessage, Relation, Truncate } from '#schemas/pgoutput/message.ts';
import type { OurMessage } from '#schemas/frame/frame.ts';
import type { Lsn } from '#schemas/lsn.ts';

/**
 * One record as parts, never copied. Given lazily: a huge chunk lies in a spool file, so the follower appends as it iterates (awaiting
 * its own bound between elements) and never gathers the whole into an array. Nothing else is called between first and last element.
 */
export type CopyRecords = Iterable<readonly Buffer[]>;

export type { RecopyRequest } from '#schemas/recopy.ts';

export interface CopyHooks {
  /** Also called for transactions that the log already holds (skipped ones after a restart): the visibility guard must know them. */
  onBegin(begin: Begin): void;
  onRelation(relation: Relation): void;
  /** True while this relation (leaf or table) is being copied or a chunk of it is open: only then is onChange called. One Map look-up. */
  isTracked(oid: number): boolean;
  /** `message` is a view that may be reused after the call: copy what is kept. */
  onChange(message: Buffer, relation: Relation): void;
  onTruncate(truncate: Truncate): void;
  /** The log does not get a change of this relation, which is tracked: open chunks of it may show it or not, and are read again. */
  onLeftOut(oid: number): void;
  /** One of our own messages (already filtered by migration name). `message` is transactional; we stand inside its transaction. */
  onMessage(our: OurMessage, message: LogicalMessage, commitLsn: Lsn): void;
  /** Called when the commit of the current transaction arrives: records to append inside it, before its Commit frame. */
  recordsBeforeCommit(commitLsn: Lsn): CopyRecords;
  /** After the Commit frame was put in the batch; may give records that stand between transactions (tableState, copyComplete). */
  recordsAfterCommit(endLsn: Lsn): CopyRecords;
  /** All records up to this commit end, those of recordsAfterCommit(end) included, are durable. Finished chunks are then recorded. */
  onDurable(endLsn: Lsn): void;
  /**
   * The stream broke and will start again from the slot, or a batch was given up: open windows are dropped, and every chunk that was
   * handed out but not yet reported durable is read again. Called before the first message of the new stream.
   */
  onStreamRestart(): void;
  /**
   * The slot must not pass this end: something caused by a commit at or above it (a finished chunk, a re-copy asked for, what the
   * visibility guard must remember) is not durable yet. Undefined: nothing pending. Zero after a start until the first commit of ours
   * is appended: commits that the log holds must have come by here again before the slot may pass them.
   */
  slotCeiling(): Lsn | undefined;
}

export interface CopyProgress {
  readonly schema: string;
  readonly table: string;
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly rowsCopied: number;
  readonly rowsEstimated: number;
  readonly chunksInFlight: number;
  /** Chunks read again because a transaction was in the WAL but not yet visible, or after an error. */
  readonly chunksReread: number;
  readonly error?: string;
}
