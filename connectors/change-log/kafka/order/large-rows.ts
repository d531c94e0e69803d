/**
 * Rows beyond what their topic takes. Guarantee: a row's record is what the topic takes, without the old row where that makes it fit, or one
 * that says which row was too large and holds nothing of it but its key: so the row is set aside or holds its table, and no other waits.
 */
import { encodeFault, FAULT_HEADER, type FaultRow } from '#schemas/order/fault-header.ts';
import { ABSENT_FIELD, NULL_FIELD, type EncodedEvent, type RowFields, type WireEvent } from '#schemas/wire/wire.ts';
import type { KafkaHeader } from '../cluster.ts';
import { RecordsBuilder, type Compression } from '../record-batch.ts';
import type { RawRows } from './raw-tables.ts';

/** What stands around the value, and what mapping may add: the mapped record has to fit as well. */
const SHARE = 0.95;

/** Of a record's value, for a topic that takes batches of so many bytes. */
export function valueBytesMax(batchBytes: number): number {
  return Math.floor(batchBytes * SHARE);
}

/** What of the event can be stored, if anything can. */
export function fitting(rows: RawRows, event: WireEvent, compression: Compression, encoded: EncodedEvent): EncodedEvent | undefined {
  if (fits(rows, compression, encoded)) return encoded;
  const smaller = withoutOldRow(event, rows.keyFields);
  const left = smaller && rows.encoder.encode(smaller);
  return left !== undefined && fits(rows, compression, left) ? left : undefined;
}

function fits({ table }: RawRows, compression: Compression, { key, value, exact }: EncodedEvent): boolean {
  const builder = new RecordsBuilder({ compression });
  builder.add(key, value, exact === undefined ? [] : [{ name: 'x', value: exact }]);
  return builder.take().bytes <= table.valueBytesMax;
}

/** Where the row has a key its old version is only good for other readers. */
export function withoutOldRow(event: WireEvent, keyFields: RawRows['keyFields'] | readonly number[]): WireEvent | undefined {
  if (keyFields.length === 0 || event.before === undefined) return undefined;
  if (event.op !== 'd') return { ...event, before: undefined };
  const { before } = event;
  const length = before.length.map((bytes, field) => (keyFields.includes(field) ? bytes : ABSENT_FIELD));
  return { ...event, before: { buffer: before.buffer, from: before.from, length } };
}

export function tooLarge(rows: RawRows, event: WireEvent, bytes: number): KafkaHeader {
  const { name } = rows.table.topic;
  const message =
    `a row of ${bytes} bytes does not fit into topic ${name}: raise max.message.bytes (now ${rows.table.batchBytesMax}) ` +
    `of that topic and of its mapped one`;
  const row = keyOf(rows, event.after ?? event.before!);
  const old = event.after === undefined || event.before === undefined ? {} : { old: keyOf(rows, event.before) };
  return { name: FAULT_HEADER, value: encodeFault({ code: 'CF-3005', message, op: event.op, ...old, row }) };
}

function keyOf({ keyFields, encoder }: RawRows, { buffer, from, length }: RowFields): FaultRow {
  const row: (readonly [string, string])[] = [];
  for (const field of keyFields) {
    if (length[field]! > NULL_FIELD)
      row.push([encoder.shape.columns[field]!.name, buffer.toString('utf8', from[field], from[field]! + length[field]!)]);
  }
  // Object.fromEntries defines: a column named __proto__ stays one.
  return Object.fromEntries(row);
}
