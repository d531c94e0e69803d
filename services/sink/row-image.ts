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

export class RowImage {
  /** Of what `of` gives. */
  readonly layout: Layout;
  readonly #row: RowFunction;
  readonly #bound: BoundTable;
  readonly #computed: Field[] = [];
  readonly #inputs: Field[] = [];
  /** Where each field of the source tuple begins (its kind) and ends. */
  readonly #start: Int32Array;
  readonly #end: Int32Array;

  constructor(table: TableMapping, bound: BoundTable, steps: NonNullable<TableMapping['steps']>) {
    this.#bound = bound;
    this.#row = rowFunction(steps);
    this.layout = { columns: Int32Array.from(table.columns, (_, i) => i), key: bound.keyColumns };
    this.#start = new Int32Array(bound.relation.columns.length);
    this.#end = new Int32Array(bound.relation.columns.length);
  }

  /** @throws UnmappableRow */
  of(tuple: TupleRef): TupleRef {
    this.#locate(tuple);
    const { inputFields } = this.#bound;
    for (let i = 0; i < inputFields.length; i++) this.#inputs[i] = this.#field(tuple.buffer, inputFields[i]!);
    const refusal = this.#row.compute(this.#inputs, this.#computed);
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
    const computed = this.#row.steps.computed;
    const direct = columnFields.length - computed.length;
    let size = COUNT_BYTES;
    for (let i = 0; i < direct; i++) size += this.#end[columnFields[i]!]! - this.#start[columnFields[i]!]!;
    for (let i = 0; i < computed.length; i++) size += sizeOf(this.#computed[i]);
    const out = Buffer.allocUnsafe(size);
    let at = out.writeUInt16BE(columnFields.length, 0);
    for (let i = 0; i < direct; i++) at += source.copy(out, at, this.#start[columnFields[i]!], this.#end[columnFields[i]!]);
    for (let i = 0; i < computed.length; i++) at = writeField(out, at, this.#computed[i]);
    return { buffer: out, at: 0 };
  }

  #locate({ buffer, at }: TupleRef): void {
    let p = at + COUNT_BYTES;
    for (let i = 0; i < this.#start.length; i++) {
      this.#start[i] = p;
      p += buffer[p] === KIND.text ? KIND_AND_LENGTH_BYTES + buffer.readUInt32BE(p + 1) : 1;
      this.#end[i] = p;
    }
  }

  #field(buffer: Buffer, field: number): Field {
    const start = this.#start[field]!;
    if (buffer[start] === KIND.text) return (buffer as QuickBuffer).utf8Slice(start + KIND_AND_LENGTH_BYTES, this.#end[field]!);
    return buffer[start] === KIND.null ? null : undefined;
  }
}

function sizeOf(field: Field): number {
  return typeof field === 'string' ? KIND_AND_LENGTH_BYTES + Buffer.byteLength(field, 'utf8') : 1;
}

function writeField(out: Buffer, at: number, field: Field): number {
  if (typeof field !== 'string') return out.writeUInt8(field === null ? KIND.null : KIND.absent, at);
  out[at] = KIND.text;
  const length = (out as QuickBuffer).utf8Write(field, at + KIND_AND_LENGTH_BYTES);
  return out.writeUInt32BE(length, at + 1) + length;
}
