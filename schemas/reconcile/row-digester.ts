/**
 * Canonical row text and its digest (SPEC.md) in TypeScript. Guarantee: the two lanes are what the SQL of connectors/probe computes for a
 * row of the same texts, and what is kept in memory is one row's text of at most WIDE_BYTES and a mark a column.
 */
import { digestSeeds, type DigestSecrets, type DigestSeeds } from './digest-secrets.ts';
import { hashPair, laneValue } from './lookup3.ts';

/** A value of more octets enters the row text as its own digest. */
export const WIDE_BYTES = 1024;

const MARK_BYTES = 12;
/** Below it a loop beats the call of a copy. */
const SHORT_BYTES = 32;

export class RowDigester {
  /** Of the last `row()`: lane a's high and low word, then lane b's. */
  readonly lanes = new Int32Array(4);
  /** Of the last `key()`. */
  readonly keyLanes = new Int32Array(4);
  readonly #valueMark: Buffer;
  readonly #nullMark: Buffer;
  readonly #seeds: DigestSeeds;
  #text = Buffer.allocUnsafe(4 * WIDE_BYTES);
  #at = 0;
  #values = 0;

  constructor(secrets: DigestSecrets) {
    this.#valueMark = Buffer.from(secrets.valueMark, 'latin1');
    this.#nullMark = Buffer.from(secrets.nullMark, 'latin1');
    this.#seeds = digestSeeds(secrets);
  }

  /** Begins a row, or a key of several columns. */
  begin(): void {
    this.#at = 0;
    this.#values = 0;
  }

  null(): void {
    this.#next(MARK_BYTES);
    this.#mark(this.#nullMark);
  }

  /** A value whose canonical text is bytes [start, end), in UTF-8. */
  value(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length > WIDE_BYTES) {
      this.text(this.wideText(bytes, start, end));
      return;
    }
    this.#next(length);
    const into = this.#text;
    let at = this.#at;
    if (length < SHORT_BYTES) for (let i = start; i < end; i++) into[at++] = bytes[i]!;
    else at += bytes.copy(into, at, start, end);
    this.#at = at;
  }

  /** A value as text; null for NULL. */
  text(value: string | null): void {
    if (value === null) {
      this.null();
      return;
    }
    // A character has at most three octets for each of its UTF-16 units.
    if (value.length * 3 > WIDE_BYTES) {
      const bytes = Buffer.from(value);
      this.value(bytes, 0, bytes.length);
      return;
    }
    this.#next(WIDE_BYTES);
    this.#at += this.#text.write(value, this.#at);
  }

  /** What stands in the row text for a value of more than WIDE_BYTES: state can keep it where the stream leaves the value out. */
  wideText(bytes: Buffer, start: number, end: number): string {
    const lanes = new Int32Array(4);
    hashPair(bytes, start, end, this.#seeds.wide, lanes);
    return `w${end - start}:${laneValue(lanes, 0)}:${laneValue(lanes, 2)}`;
  }

  /** Ends the row: its digest, until the next `row()`. */
  row(): Int32Array {
    hashPair(this.#text, 0, this.#at, this.#seeds.row, this.lanes);
    return this.lanes;
  }

  /** Ends a key of several columns. */
  key(): Int32Array {
    hashPair(this.#text, 0, this.#at, this.#seeds.key, this.keyLanes);
    return this.keyLanes;
  }

  /** The digest of a key of one column, which stands for itself. */
  keyOf(bytes: Buffer, start: number, end: number): Int32Array {
    hashPair(bytes, start, end, this.#seeds.key, this.keyLanes);
    return this.keyLanes;
  }

  /** The text so far, for tests and for whoever looks into a difference. */
  rowText(): string {
    return this.#text.toString('utf8', 0, this.#at);
  }

  /** Room for a value of that size behind the ones before. */
  #next(bytes: number): void {
    this.#reserve(bytes + MARK_BYTES);
    if (this.#values++ > 0) this.#mark(this.#valueMark);
  }

  #mark(mark: Buffer): void {
    const into = this.#text;
    let at = this.#at;
    for (let i = 0; i < MARK_BYTES; i++) into[at++] = mark[i]!;
    this.#at = at;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#text.length) return;
    const larger = Buffer.allocUnsafe(2 * this.#text.length + bytes);
    this.#text.copy(larger, 0, 0, this.#at);
    this.#text = larger;
  }
}
