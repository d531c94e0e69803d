/**
 * The key of a tuple as a Map key. Guarantee: two tuples of one layout have the same key exactly when the bytes of their key columns are
 * the same. Whole numbers become JavaScript numbers (quicker to make and to hash than strings), only in their one canonical spelling.
 */
import { KIND } from '#schemas/pgoutput/message.ts';
import type { Layout } from '#connectors/target/target.ts';

export type RowKey = number | string;

/** Node's own slice without the look-up of an encoding's name, which costs as much as the slice. */
type SliceableBuffer = Buffer & { latin1Slice(start: number, end: number): string };

/** Results of the last `scanTuple`: kept here so that the hot path allocates nothing. */
export const scanned: { key: RowKey; absent: boolean; end: number } = { key: 0, absent: false, end: 0 };

/** Digits that always fit a double exactly. */
const MAX_DIGITS = 15;

/** Reads key, whether any column is absent, and the offset behind the tuple, in one pass. */
export function scanTuple(b: Buffer, at: number, layout: Layout): void {
  const count = (b[at]! << 8) | b[at + 1]!;
  const keys = layout.key.length;
  const keyColumn = keys === 1 ? layout.key[0]! : -1;
  let keyAt = 0;
  let absent = false;
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const kind = b[p++]!;
    if (kind === KIND.text) {
      if (i === keyColumn) keyAt = p;
      p += 4 + ((b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!);
    } else if (kind === KIND.absent) {
      absent = true;
    }
  }
  scanned.absent = absent;
  scanned.end = p;
  if (keyAt > 0) scanned.key = valueKey(b, keyAt);
  else scanned.key = keys === 0 ? (b as SliceableBuffer).latin1Slice(at, p) : compositeKey(b, at, layout);
}

/** Key of the value whose length stands at `at`. */
function valueKey(b: Buffer, at: number): RowKey {
  const length = (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
  const start = at + 4;
  if (length <= MAX_DIGITS && length > 0) {
    const negative = b[start] === 0x2d && length > 1;
    let i = negative ? start + 1 : start;
    const end = start + length;
    const first = b[i]!;
    // One spelling only: no leading zero, no "-0".
    if (first > 0x30 || (first === 0x30 && length === 1)) {
      let n = 0;
      for (; i < end; i++) {
        const digit = b[i]! - 0x30;
        if (digit < 0 || digit > 9) break;
        n = n * 10 + digit;
      }
      if (i === end) return negative ? -n : n;
    }
  }
  return (b as SliceableBuffer).latin1Slice(start, start + length);
}

function compositeKey(b: Buffer, at: number, layout: Layout): string {
  const spans = keySpans(b, at);
  let key = '';
  for (const column of layout.key) key += spans[column];
  return key;
}

/** Kind, length and bytes of each column as latin1: joined ones cannot be confused. */
function keySpans(b: Buffer, at: number): string[] {
  const count = b.readUInt16BE(at);
  const spans: string[] = [];
  let p = at + 2;
  for (let i = 0; i < count; i++) {
    const end = b[p] === KIND.text ? p + 5 + b.readUInt32BE(p + 1) : p + 1;
    spans.push((b as SliceableBuffer).latin1Slice(p, end));
    p = end;
  }
  return spans;
}
