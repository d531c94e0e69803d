/**
 * The fence port: stops the writers of one side, and decides with it who serves. Guarantee: until `commit` nothing has happened (ROLLBACK, a
 * time-out or the death of whoever holds it lets the queued writers go on without an error); from `commit` on every writer but our own sinks
 * is refused with SQLSTATE 25006, in any session, however old its snapshot or its plan. Readers are never refused, and blocked only by a `swap`.
 *
 * Of a table of which only some rows move, only writers of those are refused, and whoever truncates it; the others wait while it is locked.
 * Fences go by the migration's name: those of two migrations on one table do not disturb each other. All acts but `open` may be repeated.
 */
import type pg from 'pg';
import type { Renames, RowFilter, TableName } from '#schemas/mapping/compiled-mapping.ts';

export type { TableName } from '#schemas/mapping/compiled-mapping.ts';

export type Side = 'source' | 'target';

/** A root or plain table; partitions and inheriting tables of any depth go with it. */
export interface FencedTable extends TableName {
  /** Writers of these rows alone are refused, and whoever truncates; absent: all writers. */
  readonly rows?: RowFilter | undefined;
  /** From `prepare` on, fence or no fence, no row comes to these rows or leaves them by an UPDATE. */
  readonly keepsUnits?: boolean;
}

export interface FenceOptions {
  readonly url: string;
  /** The migration's. Sessions that say it, or its `reverseName`, in `crossfade.pipeline` are exempt. */
  readonly name: string;
  readonly side: Side;
  /** Other pipelines that may go on writing: a row that changes its unit is written by both waves' sinks, in any order. */
  readonly exempt?: readonly string[];
  readonly tables: readonly FencedTable[];
  /** Who serves instead, for the refused writer: `the target (new.example:5432/shop)`. */
  readonly servesElsewhere: string;
  /** How long writers may queue behind us before the lock is had; never more than 0.8 times the server's deadlock_timeout (1 s by default). */
  readonly lockTimeoutMs: number;
  /** How long the server keeps an idle holder: the budget of the block and a margin. */
  readonly holdMs: number;
  /** Absent: the sides are two databases, or none takes the other one's names. */
  readonly swap?: NameSwap;
}

/** Both sides are tables of one database, and the decision exchanges their names: then readers wait, too, from the lock to the COMMIT. */
export interface NameSwap {
  /** Of the other side, as they are named now: open from the COMMIT on. */
  readonly others: readonly TableName[];
  /** How the tables stood when the names above were read. Whoever acts on others than these is refused: CF-8340. */
  readonly standing: Renames;
  /** How they stand from the COMMIT on. */
  readonly next: Renames;
}

export interface ColumnName extends TableName {
  readonly column: string;
}

/** A sequence as one side has it, under the fence. */
export interface SequenceValue {
  readonly sequence: TableName;
  /** Of the fenced tables: columns that own it or take their default from it. */
  readonly columns: readonly ColumnName[];
  readonly lastValue: bigint;
  /** False: `lastValue` has not been handed out yet. */
  readonly isCalled: boolean;
  readonly increment: bigint;
  readonly cache: bigint;
  /** False: it could not be locked, and goes on while we look; its successor needs a margin. */
  readonly isHeld: boolean;
}

/** What a sequence of the other side must be beyond. */
export interface SequenceStart {
  /** Column of the other side whose sequence it is. */
  readonly column: ColumnName;
  /** Undefined: the fenced side has none for it; only the highest key counts. */
  readonly from: SequenceValue | undefined;
}

export interface SequenceChange {
  readonly sequence: TableName;
  readonly columns: readonly ColumnName[];
  /** Values that it would have handed out next. */
  readonly was: bigint;
  readonly next: bigint;
  /** Undefined where no index tells it, or the column is empty. */
  readonly highestKey: bigint | undefined;
}

/** What `prepare` found. None of it keeps a fence from being opened. */
export interface Prepared {
  /** Sequences whose owner we are not: read with a margin. */
  readonly unheld: readonly TableName[];
}

export interface Decision {
  readonly marker: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Locked, and not decided. */
export interface HeldFence {
  /** When writers began to queue (Date.now). */
  readonly blockedAtMs: number;
  readonly lockWaitMs: number;
  /** As they are now. */
  sequences(): Promise<readonly SequenceValue[]>;
  /** Still held, by the server's own word. @throws PipelineError CF-8104 */
  confirm(): Promise<void>;
  /** THE decision. @throws PipelineError CF-8105 when nobody knows whether it happened: `settle` tells; CF-8104 when it did not */
  commit(decision?: Decision): Promise<void>;
  /** @throws PipelineError CF-8104 when the server did not answer: its own time-out ends the session then */
  rollback(): Promise<void>;
  /** Resolves when the session is gone without us: that is a rollback. Never rejects. */
  readonly lost: Promise<Error>;
  /** Its own session, where nobody else can read the tables: not to be ended, and its transaction neither. */
  readonly reader?: pg.Client;
  /** Renames and opens all, for the COMMIT; the last thing before it. @throws PipelineError CF-8101, CF-8104 */
  swapNames?(): Promise<void>;
}

/** none: no trigger of this migration. partly: some tables refuse writes and some do not. */
export interface FenceState {
  readonly state: 'none' | 'up' | 'down' | 'partly';
  /** Tables (leaves, too) that take writes. */
  readonly open: readonly TableName[];
}

export interface Fences {
  /** Schema, journal, function and triggers (asleep), outside of the block. @throws PipelineError CF-8102 with the SQL that is missing */
  readonly prepare: (options: FenceOptions) => Promise<Prepared>;
  /** @throws PipelineError CF-8101 (retriable; names who blocks), CF-8103 when this epoch or a later one was decided or made void */
  readonly open: (options: FenceOptions, epoch: bigint) => Promise<HeldFence>;
  /**
   * Puts the triggers to sleep and writes the decision that it is of into this side's journal (its echo), both or neither; nothing where a later epoch than
   * this one has fenced the side, or this one was made void here. @returns false in that case
   */
  readonly lift: (options: FenceOptions, epoch: bigint) => Promise<boolean>;
  /** Takes the triggers away; the journal stays. */
  readonly drop: (options: FenceOptions) => Promise<void>;
  readonly state: (options: FenceOptions) => Promise<FenceState>;
  /** Ends sessions that hold a fence of this migration. */
  readonly endSessions: (options: Pick<FenceOptions, 'url' | 'name' | 'side'>) => Promise<void>;
  /** Only ever raises (in the sequence's own direction) what is there. @throws PipelineError CF-8106 where it would leave the sequence's range */
  readonly setSequences: (
    options: Pick<FenceOptions, 'url' | 'name' | 'side' | 'swap'>,
    starts: readonly SequenceStart[],
  ) => Promise<readonly SequenceChange[]>;
}
