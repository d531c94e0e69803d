/**
 * Digests of rows as pgoutput carries them. Guarantee: for a whole tuple the lanes of the mapped row are those that SQL computes for it in
 * the table; for a tuple with a value left out that nobody carries, nothing is given. No value is decoded, and nothing is kept of one.
 */
import { KIND } from '../pgoutput/message.ts';
import type { TupleRef } from '../pgoutput/tuple.ts';
import { canonicalEnd, type ValueForm } from './canonical-form.ts';
import { type RowDigester, WIDE_BYTES } from './row-digester.ts';

/** How tuples of one relation become rows. */
export interface DigestedTuple {
  /** Tuple column of each mapped column, in the mapping's order. */
  readonly columns: readonly number[];
  readonly forms: readonly ValueForm[];
  /** Indexes in `columns` of the key; empty: the row is its own key. */
  readonly key: readonly number[];
}

/** Wide texts by mapped column: what stands in the row text for values that an update may leave out. */
export type WideTexts = Map<number, string>;

/** Tuple columns: value's first byte and the byte behind it; NULL and absent are told by the first. */
const NULL_AT = -1;
const ABSENT_AT = -2;

export class TupleDigester {
  /** Wide values of the last row, seen or carried. */
  readonly wide: WideTexts = new Map();
  readonly digester: RowDigester;
  readonly #shape: DigestedTuple;
  #spans = new Int32Array(64);

  constructor(digester: RowDigester, shape: DigestedTuple) {
    this.digester = digester;
    this.#shape = shape;
  }

  /** Into `digester.keyLanes`. A tuple of a key alone has nulls in the other columns. */
  key({ buffer, at }: TupleRef): void {
    this.#locate(buffer, at);
    this.#key(buffer);
  }

  /**
   * Into `digester.lanes` and `digester.keyLanes`.
   * @param carried What earlier rows of the key had, for values that this one leaves out.
   * @returns false when a value is left out that is not carried; the key is there all the same.
   */
  row({ buffer, at }: TupleRef, carried?: WideTexts): boolean {
    this.#locate(buffer, at);
    const { digester } = this;
    const { columns, key } = this.#shape;
    this.wide.clear();
    digester.begin();
    let whole = true;
    for (let i = 0; i < columns.length; i++) if (!this.#value(buffer, i, carried)) whole = false;
    if (whole) digester.row();
    if (key.length > 0) this.#key(buffer);
    else if (whole) digester.key();
    return whole;
  }

  /** Canonical text of a column of the tuple last digested; undefined where it is left out. */
  text(buffer: Buffer, column: number): string | null | undefined {
    const { columns, forms } = this.#shape;
    const place = columns[column]!;
    const start = this.#spans[2 * place]!;
    if (start < 0) return start === NULL_AT ? null : undefined;
    return buffer.toString('utf8', start, canonicalEnd(forms[column]!, buffer, start, this.#spans[2 * place + 1]!));
  }

  #value(buffer: Buffer, column: number, carried: WideTexts | undefined): boolean {
    const { columns, forms } = this.#shape;
    const place = columns[column]!;
    const start = this.#spans[2 * place]!;
    if (start === NULL_AT) {
      this.digester.null();
      return true;
    }
    if (start === ABSENT_AT) {
      const text = carried?.get(column);
      if (text === undefined) return false;
      this.wide.set(column, text);
      this.digester.text(text);
      return true;
    }
    const end = canonicalEnd(forms[column]!, buffer, start, this.#spans[2 * place + 1]!);
    if (end - start <= WIDE_BYTES) {
      this.digester.value(buffer, start, end);
      return true;
    }
    const text = this.digester.wideText(buffer, start, end);
    this.wide.set(column, text);
    this.digester.text(text);
    return true;
  }

  #key(buffer: Buffer): void {
    const { columns, forms, key } = this.#shape;
    const [first] = key;
    if (first === undefined) return;
    if (key.length === 1) {
      const start = this.#spans[2 * columns[first]!]!;
      const end = start < 0 ? start : canonicalEnd(forms[first]!, buffer, start, this.#spans[2 * columns[first]! + 1]!);
      this.digester.keyOf(buffer, start, end);
      return;
    }
    this.digester.begin();
    for (const i of key) this.#value(buffer, i, undefined);
    this.digester.key();
  }

  #locate(buffer: Buffer, at: number): void {
    const count = (buffer[at]! << 8) | buffer[at + 1]!;
    if (2 * count > this.#spans.length) this.#spans = new Int32Array(4 * count);
    const spans = this.#spans;
    let p = at + 2;
    for (let i = 0; i < count; i++) {
      const kind = buffer[p++]!;
      if (kind === KIND.text) {
        const length = ((buffer[p]! << 24) | (buffer[p + 1]! << 16) | (buffer[p + 2]! << 8) | buffer[p + 3]!) >>> 0;
        spans[2 * i] = p + 4;
        spans[2 * i + 1] = p + 4 + length;
        p += 4 + length;
      } else spans[2 * i] = kind === KIND.null ? NULL_AT : ABSENT_AT;
    }
  }
}
