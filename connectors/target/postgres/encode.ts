/**
 * Tuples of pgoutput to COPY text and to Bind parameters. Guarantee: bytes of a value are passed as they came (escaped for COPY);
 * nothing is decoded to strings. This is the hottest code of the sink: one pass per row, no allocation.
 */
import { invariant } from '#schemas/errors.ts';
import { KIND } from '#schemas/pgoutput/message.ts';
import type { Layout } from '#connectors/target/target.ts';
import type { Wire } from './wire.ts';

const BACKSLASH = 0x5c;
/** Second byte of the escapes of 0x08–0x0d. */
const LETTERS = Uint8Array.of(0x62, 0x74, 0x6e, 0x76, 0x66, 0x72);

/** From about this length on, four native searches and a native copy are quicker than a loop over the bytes. */
const LONG_BYTES = 384;

/** Nothing in it has to be escaped: COPY's own delimiters, and the backslash. */
function isPlain(value: Buffer): boolean {
  return !value.includes(BACKSLASH) && !value.includes(0x0a) && !value.includes(0x09) && !value.includes(0x0d);
}

/** Writes the mapped columns of a tuple, in tuple order, as one COPY line (without absent ones). */
export function writeCopyRow(wire: Wire, b: Buffer, at: number, columns: Int32Array): void {
  let p = at + 2;
  const n = columns.length;
  let out = wire.buffer;
  let pos = wire.pos;
  let room = out.length - 16;
  for (let i = 0; i < n; i++) {
    const kind = b[p++]!;
    if (kind === KIND.text) {
      const length = (b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!;
      p += 4;
      const end = p + length;
      if (columns[i]! < 0) {
        p = end;
        continue;
      }
      if (pos + 2 * length > room) {
        wire.pos = pos;
        wire.room(2 * length + 64);
        out = wire.buffer;
        pos = wire.pos;
        room = out.length - 16;
      }
      if (length >= LONG_BYTES && isPlain(b.subarray(p, end))) {
        pos += b.copy(out, pos, p, end);
        p = end;
      }
      while (p < end) {
        const c = b[p++]!;
        if (c !== BACKSLASH && (c > 0x0d || c < 0x08)) {
          out[pos++] = c;
        } else {
          out[pos++] = BACKSLASH;
          out[pos++] = c === BACKSLASH ? c : LETTERS[c - 8]!;
        }
      }
      out[pos++] = 0x09;
    } else if (kind === KIND.null && columns[i]! >= 0) {
      if (pos + 4 > room) {
        wire.pos = pos;
        wire.room(64);
        out = wire.buffer;
        pos = wire.pos;
        room = out.length - 16;
      }
      out[pos++] = BACKSLASH;
      out[pos++] = 0x4e;
      out[pos++] = 0x09;
    }
  }
  out[pos - 1] = 0x0a;
  wire.pos = pos;
}

/** Start and end of each column's value in a tuple; start -1 = null, -2 = absent. */
export class TupleColumns {
  start = new Int32Array(64);
  end = new Int32Array(64);

  read(b: Buffer, at: number): void {
    const count = (b[at]! << 8) | b[at + 1]!;
    if (count > this.start.length) {
      this.start = new Int32Array(count * 2);
      this.end = new Int32Array(count * 2);
    }
    let p = at + 2;
    for (let i = 0; i < count; i++) {
      const kind = b[p++]!;
      if (kind === KIND.text) {
        const length = b.readUInt32BE(p);
        this.start[i] = p + 4;
        p += 4 + length;
        this.end[i] = p;
      } else {
        invariant(kind !== KIND.binary, 'pgoutput gives text values');
        this.start[i] = kind === KIND.null ? -1 : -2;
      }
    }
  }
}

const scratch = new TupleColumns();

function writeCopyField(wire: Wire, b: Buffer, start: number, end: number): void {
  wire.room(2 * (end - start) + 16);
  const out = wire.buffer;
  let pos = wire.pos;
  if (start < 0) {
    out[pos++] = BACKSLASH;
    out[pos++] = 0x4e;
  }
  for (let p = start; p >= 0 && p < end; p++) {
    const c = b[p]!;
    if (c !== BACKSLASH && (c > 0x0d || c < 0x08)) {
      out[pos++] = c;
    } else {
      out[pos++] = BACKSLASH;
      out[pos++] = c === BACKSLASH ? c : LETTERS[c - 8]!;
    }
  }
  wire.pos = pos;
}

/** Key columns only, in key order. */
export function writeCopyKey(wire: Wire, b: Buffer, at: number, layout: Layout): void {
  scratch.read(b, at);
  layout.key.forEach((i, n) => {
    if (n > 0) wire.buffer[wire.pos++] = 0x09;
    writeCopyField(wire, b, scratch.start[i]!, scratch.end[i]!);
  });
  wire.buffer[wire.pos++] = 0x0a;
}

/** The tuple's present columns and then the key of another tuple: a row whose absent columns stand under its old key. */
export function writeCopyRowWithOldKey(wire: Wire, row: { b: Buffer; at: number }, old: { b: Buffer; at: number }, layout: Layout): void {
  writeCopyRow(wire, row.b, row.at, layout.columns);
  wire.buffer[wire.pos - 1] = 0x09;
  writeCopyKey(wire, old.b, old.at, layout);
}

/** A further field at the end of the line that was written last; it needs no escapes. */
export function writeCopyTail(wire: Wire, field: string): void {
  wire.buffer[wire.pos - 1] = 0x09;
  wire.room(field.length + 16);
  wire.pos += wire.buffer.write(`${field}\n`, wire.pos, 'latin1');
}

function bindField(wire: Wire, b: Buffer, start: number, end: number): void {
  if (start < 0) {
    wire.bindText(null);
    return;
  }
  const length = end - start;
  wire.bindRoom(4 + length);
  const pos = wire.buffer.writeInt32BE(length, wire.pos);
  b.copy(wire.buffer, pos, start, end);
  wire.pos = pos + length;
}

/** Binds the mapped, present columns of a tuple in tuple order. */
export function bindRow(wire: Wire, b: Buffer, at: number, layout: Layout): void {
  scratch.read(b, at);
  for (let i = 0; i < layout.columns.length; i++) {
    if (layout.columns[i]! >= 0 && scratch.start[i] !== -2) bindField(wire, b, scratch.start[i]!, scratch.end[i]!);
  }
}

export function bindKey(wire: Wire, b: Buffer, at: number, layout: Layout): void {
  scratch.read(b, at);
  for (const i of layout.key) bindField(wire, b, scratch.start[i]!, scratch.end[i]!);
}

/** Indexes in `TableMapping.columns` of the mapped columns that are present, in tuple order. */
export function presentColumns(b: Buffer, at: number, layout: Layout): readonly number[] {
  scratch.read(b, at);
  const present: number[] = [];
  for (let i = 0; i < layout.columns.length; i++) {
    if (layout.columns[i]! >= 0 && scratch.start[i] !== -2) present.push(layout.columns[i]!);
  }
  return present;
}

/** The key as text, for reports. */
export function keyText(b: Buffer, at: number, layout: Layout): readonly string[] {
  scratch.read(b, at);
  return [...layout.key].map((i) => b.toString('utf8', scratch.start[i], scratch.end[i]));
}
