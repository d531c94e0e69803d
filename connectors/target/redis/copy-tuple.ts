/** COPY text lines as pgoutput tuples. Guarantee: the same bytes as the stream would bring for the same row. */
import { KIND } from '#schemas/pgoutput/message.ts';

const TAB = 0x09;
const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
const ESCAPES: ReadonlyMap<number, number> = new Map([...'bfnrtv'].map((letter, i) => [letter.charCodeAt(0), [8, 12, 10, 13, 9, 11][i]!]));

/** Reuses one buffer: a tuple is gone with the next call. */
export class CopyTuples {
  tuple: Buffer = Buffer.allocUnsafe(64 * 1024);
  readonly #columns: number;

  constructor(columns: number) {
    this.#columns = columns;
  }

  /** Reads the line at `p` into `tuple`. @returns where the next one begins. */
  read(b: Buffer, at: number): number {
    const end = b.indexOf(NEWLINE, at);
    // Never longer than the line, but for a kind and a length per column.
    const bytes = end - at + 2 + 5 * this.#columns;
    if (bytes > this.tuple.length) this.tuple = Buffer.allocUnsafe(2 * bytes);
    const out = this.tuple;
    let pos = out.writeUInt16BE(this.#columns, 0);
    for (let p = at; p <= end;) {
      if (b[p] === BACKSLASH && b[p + 1] === 0x4e) {
        out[pos++] = KIND.null;
        p += 3;
        continue;
      }
      const head = pos;
      out[pos] = KIND.text;
      pos += 5;
      let c = b[p++]!;
      while (c !== TAB && c !== NEWLINE) {
        if (c === BACKSLASH) {
          const escaped = b[p++]!;
          c = ESCAPES.get(escaped) ?? escaped;
        }
        out[pos++] = c;
        c = b[p++]!;
      }
      out.writeUInt32BE(pos - head - 5, head + 1);
    }
    return end + 1;
  }
}
