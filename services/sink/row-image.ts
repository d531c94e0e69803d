/**
 * A source tuple → the tuple of its mapped row, for tables with computed columns. Guarantee: fields stand in the mapping's order; those
 * that pass are the source's own bytes, those that are computed come from the shared row function, and absent stays absent.
 */
import type { BoundTable } from '#schemas/mapping/bind.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { unmappable } from '#schemas/mapping/steps/refuse-row.ts';
import { rowFunction, type Field, type RowFunction } from '#schemas/mapping/steps/table-steps.ts';
import { KIND } from '#schemas/pgoutput/message.ts';
import type { Layout, TupleRef } from '#schemas/pgoutput/tuple.ts';

/** Node's own methods without the look-up of an encoding's name. */
type QuickBuffer = Buffer & { utf8Slice(start: number, end: number): string; utf8Write(text: string, at: number): number };

const KIND_AND_LENGTH_BYTES = 5;
const COUNT_BYTES = 2;
/** Of one UTF-16 unit. */
const UTF8_BYTES_MAX = 3;
/** Rows are written side by side: a buffer of its own costs more than the row. */
const SLAB_BYTES = 1 << 16;

export class RowImage {
  /** Of what `of` gives. */
  readonly layout: Layout;
  readonly #row: RowFunction;
  readonly #bound: BoundTable;
  readonly #computed: Field[] = [];
  readonly #inputs: Field[] = [];
  /** Where each field of the source tuple begins (its kind), and where the last one ends. */
  readonly #start: Int32Array;
  #slab = Buffer.alloc(0) as QuickBuffer;
  #used = 0;

  constructor(table: TableMapping, bound: BoundTable, steps: NonNullable<TableMapping['steps']>) {
    this.#bound = bound;
    this.#row = rowFunction(steps);
    this.layout = { columns: Int32Array.from(table.columns, (_, i) => i), key: bound.keyColumns };
    this.#start = new Int32Array(bound.relation.columns.length + 1);
  }

  /** @throws UnmappableRow */
  of(tuple: TupleRef): TupleRef {
    this.#locate(tuple);
    const { inputFields } = this.#bound;
    const inputs = this.#inputs;
    for (let i = 0; i < inputFields.length; i++) inputs[i] = this.#field(tuple.buffer, inputFields[i]!);
    const refusal = this.#row.compute(inputs, this.#computed);
    if (refusal !== undefined) throw unmappable(refusal);
    return this.#write(tuple.buffer);
  }

  /** Of a row that only has to be found: what is computed is left null. */
  keyOf(tuple: TupleRef): TupleRef {
    this.#locate(tuple);
    for (let i = 0; i < this.#row.steps.computed.length; i++) this.#computed[i] = null;
    return this.#write(tuple.buffer);
  }

  #write(source: Buffer): TupleRef {
    const { columnFields } = this.#bound;
    const values = this.#computed;
    const start = this.#start;
    const computed = this.#row.steps.computed.length;
    const direct = columnFields.length - computed;
    let most = COUNT_BYTES;
    for (let i = 0; i < direct; i++) most += start[columnFields[i]! + 1]! - start[columnFields[i]!]!;
    for (let i = 0; i < computed; i++) most += roomOf(values[i]);
    const first = this.#room(most);
    const out = this.#slab;
    let at = first;
    out[at++] = columnFields.length >> 8;
    out[at++] = columnFields.length & 0xff;
    for (let i = 0; i < direct; i++) {
      // Fields that stand side by side in both are copied at one go.
      const from = start[columnFields[i]!]!;
      while (i + 1 < direct && columnFields[i + 1] === columnFields[i]! + 1) i++;
      at = copyBytes({ buffer: source, at: from }, start[columnFields[i]! + 1]!, out, at);
    }
    for (let i = 0; i < computed; i++) at = writeField(out, at, values[i]);
    this.#used = at;
    return { buffer: out, at: first };
  }

  /** Offset in the slab from which so many bytes are free. A slab goes when the last row in it does. */
  #room(bytes: number): number {
    if (this.#used + bytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes)) as QuickBuffer;
      this.#used = 0;
    }
    return this.#used;
  }

  #locate({ buffer, at }: TupleRef): void {
    const start = this.#start;
    const last = start.length - 1;
    let p = at + COUNT_BYTES;
    for (let i = 0; i < last; i++) {
      start[i] = p;
      p += buffer[p] === KIND.text ? KIND_AND_LENGTH_BYTES + lengthAt(buffer, p + 1) : 1;
    }
    start[last] = p;
  }

  #field(buffer: Buffer, field: number): Field {
    const start = this.#start[field]!;
    const kind = buffer[start];
    if (kind !== KIND.text) return kind === KIND.null ? null : undefined;
    const from = start + KIND_AND_LENGTH_BYTES;
    const end = this.#start[field + 1]!;
    // One letter, as of a state or a flag, is there already.
    if (end === from + 1) return String.fromCharCode(buffer[from]!);
    return (buffer as QuickBuffer).utf8Slice(from, end);
  }
}

/** Enough for the field; exact where that saves much. */
function roomOf(field: Field): number {
  if (typeof field !== 'string') return 1;
  return KIND_AND_LENGTH_BYTES + (field.length > SLAB_BYTES / 64 ? Buffer.byteLength(field, 'utf8') : UTF8_BYTES_MAX * field.length);
}

function lengthAt(b: Buffer, at: number): number {
  return (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
}

/** Below this a loop is quicker than a call. */
const COPY_BYTES_MIN = 48;

function copyBytes({ buffer, at }: TupleRef, end: number, out: Buffer, to: number): number {
  if (end - at >= COPY_BYTES_MIN) return to + buffer.copy(out, to, at, end);
  for (let i = at; i < end; i++) out[to + i - at] = buffer[i]!;
  return to + end - at;
}

function writeField(out: QuickBuffer, at: number, field: Field): number {
  if (typeof field !== 'string') {
    out[at] = field === null ? KIND.null : KIND.absent;
    return at + 1;
  }
  out[at] = KIND.text;
  const length = writeText(out, at + KIND_AND_LENGTH_BYTES, field);
  out[at + 1] = length >>> 24;
  out[at + 2] = (length >>> 16) & 0xff;
  out[at + 3] = (length >>> 8) & 0xff;
  out[at + 4] = length & 0xff;
  return at + KIND_AND_LENGTH_BYTES + length;
}

const ASCII_LAST = 0x7f;
/** Up to this length a loop is quicker than a call. */
const LOOP_LENGTH_MAX = 10;

/** @returns bytes */
function writeText(out: QuickBuffer, at: number, text: string): number {
  const { length } = text;
  if (length > LOOP_LENGTH_MAX) return out.utf8Write(text, at);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > ASCII_LAST) return out.utf8Write(text, at);
    out[at + i] = code;
  }
  return length;
}
