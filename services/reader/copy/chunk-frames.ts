/**
 * Frames of a finished chunk. Guarantee: the rows given, less the keys that the window leaves to the stream, partial ones completed;
 * a chunk without changes in its window passes as it came, without a look at its rows.
 */
import { encodeChunkHeader, encodeJsonFrame, FRAME, type ChunkDeletes, type ChunkRowsHeader } from '#schemas/frame/frame.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { copyField, endOfCopyLine, splitCopyLine } from '#schemas/value/copy-text.ts';
import { invariant } from '#schemas/errors.ts';
import { fromRowKey, keyOfLine, type RowKey } from './row-key.ts';
import type { PartialRow, Window } from './window.ts';

export interface ChunkIdentity {
  readonly chunk: string;
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly keyColumns: readonly string[];
  readonly recopy: boolean;
  readonly asked: boolean;
}

export interface Piece {
  readonly bytes: Buffer;
  readonly rows: number;
}

/** The chunk's records for the raw log. The last one of rows says so, also when there are none. */
export function* chunkFrames(id: ChunkIdentity, pieces: Iterable<Piece>, window: Window): Generator<readonly Buffer[]> {
  let held: { readonly parts: readonly Buffer[]; readonly rows: number } | undefined;
  for (const piece of pieces) {
    const cut = isLeftAlone(window) ? { parts: [piece.bytes], rows: piece.rows } : mergePiece(id, piece, window);
    if (cut.rows === 0) continue;
    if (held) yield rowsFrame(id, held, { truncate: false, last: false });
    held = cut;
  }
  yield rowsFrame(id, held ?? { parts: [], rows: 0 }, { truncate: false, last: true });
}

function isLeftAlone(window: Window): boolean {
  if (window.isQuiet) return true;
  return !guarded('window') && !window.truncated && window.partial.size === 0;
}

/** Keys asked for that the source does not have and the window did not touch. */
export function deletesFrame(id: ChunkIdentity, keys: readonly RowKey[]): readonly Buffer[] {
  const body: ChunkDeletes = { chunk: id.chunk, schema: id.schema, table: id.table, keyColumns: id.keyColumns, keys: keys.map(fromRowKey) };
  return [encodeJsonFrame(FRAME.chunkDeletes, body)];
}

export function rowsFrame(
  id: ChunkIdentity,
  rows: { readonly parts: readonly Buffer[]; readonly rows: number },
  flags: { readonly truncate: boolean; readonly last: boolean },
): readonly Buffer[] {
  const header: ChunkRowsHeader = {
    chunk: id.chunk,
    schema: id.schema,
    table: id.table,
    columns: id.columns,
    rows: rows.rows,
    recopy: id.recopy,
    ...(id.asked && { asked: true }),
    ...flags,
  };
  return [encodeChunkHeader(header), ...rows.parts];
}

/** The piece's lines without those that the stream carries, and with the completed ones in their place. */
function mergePiece(id: ChunkIdentity, piece: Piece, window: Window): { readonly parts: readonly Buffer[]; readonly rows: number } {
  if (window.truncated) return { parts: [], rows: 0 };
  const { bytes } = piece;
  const positions = id.keyColumns.map((name) => id.columns.indexOf(name));
  const bounds = new Int32Array(2 * id.columns.length);
  const parts: Buffer[] = [];
  const excludes = guarded('window');
  let rows = 0;
  let kept = 0;
  for (let at = 0; at < bytes.length;) {
    invariant(
      splitCopyLine(bytes, at, bounds) === id.columns.length,
      `a line of chunk ${id.chunk} has other columns than it was asked for`,
    );
    const next = endOfCopyLine(bytes, at);
    const key = keyOfLine(bytes, bounds, positions);
    const change = key === undefined ? undefined : window.partial.get(key);
    if (change !== undefined || (excludes && key !== undefined && window.full.has(key))) {
      if (at > kept) parts.push(bytes.subarray(kept, at));
      kept = next;
      if (change !== undefined && guarded('merge')) {
        parts.push(completeLine(bytes, bounds, id.columns, change));
        rows++;
      }
    } else rows++;
    at = next;
  }
  if (kept < bytes.length) parts.push(bytes.subarray(kept));
  return { parts, rows };
}

/** The chunk's line with the changed columns laid over it. */
function completeLine(bytes: Buffer, bounds: Int32Array, columns: readonly string[], change: PartialRow): Buffer {
  const fields = columns.map((name, i) => {
    const value = change.get(name);
    return value === undefined ? bytes.subarray(bounds[2 * i], bounds[2 * i + 1]) : Buffer.from(copyField(value), 'utf8');
  });
  const parts: Buffer[] = [];
  fields.forEach((field, i) => parts.push(field, Buffer.from(i === fields.length - 1 ? '\n' : '\t')));
  return Buffer.concat(parts);
}
