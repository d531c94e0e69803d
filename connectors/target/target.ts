/**
 * The target port: what the sink hands to a store. Guarantee: a round is one transaction of the target (or one part of a larger
 * one): its rows and its progress become visible together or not at all. A target without transactions (`isAtomic` false) shows rows one by
 * one, never an older one after a newer one, and its progress only after all of them.
 *
 * Caller promises: rounds of one session are applied one after another, in log order; a batch holds at most one entry per key.
 * Implementer promises: `apply` resolves once committed (or, for a part, once executed); a rejected row never takes others with it.
 */
import type { Bookmark } from '#schemas/bookmark.ts';
import type { ConflictName } from '#schemas/conflict.ts';
import type { Lsn } from '#schemas/lsn.ts';
import type { UnmappedLine } from '#schemas/frame/frame.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { RowFault } from '#schemas/mapping/unmappable-row.ts';
import type { Layout, TupleRef } from '#schemas/pgoutput/tuple.ts';

export type { Layout, TupleRef } from '#schemas/pgoutput/tuple.ts';

/** What stands for a key after folding; `kind` is the low two bits. */
export const OP = { put: 1, patch: 2, delete: 3, kind: 3, fresh: 4, recreate: 8, carry: 16 } as const;

/**
 * Changes of one table, folded: entry i is the tuple at `at[i]` of `buffers[i]`.
 * put: whole row (`fresh`: the row cannot be there; `recreate`: deleted before). patch: row with absent columns (`carry`: taken from
 * the row of the old key in `carries`). delete: the tuple holds the key. Keyless tables: `counts[i]` copies to add (or, below 0, to remove).
 */
export interface TableBatch {
  readonly kind: 'fold';
  readonly table: TableMapping;
  readonly layout: Layout;
  readonly size: number;
  readonly ops: Uint8Array;
  readonly buffers: readonly Buffer[];
  readonly at: Int32Array;
  readonly counts: Int32Array;
  readonly carries: ReadonlyMap<number, TupleRef>;
  /** Entries of keys of which a row could not be mapped: not to be written. In a table without a key one says it of the table. */
  readonly unmapped: ReadonlyMap<number, UnmappedEntry>;
  /** Empty the table before the entries. */
  readonly truncate: boolean;
  /** Place of the (last) truncate. */
  readonly truncatedAt: Place | undefined;
  /**
   * Where the file keeps rows that the source deletes: entries whose row is gone, and since when. A put or a patch among them is the row's last
   * version. `truncatedTime`: of all rows that were there before the batch.
   */
  readonly deletedAt: ReadonlyMap<number, PgMicros>;
  readonly truncatedTime: PgMicros;
  /** Row changes of the source that went into it. */
  readonly changes: number;
  /** Every row exists that was not created in this batch; false while the table is copying. */
  readonly strict: boolean;
  /** Where the file says what becomes of conflicts: of each entry. */
  readonly seen?: ReadonlyMap<number, SeenRow>;
}

/** What a row of the target may be if nobody wrote it but who wrote the source: what the batch's changes found and what they left. */
export interface SeenRow {
  /** Whole rows, each as it was before or behind a change; the last one is the newest that there was. */
  readonly images: readonly TupleRef[];
  /** There was no row before the first change. */
  readonly isNew: boolean;
  /** There was no row at some time. */
  readonly mayLack: boolean;
}

/** Commit time of a transaction: microseconds since 2000-01-01 UTC. */
export type PgMicros = bigint;

/** Why a key's change is no row of the target. */
export interface UnmappedEntry {
  readonly fault: RowFault;
  /** mapping: the mapping makes nothing of it. moved: its absent columns stand under a key of which that is true. */
  readonly cause: 'mapping' | 'moved';
  /** Changes of the key behind it in the batch. */
  readonly queued: number;
}

/**
 * How far the stream had come with a piece of work: its rows are as of this place. Commit LSN of the source transaction, and a number that
 * grows with its row messages; the same at every reading of the log, whatever way its changes are cut into rounds.
 */
export interface Place {
  readonly lsn: Lsn;
  readonly ordinal: number;
}

