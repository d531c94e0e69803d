/**
 * The copier's records in the progress topic: all that a later start knows of the copy. Guarantee: a chunk counts as finished only
 * by its own record, which is written after its rows are durable and before the slot passes its high watermark.
 */
import type { RelationShape } from '#connectors/source/copy-source.ts';

export interface PartRef {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

export interface ChunkPlannedRecord {
  readonly t: 'chunk-planned';
  readonly chunk: string;
  readonly job: string;
  readonly schema: string;
  readonly table: string;
  readonly part: PartRef;
  readonly n: number;
  /** Exclusive; null = from the start. */
  readonly after: readonly string[] | null;
  /** Inclusive; null = open: the part's last chunk. */
  readonly upTo: readonly string[] | null;
}

export interface ChunkFinishedRecord {
  readonly t: 'chunk-finished';
  readonly chunk: string;
  readonly rows: number;
  /** Exclusive end of the high watermark's commit. */
  readonly lsn: string;
}

export interface RecopyAskedRecord {
  readonly t: 'recopy-asked';
  readonly id: string;
  /** `part`: one leaf. `replace`: truncate, then the whole table. */
  readonly kind: 'table' | 'range' | 'keys' | 'part' | 'replace';
  readonly schema: string;
  readonly table: string;
  readonly reason: string;
  readonly keys?: readonly (readonly string[])[];
  readonly from?: string;
  readonly to?: string;
  readonly part?: PartRef;
}

export interface RecopyDoneRecord {
  readonly t: 'recopy-done';
  readonly ids: readonly string[];
}

export interface CopyCompleteRecord {
  readonly t: 'copy-complete';
  readonly lsn: string;
}

/** The target had every row of it when this log was begun: its first copy is not made. */
export interface TableFilledRecord {
  readonly t: 'table-filled';
  readonly schema: string;
  readonly table: string;
}

/** Transactions streamed and not seen by the snapshot taken then: [64-bit xid, commit LSN]. */
export interface VisibilityRecord {
  readonly t: 'visibility';
  readonly transactions: readonly (readonly [number, string])[];
}

/** The table as it was last seen and accounted for. */
export interface TableSeenRecord {
  readonly t: 'table-seen';
  readonly schema: string;
  readonly table: string;
  readonly lsn: string;
  readonly shape: RelationShape;
  readonly leaves: readonly (PartRef & { readonly shape: RelationShape })[];
}

export interface TableHeldRecord {
  readonly t: 'table-held';
  readonly schema: string;
  readonly table: string;
  readonly error: string;
}

/** What the operator has set of the copy, all of it: the last one counts. */
export interface OperatorRecord {
  readonly t: 'operator';
  readonly paused: boolean;
  /** Absent: as the file says. Null: no limit. */
  readonly maxRowsPerSecond?: number | null;
  readonly maxBytesPerSecond?: number | null;
}

/** A re-copy was asked for that cannot be made. */
export interface RecopyRefusedRecord {
  readonly t: 'recopy-refused';
  readonly id: string;
  /** `schema.table`; empty where the request does not say. */
  readonly table: string;
  readonly error: string;
}

export type CopyRecord =
  | OperatorRecord
  | RecopyRefusedRecord
  | ChunkPlannedRecord
  | ChunkFinishedRecord
  | RecopyAskedRecord
  | RecopyDoneRecord
  | CopyCompleteRecord
  | TableFilledRecord
  | VisibilityRecord
  | TableSeenRecord
  | TableHeldRecord;

const TYPES: ReadonlySet<string> = new Set<CopyRecord['t']>([
  'chunk-planned',
  'chunk-finished',
  'recopy-asked',
  'recopy-done',
  'copy-complete',
  'table-filled',
  'visibility',
  'table-seen',
  'table-held',
  'operator',
  'recopy-refused',
]);

/** The record, or undefined when it is somebody else's. */
export function decodeCopyRecord(payload: Buffer): CopyRecord | undefined {
  const record = JSON.parse(payload.toString('utf8')) as { readonly t: string };
  return TYPES.has(record.t) ? (record as CopyRecord) : undefined;
}
