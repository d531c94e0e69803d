/**
 * Rows with computed columns, from the fields of an event. Guarantee: fields that pass keep their bytes, those that are computed come
 * from the shared row function; an input that the event leaves out is taken from the row before where that came, and is absent else.
 */
import { isComputed, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { unmappable } from '#schemas/mapping/steps/refuse-row.ts';
import { rowFunction, type Field, type RowFunction } from '#schemas/mapping/steps/table-steps.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from '#schemas/wire/wire.ts';
import type { ScratchRow } from './scratch-row.ts';

/** Where an event's fields stand. */
export interface ImageFields {
  /** Event's field for each mapped column that passes. */
  readonly fields: Int32Array;
  /** Event's field for each input of the steps. */
  readonly inputs: Int32Array;
}

export class EventImage {
  readonly #row: RowFunction;
  readonly #inputs: Field[] = [];
  readonly #computed: Field[] = [];

  /** Undefined where no column is computed. */
  static of({ steps }: TableMapping): EventImage | undefined {
    return steps === undefined ? undefined : new EventImage(rowFunction(steps));
  }

  private constructor(row: RowFunction) {
    this.#row = row;
  }

  /** @throws UnmappableRow */
  whole(into: ScratchRow, row: RowFields, before: RowFields | undefined, at: ImageFields): RowFields {
    for (let i = 0; i < at.inputs.length; i++) {
      const field = at.inputs[i]!;
      const isAbsent = row.length[field] === ABSENT_FIELD;
      this.#inputs[i] = isAbsent && before !== undefined ? fieldOf(before, field) : fieldOf(row, field);
    }
    const refusal = this.#row.compute(this.#inputs, this.#computed);
    if (refusal !== undefined) throw unmappable(refusal);
    return this.#write(into, row, at);
  }

  /** Of a row that only has to be found: what is computed is left null. */
  found(into: ScratchRow, row: RowFields, at: ImageFields): RowFields {
    for (let i = 0; i < this.#row.steps.computed.length; i++) this.#computed[i] = null;
    return this.#write(into, row, at);
  }

  #write(into: ScratchRow, row: RowFields, { fields }: ImageFields): RowFields {
    const computed = this.#computed.map((field) => (typeof field === 'string' ? Buffer.from(field, 'utf8') : field));
    into.buffer = Buffer.concat([row.buffer, ...computed.filter((field) => Buffer.isBuffer(field))]);
    let at = row.buffer.length;
    for (let i = 0; i < fields.length; i++) {
      if (!isComputed(this.#row.steps, i)) {
        into.take(i, row, fields[i]!);
        continue;
      }
      const field = computed[i - this.#row.steps.computed[0]!.column];
      into.from[i] = at;
      into.length[i] = Buffer.isBuffer(field) ? field.length : field === null ? NULL_FIELD : ABSENT_FIELD;
      if (Buffer.isBuffer(field)) at += field.length;
    }
    return into;
  }
}

function fieldOf({ buffer, from, length }: RowFields, field: number): Field {
  const size = length[field]!;
  if (size === NULL_FIELD) return null;
  return size === ABSENT_FIELD ? undefined : buffer.toString('utf8', from[field], from[field]! + size);
}
