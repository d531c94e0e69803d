/**
 * Tuples of pgoutput as bytes: put together from others without decoding their values. Guarantee: what goes in is never changed; a
 * result is a buffer of its own.
 */
import { KIND } from './message.ts';

/** How the tuples of one relation become rows of one table. */
export interface Layout {
  /** Tuple column → index in the mapping's columns, -1 = not mapped. */
  readonly columns: Int32Array;
  /** Tuple columns of the key, in the mapping's order; empty = keyless. */
  readonly key: Int32Array;
}

/** A tuple in pgoutput's form: `at` is the offset of its Int16 column count. */
export interface TupleRef {
  readonly buffer: Buffer;
  readonly at: number;
}

/**
 * The same row in another layout's column order: leaves of one table may order their
 * columns differently. A column that `from` lacks becomes null.
 */
export function relayTuple(tuple: TupleRef, from: Layout, to: Layout): Buffer {
  const spans = tupleSpans(tuple.buffer, tuple.at);
  const parts: Buffer[] = [Buffer.from([to.columns.length >> 8, to.columns.length & 0xff])];
  to.columns.forEach((column) => {
    const i = column < 0 ? -1 : from.columns.indexOf(column);
    parts.push(i < 0 ? Buffer.from([KIND.null]) : spans[i]!);
  });
  return Buffer.concat(parts);
}

/** `next` with its absent columns taken from `before`; both in the same order. */
export function overlayTuple(before: TupleRef, next: TupleRef): Buffer {
  const old = tupleSpans(before.buffer, before.at);
  const spans = tupleSpans(next.buffer, next.at);
  const merged = spans.map((span, i) => (span[0] === KIND.absent ? old[i]! : span));
  return Buffer.concat([next.buffer.subarray(next.at, next.at + 2), ...merged]);
}

/** Each column of a tuple as bytes: kind, and for a value its length and text. */
function tupleSpans(buffer: Buffer, at: number): Buffer[] {
  const count = buffer.readUInt16BE(at);
  const spans: Buffer[] = [];
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const kind = buffer[p];
    const end = kind === KIND.text || kind === KIND.binary ? p + 5 + buffer.readUInt32BE(p + 1) : p + 1;
    spans.push(buffer.subarray(p, end));
    p = end;
  }
  return spans;
}
