/**
 * Row messages of one relation as states of mapped rows. Guarantee: the states are those that the mapping's pure functions give (filter,
 * steps, projection), by no code of the sink; a row that the filter leaves out is no row, and what cannot be told is open.
 */
import { bindRelation, type BoundTable } from '#schemas/mapping/bind.ts';
import { decodeTuple, KIND, locateTuples, TAG, type Relation, type TupleOffsets } from '#schemas/pgoutput/message.ts';
import { overlayTuple, type TupleRef } from '#schemas/pgoutput/tuple.ts';
import type { ValueForm } from '#schemas/reconcile/canonical-form.ts';
import type { RowDigester } from '#schemas/reconcile/row-digester.ts';
import type { RowState } from '#schemas/reconcile/table-aggregate.ts';
import { TupleDigester, type WideTexts } from '#schemas/reconcile/tuple-digester.ts';
import type { TableProbe, Texts } from '#connectors/probe/postgres/table-scan.ts';
import { rowSelected } from '../row-selected.ts';
import { type Fields, TextDigester } from './text-digester.ts';

export interface RowSink {
  /** Wide values that the key's row has now. */
  carried(key: Int32Array): WideTexts | undefined;
  /** The key's row becomes this. */
  set(key: Int32Array, state: RowState, texts: Texts): void;
}

export interface RowsOptions {
  readonly probe: TableProbe;
  readonly forms: readonly ValueForm[];
  readonly digester: RowDigester;
  /** Indexes in the mapping's columns of those that are summed. */
  readonly summed: readonly number[];
}

export class RelationRows {
  readonly #options: RowsOptions;
  readonly #bound: BoundTable;
  /** Field of the tuple for each source column that is read. */
  readonly #fields: readonly number[];
  readonly #tuples: TupleDigester | undefined;
  readonly #texts: TextDigester;
  readonly #offsets: TupleOffsets = { old: 0, oldFull: false, next: 0 };

  private constructor(options: RowsOptions, bound: BoundTable) {
    const { probe, forms, digester, summed } = options;
    this.#options = options;
    this.#bound = bound;
    this.#fields = probe.sourceColumns.map((name) => bound.relation.columns.findIndex((column) => column.name === name));
    this.#texts = new TextDigester(digester, forms, summed);
    const shape = { columns: [...bound.columnFields], forms, key: probe.key };
    this.#tuples = probe.mapping.steps === undefined ? new TupleDigester(digester, shape) : undefined;
  }

  /** @returns why the relation is not what was mapped, in words. */
  static of(options: RowsOptions, relation: Relation): RelationRows | string {
    const bound = bindRelation(options.probe.mapping, relation);
    return bound.kind === 'mismatch' ? bound.message : new RelationRows(options, bound);
  }

  /** An insert, update or delete. */
  feed(message: Buffer, sink: RowSink): void {
    locateTuples(message, this.#offsets);
    const { old, oldFull, next } = this.#offsets;
    const before = old === 0 ? undefined : this.#keyOf({ buffer: message, at: old });
    const carriedOf = before && sink.carried(before.key);
    if (next === 0) {
      if (before !== undefined) sink.set(before.key, undefined, before.texts);
      return;
    }
    const row =
      oldFull && message[0] === TAG.update
        ? { buffer: overlayTuple({ buffer: message, at: old }, { buffer: message, at: next }), at: 0 }
        : { buffer: message, at: next };
    const { key, texts } = this.#keyOf(row);
    if (before !== undefined && before.key.some((word, i) => word !== key[i])) sink.set(before.key, undefined, before.texts);
    const carried = message[0] === TAG.update ? (carriedOf ?? (before === undefined ? sink.carried(key) : undefined)) : undefined;
    sink.set(key, this.#state(row, texts, carried), texts);
  }

  #keyOf({ buffer, at }: TupleRef): { readonly key: Int32Array; readonly texts: Texts } {
    const tuple = decodeKey(buffer, at, this.#bound.keyFields);
    return { key: this.#texts.key(tuple), texts: tuple };
  }

  #state(row: TupleRef, key: Texts, carried: WideTexts | undefined): RowState {
    const { probe, digester, summed } = this.#options;
    const { filter } = probe.mapping;
    const tuples = this.#tuples;
    if (tuples !== undefined && filter === undefined) {
      const whole = tuples.row(row, carried);
      const declared = summed.map((column) => tuples.text(row.buffer, column));
      if (!whole || declared.includes(undefined)) return { open: key };
      const wide = tuples.wide.size > 0 ? new Map(tuples.wide) : undefined;
      return { lanes: digester.lanes.slice(), declared: declared as (string | null)[], wide };
    }
    const tuple = decodeTuple(row.buffer, row.at);
    const values: Fields = this.#fields.map((field) => tuple[field]);
    const isSelected = rowSelected(filter, (column) => values[probe.sourceColumns.indexOf(column)]);
    if (isSelected === undefined) return { open: key };
    return isSelected ? this.#texts.row(probe.image(values), key, carried) : undefined;
  }
}

/** The texts of the key's fields only: most of a row is never made a text of. */
function decodeKey(buffer: Buffer, at: number, fields: Int32Array): Texts {
  const last = Math.max(...fields);
  const texts: (string | null)[] = [];
  let p = at + 2;
  for (let i = 0; i <= last; i++) {
    const kind = buffer[p++];
    const length = kind === KIND.text ? buffer.readUInt32BE(p) : 0;
    const from = kind === KIND.text ? p + 4 : p;
    const place = fields.indexOf(i);
    if (place >= 0) texts[place] = kind === KIND.text ? buffer.toString('utf8', from, from + length) : null;
    p = from + length;
  }
  return texts;
}
