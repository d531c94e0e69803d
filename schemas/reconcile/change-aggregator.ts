/**
 * Applies a relation's row messages of pgoutput to its table's aggregate, in their order. Guarantee: afterwards the aggregate is that of the
 * rows that a database has after the same messages; values that an update leaves out come from what its key had, or leave the key open.
 */
import { locateTuples, TAG, type TupleOffsets } from '../pgoutput/message.ts';
import { overlayTuple, type TupleRef } from '../pgoutput/tuple.ts';
import type { RowDigester } from './row-digester.ts';
import type { TableAggregate } from './table-aggregate.ts';
import { TupleDigester, type DigestedTuple, type WideTexts } from './tuple-digester.ts';

export interface AggregatedRelation extends DigestedTuple {
  /** Indexes in `columns` of the columns that are summed. */
  readonly declared: readonly number[];
}

export class ChangeAggregator {
  readonly #aggregate: TableAggregate;
  readonly #relation: AggregatedRelation;
  readonly #tuples: TupleDigester;
  readonly #offsets: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  readonly #oldKey = new Int32Array(4);

  /** The relation must have a key: rows without one have no digest to be told apart by. */
  constructor(aggregate: TableAggregate, relation: AggregatedRelation, digester: RowDigester) {
    this.#aggregate = aggregate;
    this.#relation = relation;
    this.#tuples = new TupleDigester(digester, relation);
  }

  /** Insert, update, delete or truncate; other messages say nothing of rows. */
  feed(message: Buffer): void {
    const tag = message[0];
    if (tag === TAG.truncate) this.#aggregate.truncate();
    if (tag !== TAG.insert && tag !== TAG.update && tag !== TAG.delete) return;
    locateTuples(message, this.#offsets);
    const { old, oldFull, next } = this.#offsets;
    let carried: WideTexts | undefined;
    if (old !== 0) {
      this.#tuples.key({ buffer: message, at: old });
      this.#oldKey.set(this.#tuples.digester.keyLanes);
      carried = this.#aggregate.carried(this.#oldKey);
      this.#aggregate.remove(this.#oldKey);
    }
    if (next === 0) return;
    // With the old row in full nothing is left out: an update's absent values are the old row's.
    const row = oldFull
      ? { buffer: overlayTuple({ buffer: message, at: old }, { buffer: message, at: next }), at: 0 }
      : { buffer: message, at: next };
    if (tag === TAG.update && old === 0) {
      this.#tuples.key(row);
      carried = this.#aggregate.carried(this.#tuples.digester.keyLanes);
    }
    this.#put(row, carried);
  }

  #put(row: TupleRef, carried: WideTexts | undefined): void {
    const tuples = this.#tuples;
    const { lanes, keyLanes } = tuples.digester;
    const whole = tuples.row(row, carried);
    const textsOf = (columns: readonly number[]): (string | null | undefined)[] => columns.map((column) => tuples.text(row.buffer, column));
    const declared = textsOf(this.#relation.declared);
    if (!whole || declared.includes(undefined)) this.#aggregate.leaveOpen(keyLanes, textsOf(this.#relation.key) as (string | null)[]);
    else {
      const wide = tuples.wide.size > 0 ? new Map(tuples.wide) : undefined;
      this.#aggregate.put(keyLanes, { lanes, declared: declared as (string | null)[], wide });
    }
  }
}
