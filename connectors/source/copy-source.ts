/**
 * What the copier asks of a source. Implementer promises: `emit` puts all its messages into one transaction and resolves once it is
 * committed; `readChunk` locks, then takes its snapshot, then reads, all rows under that one snapshot; a method that throws has no
 * effect that a repeat could not have. Caller promises: pieces are taken in order, and what `onPiece` gives is waited for.
 */
import type { Lsn } from '#schemas/lsn.ts';
import type { Snapshot } from '#schemas/snapshot.ts';

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

/** What decides how a relation's rows are to be read: compared with the stream's and the last seen. */
export interface RelationShape {
  readonly oid: number;
  readonly relfilenode: number;
  /** In attribute order; generated columns are left out, as the stream does. */
  readonly columns: readonly ShapeColumn[];
}

export interface ShapeColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** attnum; absent where a relation message tells the shape. Another one under the same name: dropped and added again. */
  readonly number?: number;
}

export interface KeyColumn {
  readonly name: string;
  /** SQL type without modifier. */
  readonly type: string;
  /** Schema of its comparison operators where that is not pg_catalog. */
  readonly operatorSchema?: string;
}

/** Rows with `after` < key ≤ `upTo` and `from` ≤ first key column ≤ `to`; absent = no bound. Compared by the source only. */
export interface KeyRange {
  readonly after?: readonly string[];
  readonly upTo?: readonly string[];
  readonly from?: string;
  readonly to?: string;
}

export interface ChunkQuery {
  readonly relation: RelationName;
  /** Also the relation's leaves, not it alone. */
  readonly wholeTree: boolean;
  /** Locked before the snapshot is taken: root and what is read. */
  readonly lock: readonly RelationName[];
  readonly columns: readonly string[];
  readonly key: readonly KeyColumn[];
  readonly range: KeyRange;
  /** Only these keys. */
  readonly keys?: readonly (readonly string[])[];
  /** Relations whose shape is read under the lock. */
  readonly shapeOf: readonly number[];
}

export interface ChunkStart {
  readonly snapshot: Snapshot;
  readonly shapes: readonly RelationShape[];
}

export interface ChunkConsumer {
  /** The snapshot is taken and nothing read yet. A throw gives the chunk up. */
  readonly onStart: (start: ChunkStart) => void | Promise<void>;
  /** Whole COPY text lines; the buffer is the consumer's from now on. */
  readonly onPiece: (piece: Buffer, rows: number) => void | Promise<void>;
}

export interface ChunkResult {
  readonly rows: number;
  /** Indexes into `keys` of those that the source does not have. */
  readonly missing: readonly number[];
}

export interface TableState extends RelationName {
  readonly oid: number;
  /** The table's own, also where it is partitioned. */
  readonly shape: RelationShape;
  readonly leaves: readonly (RelationName & { readonly oid: number; readonly shape: RelationShape })[];
}

export interface CatalogState {
  /** Taken before the catalogues were read. */
  readonly lsn: Lsn;
  readonly tables: readonly TableState[];
}

export interface Misfit {
  readonly index: number;
  readonly why: string;
}

export interface CopySource {
  emit(messages: readonly string[]): Promise<void>;
  /** Epoch of the last decision in this side's journal of that migration; undefined: there is no journal. */
  lastEpoch(migration: string): Promise<bigint | undefined>;
  /** As `emit`, unless a later decision than that epoch was made on this side, or may be on its way; then false. One that is made afterwards is behind it. */
  emitUndecided(message: string, at: { readonly name: string; readonly epoch: bigint }): Promise<boolean>;
  snapshot(): Promise<Snapshot>;
  /** Key of the row that ends the next chunk of `rows` rows; undefined when fewer are left. */
  nextBoundary(relation: RelationName, key: readonly KeyColumn[], range: KeyRange, rows: number): Promise<readonly string[] | undefined>;
  /**
   * The first of these values of the key that the key's types do not take, and what the source says of it; undefined when all fit.
   * Rejects where that cannot be told, for example because a type is gone.
   */
  firstMisfit(key: readonly KeyColumn[], rows: readonly (readonly string[])[]): Promise<Misfit | undefined>;
  /** The same keys in the texts that the stream has for them; as they are where one is none of the key's types. */
  canonicalKeys(key: readonly KeyColumn[], rows: readonly (readonly string[])[]): Promise<readonly (readonly string[])[]>;
  readChunk(query: ChunkQuery, consumer: ChunkConsumer, signal: AbortSignal): Promise<ChunkResult>;
  /** State of these tables by OID; tables that are gone are left out. */
  catalog(oids: readonly number[]): Promise<CatalogState>;
  /** Schema of the btree operators per type OID, for types outside pg_catalog. */
  operatorSchemas(typeOids: readonly number[]): Promise<ReadonlyMap<number, string>>;
  /** All keys of a relation, in pages; undefined when it does not exist (any more). */
  keysOf(relation: RelationName, oid: number, key: readonly KeyColumn[]): AsyncIterable<readonly (readonly string[])[]>;
  /** Sessions at work on the server, ours left out. */
  activeSessions(): Promise<number>;
  close(): Promise<void>;
}
