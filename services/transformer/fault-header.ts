/**
 * What stands in a mapped topic for a row that could not be mapped: a record without key and value, harmless to other readers, that says in
 * its header which row it is and why. Guarantee: the row's key is in it, wherever it is known, and no more than a header may hold.
 */
import type { KafkaHeader } from '#connectors/change-log/kafka/cluster.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { RowFault } from '#schemas/mapping/unmappable-row.ts';
import { decodeFault, encodeFault, FAULT_HEADER, type FaultRow } from '#schemas/order/fault-header.ts';
import { NULL_FIELD, type RowFields } from '#schemas/wire/wire.ts';

/** Beyond this, or beyond its part of what the topic takes, only the key is told: the source has the row. */
const VALUES_MAX_BYTES = 64 * 1024;
/** A byte is up to six in JSON, and those are eight in base64. */
const PART = 1 / 8;

export interface UnmappedChange {
  readonly op: 'c' | 'u' | 'd' | 'r';
  /** In the mapped columns' order. */
  readonly old: RowFields | undefined;
  readonly row: RowFields;
}

export interface FaultPlace {
  readonly table: TableMapping;
  /** Of the mapped topic. */
  readonly sureBytes: number;
}

export function faultHeader(fault: RowFault, { op, old, row }: UnmappedChange, { table, sureBytes }: FaultPlace): KafkaHeader {
  const { code, message } = fault;
  const limit = bytesOf(row) + (old === undefined ? 0 : bytesOf(old)) > Math.min(VALUES_MAX_BYTES, sureBytes * PART);
  const texts = (fields: RowFields): FaultRow => textsOf(fields, table, limit);
  return { name: FAULT_HEADER, value: encodeFault({ code, message, op, ...(old !== undefined && { old: texts(old) }), row: texts(row) }) };
}

/** Of a row that did not fit into the raw topic: what is told of it, by the target's columns. */
export function renamedFault(raw: Buffer, { columns }: TableMapping): KafkaHeader {
  const { old, row, ...event } = decodeFault(raw);
  const renamed = (texts: FaultRow): FaultRow => {
    const told = columns.filter(({ source }) => texts[source.name] !== undefined);
    return Object.fromEntries(told.map(({ source, target }) => [target, texts[source.name]!]));
  };
  return { name: FAULT_HEADER, value: encodeFault({ ...event, ...(old !== undefined && { old: renamed(old) }), row: renamed(row) }) };
}

function bytesOf({ length }: RowFields): number {
  return length.reduce((sum, bytes) => sum + Math.max(0, bytes), 0);
}

function textsOf({ buffer, from, length }: RowFields, { columns, targetKey }: TableMapping, onlyKey: boolean): FaultRow {
  const row: Record<string, string | null> = {};
  columns.forEach(({ target }, i) => {
    const bytes = length[i]!;
    if (onlyKey && !targetKey.includes(target)) return;
    if (bytes === NULL_FIELD) row[target] = null;
    else if (bytes >= 0) row[target] = buffer.toString('utf8', from[i], from[i]! + bytes);
  });
  return row;
}
