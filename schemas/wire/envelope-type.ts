/**
 * The schemas of a table's events, as the Debezium connector for PostgreSQL has them. Guarantee: key columns are required, all others
 * optional: a delete's `before` may know the key alone, and an absent value has no other place.
 */
import { columnType, type LabelledColumn } from './column-type.ts';
import { optional, type ConnectField, type ConnectType } from './connect-type.ts';
import { NAMES } from './form/form-of-type.ts';
import type { WireShape } from './wire.ts';

/** Of the connector whose events these are like. */
export const CONNECTOR_VERSION = '3.7.0.Final';

const ENVELOPE_VERSION = 2;
const SNAPSHOT_STATES = 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental';

const STRING: ConnectType = { base: 'string' };
const LONG: ConnectType = { base: 'int64' };

/** Letters, digits and underscores (and dots between them), as Debezium's Avro adjustment makes them. */
export function legalName(name: string): string {
  const legal = name.replaceAll(/[^A-Za-z0-9_.]/g, '_');
  return /^[A-Za-z_]/.test(legal) ? legal : `_${legal}`;
}

/** A namespace: each part a name of its own. */
export function legalNamespace(topic: string): string {
  return topic.split('.').map(legalName).join('.');
}

export interface WireField extends ConnectField {
  /** Index in the shape's columns. */
  readonly index: number;
}

/** The fields of the rows, in the shape's order; two columns whose names become alike get underscores. */
export function rowFields(shape: WireShape): readonly WireField[] {
  const taken = new Set(shape.columns.map((column) => column.name).filter((name) => legalName(name).replaceAll('.', '_') === name));
  return shape.columns.map((column: LabelledColumn, index) => {
    let name = legalName(column.name).replaceAll('.', '_');
    if (name !== column.name) {
      while (taken.has(name)) name += '_';
      taken.add(name);
    }
    const type = columnType(column);
    return { name, index, type: column.isKey ? type : optional(type), ...(name !== column.name && { column: column.name }) };
  });
}

export function keyType(shape: WireShape): ConnectType | undefined {
  const fields = rowFields(shape).filter((field) => shape.columns[field.index]!.isKey);
  return fields.length === 0 ? undefined : { base: 'struct', name: `${legalNamespace(shape.topic)}.Key`, fields };
}

const SOURCE: ConnectType = {
  base: 'struct',
  name: 'io.debezium.connector.postgresql.Source',
  version: 1,
  fields: [
    { name: 'version', type: STRING },
    { name: 'connector', type: STRING },
    { name: 'name', type: STRING },
    { name: 'ts_ms', type: LONG },
    {
      name: 'snapshot',
      type: { base: 'string', name: NAMES.enum, version: 1, parameters: { allowed: SNAPSHOT_STATES }, optional: true, default: 'false' },
    },
    { name: 'db', type: STRING },
    { name: 'sequence', type: optional(STRING) },
    { name: 'ts_us', type: optional(LONG) },
    { name: 'ts_ns', type: optional(LONG) },
    { name: 'schema', type: STRING },
    { name: 'table', type: STRING },
    { name: 'txId', type: optional(LONG) },
    { name: 'lsn', type: optional(LONG) },
    { name: 'xmin', type: optional(LONG) },
    { name: 'origin', type: optional(STRING) },
    { name: 'origin_lsn', type: optional(LONG) },
  ],
};

const TRANSACTION: ConnectType = {
  base: 'struct',
  name: 'event.block',
  version: 1,
  optional: true,
  fields: [
    { name: 'id', type: STRING },
    { name: 'total_order', type: LONG },
    { name: 'data_collection_order', type: LONG },
  ],
};

export function envelopeType(shape: WireShape): ConnectType {
  const namespace = legalNamespace(shape.topic);
  const row: ConnectType = { base: 'struct', name: `${namespace}.Value`, fields: rowFields(shape), optional: true };
  return {
    base: 'struct',
    name: `${namespace}.Envelope`,
    version: ENVELOPE_VERSION,
    fields: [
      { name: 'before', type: row },
      { name: 'after', type: row },
      { name: 'source', type: SOURCE },
      { name: 'transaction', type: TRANSACTION },
      { name: 'op', type: STRING },
      { name: 'ts_ms', type: optional(LONG) },
      { name: 'ts_us', type: optional(LONG) },
      { name: 'ts_ns', type: optional(LONG) },
    ],
  };
}
