/**
 * Frames of the raw log in one process. A frame is either a pgoutput message, byte for byte (tag upper case: schemas/pgoutput),
 * or one of ours (tag lower case, then JSON, for chunk rows JSON and COPY text). Guarantee: encode and decode are inverse.
 *
 * Order in the log: [epoch] { begin, (relation | row | chunk-rows | chunk-deletes)*, commit }* with table-state and copy-complete
 * between transactions. A transaction cut off by an epoch frame is void: the reader appends it again whole.
 * A row that cannot be mapped (over Kafka the transformer finds that out) is a frame of ours around its message.
 * Where rows are mapped before they come (over Kafka) and their table goes to several targets, a record holds one frame for each: parts of a
 * change, chunk-parts of a chunk's rows.
 * Rows of a chunk stand inside the transaction of its high watermark, so they take its commit LSN and ordinals 1…n.
 */
import type { RowFault } from '../mapping/unmappable-row.ts';

export const FRAME = {
  epoch: 0x65, // e
  chunkRows: 0x6b, // k
  chunkDeletes: 0x64, // d
  tableState: 0x73, // s
  copyComplete: 0x61, // a
  unmapped: 0x75, // u
  parts: 0x70, // p
  chunkParts: 0x71, // q
} as const;

/** A reader has started; records of a lower epoch that follow are a zombie's and are ignored. */
export interface EpochFrame {
  readonly epoch: number;
  readonly systemId: string;
  readonly timeline: number;
}

/** Begins the name of a chunk that brings keys asked for one by one. */
export const KEYS_CHUNK = 'keys:';

/** Rows of a finished chunk as COPY text lines (each ends with \n; `\N` null), columns in the order named. Source names and values. */
export interface ChunkRowsHeader {
  readonly chunk: string;
  /** Root table (or the table itself). */
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: number;
  /** Clear the target table first: the first frame of a keyless table's only chunk. */
  readonly truncate: boolean;
  /** True when this belongs to a re-copy: the rows may exist on the target. */
  readonly recopy: boolean;
  /** Of a re-copy that was asked for: written whatever the file says of conflicts. Absent: the first copy, also where it reads a chunk again. */
  readonly asked?: boolean;
  /** True on the last frame of its chunk. */
  readonly last: boolean;
  /** Rows of it that could not be mapped: they are not among the lines. */
  readonly unmapped?: readonly UnmappedLine[];
}

/** A copied row that the mapping makes nothing of: values by the name of the source column, as far as they are known. */
export interface UnmappedLine {
  readonly fault: RowFault;
  readonly values: Readonly<Record<string, string | null>>;
}

/** Keys asked for by a re-copy that the source does not have: deleted on the target. Values in the order of `keyColumns`. */
export interface ChunkDeletes {
  readonly chunk: string;
  readonly schema: string;
  readonly table: string;
  readonly keyColumns: readonly string[];
  readonly keys: readonly (readonly string[])[];
}

/**
 * waiting: no chunk begun; the stream's changes of the table before this are covered by its chunks and may be skipped.
 * copying: from here on the stream's changes count. following: every chunk is in the log before this.
 * held: the reader stopped this table (shape change that the mapping does not cover); `error` says why.
 */
export interface TableStateFrame {
  readonly schema: string;
  readonly table: string;
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly rowsEstimated?: number;
  readonly error?: string;
}

/** Every chunk of the initial copy lies before this. */
export interface CopyCompleteFrame {
  /** Exclusive end of the last high watermark's commit. */
  readonly lsn: string;
}

export function encodeJsonFrame(tag: number, body: unknown): Buffer {
  return Buffer.concat([Buffer.from([tag]), Buffer.from(JSON.stringify(body), 'utf8')]);
}

export function decodeJsonFrame<T>(frame: Buffer): T {
  return JSON.parse(frame.toString('utf8', 1)) as T;
}

/** Header part of a chunk-rows frame; the COPY text follows it as further parts, never copied. */
export function encodeChunkHeader(header: ChunkRowsHeader): Buffer {
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const head = Buffer.allocUnsafe(5 + json.length);
  head[0] = FRAME.chunkRows;
  head.writeUInt32BE(json.length, 1);
  json.copy(head, 5);
  return head;
}

/** What the mapping says of a row; the row message (I, U or D) that it makes nothing of follows as a further part. */
export function encodeUnmappedHead(fault: RowFault): Buffer {
  const json = Buffer.from(JSON.stringify(fault), 'utf8');
  const head = Buffer.allocUnsafe(5 + json.length);
  head[0] = FRAME.unmapped;
  head.writeUInt32BE(json.length, 1);
  json.copy(head, 5);
  return head;
}

/** `at`: where the row message begins. */
export function decodeUnmapped(frame: Buffer): { readonly fault: RowFault; readonly at: number } {
  const at = 5 + frame.readUInt32BE(1);
  return { fault: JSON.parse(frame.toString('utf8', 5, at)) as RowFault, at };
}

const PART_HEAD_BYTES = 6;

/** Frames within a record of parts; `pair`: place in the mapping's list of the target that it is for. */
export function* partsOf(frame: Buffer): Generator<{ readonly pair: number; readonly part: Buffer }> {
  for (let at = 1; at < frame.length;) {
    const from = at + PART_HEAD_BYTES;
    const to = from + frame.readUInt32BE(at + 2);
    yield { pair: frame.readUInt16BE(at), part: frame.subarray(from, to) };
    at = to;
  }
}

export function decodeChunkRows(frame: Buffer): { readonly header: ChunkRowsHeader; readonly rows: Buffer } {
  const length = frame.readUInt32BE(1);
  return { header: JSON.parse(frame.toString('utf8', 5, 5 + length)) as ChunkRowsHeader, rows: frame.subarray(5 + length) };
}

/** Content of our logical messages (prefix `crossfade`), as JSON. */
export type OurMessage =
  | { readonly kind: 'low' | 'high'; readonly name: string; readonly chunk: string; readonly attempt: string }
  | { readonly kind: 'marker'; readonly name: string; readonly id: string }
  | { readonly kind: 'heartbeat'; readonly name: string; readonly id: string };

export const MESSAGE_PREFIX = 'crossfade';

/** Replication origin of the session that applies a migration: a reader on that server knows its transactions by it. */
export function originName(migration: string): string {
  return `crossfade_${migration}`;
}

/** First act of a transaction of a sink whose role may set up no replication origin. */
export function originMessage(migration: string): string {
  return JSON.stringify({ kind: 'origin', name: migration });
}

/** More than any of ours has. */
const OUR_MESSAGE_BYTES_MAX = 16 * 1024;

/** Undefined for what is not of this migration: everybody in the source may write messages, under any prefix and with any content. */
export function decodeOurMessage(content: Buffer, name: string): OurMessage | undefined {
  if (content.length > OUR_MESSAGE_BYTES_MAX) return undefined;
  try {
    const told = JSON.parse(content.toString('utf8')) as Partial<OurMessage> | null;
    return told?.name === name && typeof told.kind === 'string' ? (told as OurMessage) : undefined;
  } catch {
    return undefined;
  }
}

/** Whose sink wrote the transaction; undefined: the message says nothing of that. */
export function decodeOriginMessage(content: Buffer): string | undefined {
  if (content.length > OUR_MESSAGE_BYTES_MAX) return undefined;
  try {
    const told = JSON.parse(content.toString('utf8')) as { readonly kind?: unknown; readonly name?: unknown } | null;
    return told?.kind === 'origin' && typeof told.name === 'string' ? told.name : undefined;
  } catch {
    return undefined;
  }
}
