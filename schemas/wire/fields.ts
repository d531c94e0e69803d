/**
 * Rows as fields: from and to pgoutput's tuples and COPY's lines. Guarantee: bytes of a value are those of the source; nothing is decoded
 * to strings, and taking a tuple apart copies nothing.
 */
import { invariant } from '../errors.ts';
import { KIND } from '../pgoutput/message.ts';
import { escapeCopyField, escapedLengthMax, isCopyNull, splitCopyLine, unescapeCopyField } from '../value/copy-text.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from './wire.ts';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const BACKSLASH = 0x5c;
const COPY_NULL = 0x4e; // N
const NOTHING = Buffer.alloc(0);

/** Room for a row's fields; to be used again for the next row. */
export function makeRowFields(columns: number): RowFields {
  return { buffer: NOTHING, from: new Int32Array(columns), length: new Int32Array(columns) };
}

/** Points `into` at the tuple whose column count stands at `at`. @returns the offset behind it. */
export function fieldsOfTuple(b: Buffer, at: number, into: RowFields): number {
  const count = (b[at]! << 8) | b[at + 1]!;
  invariant(count <= into.length.length, 'a tuple has no more columns than its relation');
  const { from, length } = into;
  into.buffer = b;
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const kind = b[p++]!;
    if (kind === KIND.text) {
      const bytes = (b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!;
      from[i] = p + 4;
      length[i] = bytes;
      p += 4 + bytes;
    } else {
      invariant(kind === KIND.null || kind === KIND.absent, 'pgoutput gives text values');
      length[i] = kind === KIND.null ? NULL_FIELD : ABSENT_FIELD;
    }
  }
  return p;
}

/** Takes COPY lines apart: one reader for the lines of one relation. */
export class CopyLineReader {
  readonly row: RowFields;
  readonly #bounds: Int32Array;
  #plain: Buffer = NOTHING;

  constructor(columns: number) {
    this.row = makeRowFields(columns);
    this.#bounds = new Int32Array(2 * columns);
  }

  /** Reads the line at `at` to `row`, valid until the next. @returns the offset behind the line. */
  read(b: Buffer, at: number): number {
    const { row } = this;
    const bounds = this.#bounds;
    const { length: count } = row.length;
    // COPY writes a table without columns as empty lines.
    const fields = splitCopyLine(b, at, bounds);
    invariant(fields === Math.max(count, 1), 'a COPY line has a field for each column');
    if (count === 0) return at + 1;
    const end = bounds[2 * count - 1]!;
    const isEscaped = hasBackslash(b, at, end);
    if (isEscaped) this.#unescape(b, at, end);
    else {
      row.buffer = b;
      for (let i = 0; i < count; i++) {
        row.from[i] = bounds[2 * i]!;
        row.length[i] = bounds[2 * i + 1]! - bounds[2 * i]!;
      }
    }
    return end + 1;
  }

  #unescape(b: Buffer, at: number, end: number): void {
    const { row } = this;
    if (this.#plain.length < end - at) this.#plain = Buffer.allocUnsafe(2 * (end - at));
    row.buffer = this.#plain;
    let p = 0;
    for (let i = 0; i < row.length.length; i++) {
      const [start, stop] = [this.#bounds[2 * i]!, this.#bounds[2 * i + 1]!];
      row.from[i] = p;
      if (isCopyNull(b, start, stop)) row.length[i] = NULL_FIELD;
      else {
        p = unescapeCopyField(b, start, stop, this.#plain, p);
        row.length[i] = p - row.from[i]!;
      }
    }
  }
}

function hasBackslash(b: Buffer, from: number, to: number): boolean {
  for (let p = from; p < to; p++) if (b[p] === BACKSLASH) return true;
  return false;
}

/** A tuple of pgoutput, from its column count on. */
export function tupleOfFields(row: RowFields, count: number = row.length.length): Buffer {
  const { buffer, from, length } = row;
  let bytes = 2;
  for (let i = 0; i < count; i++) bytes += length[i]! < 0 ? 1 : 5 + length[i]!;
  const tuple = Buffer.allocUnsafe(bytes);
  tuple.writeUInt16BE(count, 0);
  let p = 2;
  for (let i = 0; i < count; i++) {
    const size = length[i]!;
    if (size < 0) {
      tuple[p++] = size === NULL_FIELD ? KIND.null : KIND.absent;
      continue;
    }
    tuple[p] = KIND.text;
    p = tuple.writeUInt32BE(size, p + 1);
    p += buffer.copy(tuple, p, from[i], from[i]! + size);
  }
  return tuple;
}

/** A line of COPY's text, with its line feed. No field may be absent. */
export function copyLineOfFields(row: RowFields, count: number = row.length.length): Buffer {
  const { buffer, from, length } = row;
  let bytes = 1;
  for (let i = 0; i < count; i++) bytes += 3 + escapedLengthMax(Math.max(length[i]!, 0));
  const line = Buffer.allocUnsafe(bytes);
  let p = 0;
  for (let i = 0; i < count; i++) {
    const size = length[i]!;
    invariant(size !== ABSENT_FIELD, 'a row of COPY is whole');
    if (i > 0) line[p++] = TAB;
    if (size === NULL_FIELD) {
      line[p++] = BACKSLASH;
      line[p++] = COPY_NULL;
    } else p = escapeCopyField(buffer, from[i]!, from[i]! + size, line, p);
  }
  line[p++] = LINE_FEED;
  return line.subarray(0, p);
}
