/**
 * The encoder of one shape in Avro, in Confluent's wire format. Guarantee: one pass over a row, one copy of its bytes into a slab; what is
 * handed out is not written again before `release`. A key whose form is not exact carries its exact texts behind the record, where Avro readers stop.
 */
import { invariant } from '../errors.ts';
import { absentFields } from './absent-fields.ts';
import { AvroRowWriter } from './avro-row.ts';
import { AvroSource, type TransactionParts } from './avro-source.ts';
import { rowFields } from './envelope-type.ts';
import { ExactCollector } from './exact-text.ts';
import { PlainKey } from './plain-key.ts';
import type { Slab } from './slab.ts';
import {
  ABSENT_FIELD,
  type EncodedEvent,
  type RowEncoder,
  type RowFields,
  type WireEvent,
  type WireShape,
  type WireSource,
} from './wire.ts';

export const MAGIC_BYTES = 5;

export interface AvroEncoderParts {
  readonly shape: WireShape;
  readonly name: string;
  readonly keyId: number | undefined;
  readonly valueId: number;
  readonly slab: Slab;
  readonly transaction: TransactionParts;
}

const TRUNCATE = 0x74; // t

export class AvroEncoder implements RowEncoder {
  readonly shape: WireShape;
  readonly keyId: number | undefined;
  readonly valueId: number;
  readonly #slab: Slab;
  readonly #source: AvroSource;
  readonly #row: AvroRowWriter;
  readonly #key: AvroRowWriter;
  readonly #keyFields: readonly number[];
  readonly #exact = new ExactCollector();
  readonly #keyExact = new ExactCollector();
  #plainKey: PlainKey | undefined;

  constructor(parts: AvroEncoderParts) {
    this.shape = parts.shape;
    this.keyId = parts.keyId;
    this.valueId = parts.valueId;
    this.#slab = parts.slab;
    this.#source = new AvroSource(parts.name, parts.shape, parts.transaction);
    const fields = rowFields(parts.shape);
    this.#row = new AvroRowWriter(fields);
    this.#keyFields = parts.shape.columns.flatMap((column, i) => (column.isKey ? [i] : []));
    this.#key = new AvroRowWriter(fields.filter((field) => parts.shape.columns[field.index]!.isKey));
  }

  encode(event: WireEvent): EncodedEvent {
    const { before, after } = event;
    const key = this.encodeKey(this.#keyRow(event));
    const slab = this.#begin(this.valueId);
    this.#writeRow(slab, before, 'b');
    this.#writeRow(slab, after, 'a');
    this.#source.write(slab, event.source, event.op.charCodeAt(0));
    return { key, value: slab.take(), absent: absentFields(after, this.shape.columns.length), exact: this.#exact.take() };
  }

  /** A key kept outside its row is absent from `after` when it did not change. */
  #keyRow({ before, after }: WireEvent): RowFields {
    invariant(after !== undefined || before !== undefined, 'a change has a row');
    if (after === undefined || before === undefined) return (after ?? before)!;
    return this.#keyFields.some((field) => after.length[field] === ABSENT_FIELD) ? before : after;
  }

  #writeRow(slab: Slab, row: RowFields | undefined, part: 'a' | 'b'): void {
    if (row === undefined) {
      slab.byte(0);
      return;
    }
    slab.byte(2);
    this.#row.write(slab, row, this.#exact, part);
  }

  encodeKey(row: RowFields): Buffer | undefined {
    if (this.keyId === undefined) return undefined;
    const slab = this.#begin(this.keyId);
    this.#key.write(slab, row, this.#keyExact, 'k');
    const exact = this.#keyExact.take();
    if (exact !== undefined) slab.bytes(exact, 0, exact.length);
    return slab.take();
  }

  plainKey(row: RowFields): Buffer {
    this.#plainKey ??= new PlainKey(this.shape);
    return this.#plainKey.of(row);
  }

  release(): void {
    this.#slab.reset();
  }

  encodeTruncate(source: WireSource): Buffer {
    const slab = this.#begin(this.valueId);
    slab.byte(0);
    slab.byte(0);
    this.#source.write(slab, source, TRUNCATE);
    return slab.take();
  }

  #begin(id: number): Slab {
    const slab = this.#slab;
    slab.begin();
    slab.room(MAGIC_BYTES);
    const b = slab.buffer;
    const p = slab.pos;
    b[p] = 0;
    b[p + 1] = id >>> 24;
    b[p + 2] = id >>> 16;
    b[p + 3] = id >>> 8;
    b[p + 4] = id;
    slab.pos = p + MAGIC_BYTES;
    return slab;
  }
}