/** COPY text lines of a chunk; `columns` are indexes in `TableMapping.columns` in the order of the lines' fields. */
export interface ChunkBatch {
  readonly kind: 'chunk';
  readonly table: TableMapping;
  readonly columns: readonly number[];
  readonly rows: readonly Buffer[];
  readonly rowCount: number;
  readonly truncate: boolean;
  /** The rows may exist on the target. */
  readonly mayExist: boolean;
  /** Of a re-copy that was asked for: written whatever the file says of conflicts. */
  readonly asked?: boolean;
  /** Of the chunk's transaction. */
  readonly time: PgMicros;
  /** Rows that could not be mapped, which are no lines: what is known of them by target column. */
  readonly unmapped: readonly UnmappedLine[];
}

/** Keys to delete, as text in the order of `targetKey`. */
export interface DeleteBatch {
  readonly kind: 'keys';
  readonly table: TableMapping;
  readonly keys: readonly (readonly string[])[];
  /** Of the transaction that found them gone. */
  readonly time: PgMicros;
}

export type Work = TableBatch | ChunkBatch | DeleteBatch;

/** Where a commit leaves its session. */
export interface Position {
  /** First record not applied. */
  readonly offset: number;
  /** Exclusive end of the last source commit applied. */
  readonly lsn: Lsn;
  readonly commitTimeMs: number;
}

/** transactions: as many whole ones as there are. transaction: one. change: one change, as a part of its transaction. */
export type Grain = 'transactions' | 'transaction' | 'change';

/**
 * Where foreign keys are checked while we write, folding several changes can meet them in an order that the source never showed.
 * The round was rolled back: to be applied again with a finer grain.
 */
export class FinerGrainNeeded extends Error {
  override readonly name = 'FinerGrainNeeded';
  readonly grain: Grain;

  constructor(grain: Grain, cause: unknown) {
    super(`the round needs a finer grain: ${grain}`, { cause });
    this.grain = grain;
  }
}

/** The system that LSNs belong to. */
export interface SourceIdentity {
  readonly systemId: string;
  readonly timeline: number;
}

export interface Round {
  readonly work: readonly Work[];
  /** One for each piece of work. Rows of one table have ever higher ones. */
  readonly places: readonly Place[];
  /** Undefined: a part of a source transaction; the target transaction stays open. */
  readonly commit: Position | undefined;
  readonly markers: readonly string[];
  readonly states: readonly TableState[];
  /** Set when it became known with this round. */
  readonly source: SourceIdentity | undefined;
  /** How much of the source was folded together: a round that the target refuses may be cut finer. */
  readonly grain: Grain;
  /** Counters that are due to be written. */
  readonly counts: readonly TableCounts[];
}

/** `update/target`: a kind and who won; see schemas/conflict.ts. */
export type ConflictCounts = Readonly<Partial<Record<ConflictName, number>>>;

/** Counters of one table since they were last written. */
export interface TableCounts {
  readonly table: TableMapping;
  readonly rowsCopied: number;
  readonly changesApplied: number;
}

export interface TableState {
  readonly table: TableMapping;
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly rowsEstimated?: number;
  readonly error?: string;
}

/** A table that the target refused to take further, or a row of it that was set aside. */
export interface Held {
  readonly table: TableMapping;
  readonly key: string;
  readonly message: string;
}

export interface RoundOutcome {
  readonly held: readonly Held[];
  /** Rows set aside; their tables go on. */
  readonly setAside: readonly Held[];
  /** Partial rows that the target does not have: their keys must be copied again. */
  readonly missing: readonly { readonly table: TableMapping; readonly keys: readonly (readonly string[])[] }[];
  /** Tables whose chunk met rows that were there already. */
  readonly collided: readonly TableMapping[];
  readonly conflicts?: ReadonlyMap<TableMapping, ConflictCounts>;
}

export interface TargetSession {
  apply(round: Round): Promise<RoundOutcome>;
  /** Gives up the open part of a transaction. */
  rollback(): Promise<void>;
  close(): Promise<void>;
}

/** What waited for the change-over. */
export interface ChangeOverNews {
  readonly markers: readonly string[];
  readonly source: SourceIdentity | undefined;
}

