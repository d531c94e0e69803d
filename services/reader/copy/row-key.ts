/**
 * Keys of rows, from pgoutput tuples and from COPY lines. Guarantee: the same row gives the same key from both; two keys are equal
 * only if all their columns' bytes are. (Bytes as latin1 text: no decoding, and no byte sequence is lost.)
 */
import { decodeTuple, KIND, type Relation } from '#schemas/pgoutput/message.ts';
import { endOfCopyLine, isCopyNull, splitCopyLine, unescapeCopyField } from '#schemas/value/copy-text.ts';

/** PostgreSQL text cannot hold it, so it separates columns without doubt. */
const SEPARATOR = '\0';
const BACKSLASH = 0x5c;

/** A row's key: its columns' bytes as latin1, joined by NUL. */
export type RowKey = string;

/** Positions of the key columns within a relation's tuples; undefined when the relation lacks one. */
export function keyPositions(relation: Relation, keyColumns: readonly string[]): readonly number[] | undefined {
  const positions = keyColumns.map((name) => relation.columns.findIndex((column) => column.name === name));
  return positions.includes(-1) ? undefined : positions;
}

/** Key of the tuple at `at`; undefined when one of its columns is null or absent there. */
export function keyOfTuple(m: Buffer, at: number, positions: readonly number[]): RowKey | undefined {
  if (positions.length === 1) return fieldOfTuple(m, at, positions[0]!);
  let key: string | undefined;
  for (const position of positions) {
    const field = fieldOfTuple(m, at, position);
    if (field === undefined) return undefined;
    key = key === undefined ? field : key + SEPARATOR + field;
  }
  return key;
}

function fieldOfTuple(m: Buffer, at: number, position: number): string | undefined {
  let p = at + 2;
  for (let i = 0; i < position; i++) {
    const kind = m[p++]!;
    if (kind === KIND.text || kind === KIND.binary) p += 4 + m.readUInt32BE(p);
  }
  if (m[p] !== KIND.text) return undefined;
  const length = m.readUInt32BE(p + 1);
  return m.toString('latin1', p + 5, p + 5 + length);
}

export function hasAbsent(m: Buffer, at: number): boolean {
  const count = (m[at]! << 8) | m[at + 1]!;
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const kind = m[p++]!;
    if (kind === KIND.absent) return true;
    if (kind === KIND.text || kind === KIND.binary) p += 4 + m.readUInt32BE(p);
  }
  return false;
}

/** Key of a COPY line whose fields lie at `bounds` (schemas/value/copy-text.ts); undefined when a column is null. */
export function keyOfLine(buffer: Buffer, bounds: Int32Array, positions: readonly number[]): RowKey | undefined {
  let key: string | undefined;
  for (const position of positions) {
    const start = bounds[2 * position]!;
    const end = bounds[2 * position + 1]!;
    if (isCopyNull(buffer, start, end)) return undefined;
    const field = plainField(buffer, start, end);
    key = key === undefined ? field : key + SEPARATOR + field;
  }
  return key;
}

/** The key of each line of COPY text. */
export function forEachKey(bytes: Buffer, columns: readonly string[], keyColumns: readonly string[], visit: (key: RowKey) => void): void {
  const positions = keyColumns.map((name) => columns.indexOf(name));
  const bounds = new Int32Array(2 * columns.length);
  for (let at = 0; at < bytes.length; at = endOfCopyLine(bytes, at)) {
    splitCopyLine(bytes, at, bounds);
    const key = keyOfLine(bytes, bounds, positions);
    if (key !== undefined) visit(key);
  }
}

function plainField(buffer: Buffer, start: number, end: number): string {
  const escape = buffer.indexOf(BACKSLASH, start);
  if (escape < 0 || escape >= end) return buffer.toString('latin1', start, end);
  const plain = Buffer.allocUnsafe(end - start);
  return plain.toString('latin1', 0, unescapeCopyField(buffer, start, end, plain, 0));
}

export function toRowKey(values: readonly string[]): RowKey {
  return values.map((value) => Buffer.from(value, 'utf8').toString('latin1')).join(SEPARATOR);
}

export function fromRowKey(key: RowKey): readonly string[] {
  return key.split(SEPARATOR).map((field) => Buffer.from(field, 'latin1').toString('utf8'));
}

/** Values of a tuple by column name; absent ones are left out. */
export function presentValues(m: Buffer, at: number, relation: Relation): Map<string, string | null> {
  const values = new Map<string, string | null>();
  decodeTuple(m, at).forEach((value, i) => {
    const column = relation.columns[i];
    if (value !== undefined && column !== undefined) values.set(column.name, value);
  });
  return values;
}
