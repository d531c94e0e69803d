/** The rows of a batch or a chunk one by one, by number. Guarantee: nothing is changed; what is left out leaves the others as they were. */
import { decodeTuple } from '#schemas/pgoutput/message.ts';
import { copyFieldText, splitCopyLine } from '#schemas/value/copy-text.ts';
import {
  OP,
  type ChunkBatch,
  type PgMicros,
  type SeenRow,
  type TableBatch,
  type TupleRef,
  type UnmappedEntry,
} from '#connectors/target/target.ts';
import { blockedKey, type RowValues } from './blocked-rows.ts';
import { keyText } from './encode.ts';

export function entryKey(batch: TableBatch, entry: number): string {
  return blockedKey(keyText(batch.buffers[entry]!, batch.at[entry]!, batch.layout));
}

/** Undefined for a delete: its tuple holds no more than the key. */
export function entryValues(batch: TableBatch, entry: number): RowValues | undefined {
  if ((batch.ops[entry]! & OP.kind) === OP.delete) return undefined;
  const values: (readonly [string, string | null])[] = [];
  decodeTuple(batch.buffers[entry]!, batch.at[entry]!).forEach((value, i) => {
    const column = batch.layout.columns[i]!;
    if (column >= 0 && value !== undefined) values.push([batch.table.columns[column]!.target, value]);
  });
  // Object.fromEntries defines: a column named __proto__ stays one.
  return Object.fromEntries(values);
}

/** What was written to these rows before they were deleted is left out. */
export function asDeletes(batch: TableBatch, entries: readonly number[]): TableBatch {
  if (batch.table.deletes === undefined || entries.length === 0) return batch;
  const ops = batch.ops.slice();
  for (const i of entries) ops[i] = OP.delete;
  return { ...batch, ops };
}

export function withoutEntries(batch: TableBatch, dropped: ReadonlySet<number>): TableBatch {
  if (dropped.size === 0) return batch;
  const kept = Array.from({ length: batch.size }, (_, i) => i).filter((i) => !dropped.has(i));
  const carries = new Map<number, TupleRef>();
  kept.forEach((entry, i) => {
    const carried = batch.carries.get(entry);
    if (carried !== undefined) carries.set(i, carried);
  });
  const unmapped = new Map<number, UnmappedEntry>();
  const deletedAt = new Map<number, PgMicros>();
  const seen = new Map<number, SeenRow>();
  kept.forEach((entry, i) => {
    const why = batch.unmapped.get(entry);
    if (why !== undefined) unmapped.set(i, why);
    const time = batch.deletedAt.get(entry);
    if (time !== undefined) deletedAt.set(i, time);
    const row = batch.seen?.get(entry);
    if (row !== undefined) seen.set(i, row);
  });
  return {
    kind: 'fold',
    table: batch.table,
    layout: batch.layout,
    size: kept.length,
    ops: Uint8Array.from(kept, (i) => batch.ops[i]!),
    buffers: kept.map((i) => batch.buffers[i]!),
    at: Int32Array.from(kept, (i) => batch.at[i]!),
    counts: Int32Array.from(kept, (i) => batch.counts[i] ?? 0),
    carries,
    unmapped,
    truncate: batch.truncate,
    truncatedAt: batch.truncatedAt,
    deletedAt,
    truncatedTime: batch.truncatedTime,
    changes: batch.changes,
    strict: batch.strict,
    seen,
  };
}

/** Line i of a chunk is `bytes` from `ends[i - 1]` to `ends[i]`. */
export interface ChunkLines {
  readonly bytes: Buffer;
  readonly ends: readonly number[];
  readonly count: number;
}

export function chunkLines(chunk: ChunkBatch): ChunkLines {
  const bytes = chunk.rows.length === 1 ? chunk.rows[0]! : Buffer.concat(chunk.rows);
  const ends: number[] = [];
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) ends.push(at + 1);
  return { bytes, ends, count: ends.length };
}

function startOf({ ends }: ChunkLines, line: number): number {
  return line === 0 ? 0 : ends[line - 1]!;
}

function lineValues(chunk: ChunkBatch, lines: ChunkLines, line: number): (string | null)[] {
  const bounds = new Int32Array(2 * chunk.columns.length);
  splitCopyLine(lines.bytes, startOf(lines, line), bounds);
  return chunk.columns.map((_, i) => copyFieldText(lines.bytes, bounds[2 * i]!, bounds[2 * i + 1]!));
}

export function chunkKey(chunk: ChunkBatch, lines: ChunkLines, line: number): string {
  const values = lineValues(chunk, lines, line);
  const { columns, targetKey } = chunk.table;
  return blockedKey(targetKey.map((name) => values[chunk.columns.findIndex((column) => columns[column]!.target === name)]!));
}

/** The key of each line in turn. */
export function* chunkKeys(chunk: ChunkBatch, lines: ChunkLines): Generator<string> {
  const { columns, targetKey } = chunk.table;
  const fields = targetKey.map((name) => chunk.columns.findIndex((column) => columns[column]!.target === name));
  const bounds = new Int32Array(2 * chunk.columns.length);
  for (let line = 0; line < lines.count; line++) {
    splitCopyLine(lines.bytes, startOf(lines, line), bounds);
    yield blockedKey(fields.map((i) => copyFieldText(lines.bytes, bounds[2 * i]!, bounds[2 * i + 1]!)!));
  }
}

export function chunkValues(chunk: ChunkBatch, lines: ChunkLines, line: number): RowValues {
  const values = lineValues(chunk, lines, line);
  return Object.fromEntries(chunk.columns.map((column, i) => [chunk.table.columns[column]!.target, values[i]!]));
}

/** The same chunk with these lines only (ascending), as rows that may be there. */
export function chunkPart(chunk: ChunkBatch, lines: ChunkLines, part: readonly number[]): ChunkBatch {
  const rows: Buffer[] = [];
  for (let i = 0; i < part.length;) {
    const first = i;
    while (i + 1 < part.length && part[i + 1] === part[i]! + 1) i++;
    rows.push(lines.bytes.subarray(startOf(lines, part[first]!), lines.ends[part[i]!]));
    i++;
  }
  return { ...chunk, rows, rowCount: part.length, truncate: false, mayExist: true };
}