/** A target that was taken over. Only one session of it is used at a time, but for the lanes. */
export interface Target {
  /** As it was found, the epoch already raised. */
  readonly progress: Progress;
  readonly tables: readonly TableProgress[];
  /** Keys of which a row was set aside. */
  readonly blocked: { readonly size: number };
  /** Foreign keys are checked while we write: no lanes, parents first. */
  readonly ordered: boolean;
  /** Ids of markers that are applied, the newest ones. */
  readMarkers(): Promise<readonly string[]>;
  readBookmark(): Promise<Bookmark | undefined>;
  /** Never moves back. @returns true when the target holds this one now, and will after a crash. */
  writeBookmark(bookmark: Bookmark): Promise<boolean>;
  /** The one session of the consistent mode, from where `progress` says that the target stands. */
  consistent(progress: Pick<Progress, 'epoch' | 'appliedLsn' | 'logOffset'>): TargetSession;
  /** One lane of the parallel mode: these tables are its own. */
  lane(tables: readonly TableMapping[]): Promise<TargetSession>;
  /** From parallel to consistent; no lane can commit any more. @returns the epoch from here on. */
  changeOver(position: Position, news: ChangeOverNews): Promise<bigint>;
  /**
   * Of a target that nothing was applied to: it begins here instead of at the log's beginning, and waits for a re-copy of each of its tables.
   * To be opened again after that.
   */
  join(position: Position): Promise<void>;
  /** Empties a held table and marks it as copying; its held position is kept until `resumed`. */
  emptyHeldTable(table: TableMapping): Promise<void>;
  /** The re-copy of the table's rows is durable. */
  resumed(table: TableMapping): Promise<void>;
  close(): Promise<void>;
}

/** A store that one migration is applied to. */
export interface TargetStore {
  /** False: readers see rows as they come, and the applied LSN is a floor, never the exact state. */
  readonly isAtomic: boolean;
  /** The database where rows set aside are recorded; undefined: this store sets none aside. */
  readonly deadLettersUrl: string | undefined;
  /** Takes the target over: at most one instance holds it, and no predecessor can write any more. */
  open(events: TargetEvents): Promise<Target>;
  /** A new session may do better. */
  isTransient(error: unknown): boolean;
  /** The error as an operator reads it. */
  explain(error: unknown): unknown;
}

export interface TargetEvents {
  /** Keys whose rows must be copied again; durable when it resolves. */
  readonly onMissing: (table: TableMapping, keys: readonly (readonly string[])[]) => Promise<void>;
}

/** What the session knows of the target is out of date: it has to be opened again, and nothing is wrong. */
export class SessionOutdated extends Error {
  override readonly name = 'SessionOutdated';
}

export type Mode = 'parallel' | 'consistent';

export interface Progress {
  readonly name: string;
  readonly epoch: bigint;
  readonly mode: Mode;
  /** Undefined until the change-over. */
  readonly appliedLsn: Lsn | undefined;
  readonly logOffset: number | undefined;
  readonly commitTimeMs: number | undefined;
  readonly systemId: string | undefined;
  readonly timeline: number | undefined;
  readonly mappingHash: string;
  readonly instance: string;
  readonly backends: readonly number[];
  readonly updatedAtMs: number;
}

export interface TableProgress {
  readonly from: { readonly schema: string; readonly name: string };
  readonly to: { readonly schema: string; readonly name: string };
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly logOffset: number;
  readonly lsn: Lsn | undefined;
  readonly rowsCopied: number;
  readonly rowsEstimated: number | undefined;
  readonly changesApplied: number;
  readonly error: string | undefined;
  readonly heldKey: string | undefined;
  readonly heldOffset: number | undefined;
  readonly heldLsn: Lsn | undefined;
  /** Since the table was registered. */
  readonly conflicts?: ConflictCounts;
}

/** Of a table that nothing is known of yet. */
export function freshTable({ from, to }: TableMapping): TableProgress {
  return {
    from,
    to,
    state: 'waiting',
    logOffset: 0,
    lsn: undefined,
    rowsCopied: 0,
    rowsEstimated: undefined,
    changesApplied: 0,
    error: undefined,
    heldKey: undefined,
    heldOffset: undefined,
    heldLsn: undefined,
  };
}
