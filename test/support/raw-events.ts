/**
 * Records of raw topics as the reader scatters them, and a table's mapping to go with them. Guarantee: encoded by the product's own
 * format, one record for each row event, with the headers and twins that the reader writes.
 */
import type { FetchedRecord, KafkaHeader } from '#connectors/change-log/kafka/cluster.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import {
  encodeEventHeader,
  encodeOtherKey,
  EVENT,
  EVENT_HEADER,
  EXACT_HEADER,
  NEW_KEY_HEADER,
  OLD_KEY_HEADER,
} from '#schemas/order/event-header.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import {
  ABSENT_FIELD,
  NULL_FIELD,
  type RowEncoder,
  type RowFields,
  type SchemaRegistry,
  type WireFormat,
  type WireShape,
} from '#schemas/wire/wire.ts';
import { MappedTopic } from '#services/transformer/mapped-topic.ts';

/** A mapped topic that takes whatever comes. */
export function boundless(name: string): MappedTopic {
  return bounded(name, Infinity);
}

/** One that takes so much, once it is asked. */
export function bounded(name: string, batchBytesMax: number): MappedTopic {
  return new MappedTopic(name, { cluster: { batchBytesMax: () => Promise.resolve(batchBytesMax) }, compression: 'none' });
}

/** Text, null, or undefined for absent. */
export type Row = readonly (string | null | undefined)[];

/** Schemas in memory; one for all processes of a simulation. */
export function memoryRegistry(): SchemaRegistry {
  const ids = new Map<string, number>();
  const schemas: string[] = [];
  return {
    register: async (_subject, schema) => {
      const known = ids.get(schema);
      if (known !== undefined) return known;
      ids.set(schema, schemas.push(schema));
      return schemas.length;
    },
    schema: async (id) => schemas[id - 1]!,
    close: async () => undefined,
  };
}

export function formatOf(registry: SchemaRegistry, name = 'm'): WireFormat {
  return avroFormat(registry, { name });
}

const TYPES = {
  int4: { oid: 23, name: 'integer' },
  text: { oid: 25, name: 'text' },
  numeric: { oid: 1700, name: 'numeric' },
} as const;

export function column(name: string, type: keyof typeof TYPES): CatalogColumn {
  const { oid, name: typeText } = TYPES[type];
  return {
    name,
    typeOid: oid,
    typmod: -1,
    type: typeText,
    baseType: typeText,
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull: false,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: type === 'text' ? -1 : 4,
    typeName: type,
  };
}

/** Columns of the source: id (key, unless keyless), tenant, body, note. */
export const SOURCE_COLUMNS: readonly CatalogColumn[] = [
  column('id', 'int4'),
  column('tenant', 'text'),
  column('body', 'text'),
  column('note', 'text'),
];

export interface MappingOptions {
  readonly name?: string;
  readonly keyless?: boolean;
  /** Rows of these tenants pass; all when absent. */
  readonly tenants?: readonly string[];
}

/** public.NAME → app.NAME_new: body before id, both renamed; tenant and note are dropped. */
export function tableMapping({ name = 'item', keyless = false, tenants }: MappingOptions = {}): TableMapping {
  const mapped = (source: CatalogColumn, target: string): TableMapping['columns'][number] => ({
    target,
    targetType: source.type,
    targetBaseType: source.baseType,
    source,
  });
  return {
    from: { schema: 'public', name },
    to: { schema: 'app', name: `${name}_new` },
    columns: [mapped(SOURCE_COLUMNS[2]!, 'content'), mapped(SOURCE_COLUMNS[0]!, 'item_id')],
    sourceKey: keyless ? [] : ['id'],
    targetKey: keyless ? [] : ['item_id'],
    overridesIdentity: false,
    existing: 'refuse',
    dropped: ['tenant', 'note'],
    ...(tenants !== undefined && { filter: { conditions: [{ column: 'tenant', op: 'in', values: tenants }] } }),
  };
}

/** public.NAME as it stands. */
export function plainMapping(options: {
  readonly name?: string;
  readonly keyless?: boolean;
  readonly columns?: readonly CatalogColumn[];
}): TableMapping {
  const { name = 'item', keyless = false, columns = SOURCE_COLUMNS } = options;
  const key = keyless ? [] : ['id'];
  return {
    from: { schema: 'public', name },
    to: { schema: 'public', name },
    columns: columns.map((source) => ({ target: source.name, targetType: source.type, targetBaseType: source.baseType, source })),
    sourceKey: key,
    targetKey: key,
    overridesIdentity: false,
    existing: 'refuse',
    dropped: [],
  };
}

/** For the mapped shape where no stream is at hand: the catalogue's types hold. */
export const NO_RELATION: Relation = { oid: 0, schema: '', name: '', replicaIdentity: 'd', columns: [] };

export function rawShapeOf(table: TableMapping, columns: readonly CatalogColumn[] = SOURCE_COLUMNS): WireShape {
  return {
    topic: `m.${table.from.schema}.${table.from.name}`,
    database: 'db',
    schema: table.from.schema,
    table: table.from.name,
    columns: columns.map(({ name, typeOid, typmod }) => ({
      name,
      typeOid,
      typmod,
      isKey: table.sourceKey.includes(name),
      isNullable: true,
    })),
  };
}

export function fields(row: Row): RowFields {
  const texts = row.map((value) => Buffer.from(value ?? '', 'utf8'));
  const lengths = row.map((value, i) => (value === null ? NULL_FIELD : value === undefined ? ABSENT_FIELD : texts[i]!.length));
  let at = 0;
  const from = texts.map(({ length }) => (at += length) - length);
  return { buffer: Buffer.concat(texts), from: Int32Array.from(from), length: Int32Array.from(lengths) };
}

export function rowOf(row: RowFields | undefined): Row | undefined {
  if (row === undefined) return undefined;
  const text = (length: number, at: number): string => row.buffer.toString('utf8', at, at + length);
  return Array.from(row.length, (length, i) =>
    length === NULL_FIELD ? null : length === ABSENT_FIELD ? undefined : text(length, row.from[i]!),
  );
}

/** A change of one row, before it is scattered. */
export type RowChange =
  | { readonly op: 'c' | 'r'; readonly after: Row }
  | { readonly op: 'u'; readonly before?: Row; readonly after: Row }
  | { readonly op: 'd'; readonly before: Row }
  | { readonly op: 'move'; readonly from: Row; readonly after: Row }
  | { readonly op: 't' };

export interface RawRecord {
  readonly key: Buffer | undefined;
  readonly value: Buffer | undefined;
  readonly headers: readonly KafkaHeader[];
}

const SOURCE = { commitLsn: 7n, commitTimeMicros: 1_700_000_000_000_000n, xid: 9, snapshot: false };

/** As the reader does it; `topic` is the raw topic's index. */
export function scatterChange(encoder: RowEncoder, change: RowChange, at: { readonly topic: number; readonly v: number }): RawRecord[] {
  const header = (flags: number, sub = 0, absent: Buffer = Buffer.alloc(0)): KafkaHeader => ({
    name: EVENT_HEADER,
    value: encodeEventHeader({ flags, topic: at.topic, epoch: 1, v: at.v, sub, oid: 16384, absent }),
  });
  const event = (op: 'c' | 'u' | 'd' | 'r', rows: { before?: Row | undefined; after?: Row | undefined }) =>
    encoder.encode({ op, before: rows.before && fields(rows.before), after: rows.after && fields(rows.after), source: SOURCE });
  const exactOf = (exact: Buffer | undefined): KafkaHeader[] => (exact === undefined ? [] : [{ name: EXACT_HEADER, value: exact }]);
  switch (change.op) {
    case 't':
      return [{ key: undefined, value: encoder.encodeTruncate(SOURCE), headers: [header(EVENT.truncate)] }];
    case 'd': {
      const { key, value, exact } = event('d', { before: change.before });
      const records = [{ key, value, headers: [header(0), ...exactOf(exact)] }];
      return key === undefined ? records : [...records, { key, value: undefined, headers: [header(EVENT.tombstone)] }];
    }
    case 'move': {
      const gone = event('d', { before: change.from });
      const come = event('c', { after: change.after });
      const newKey = { name: NEW_KEY_HEADER, value: encodeOtherKey(come.key!) };
      const oldKey = { name: OLD_KEY_HEADER, value: encodeOtherKey(gone.key!) };
      return [
        { key: gone.key, value: gone.value, headers: [header(EVENT.movedAway, 1), newKey] },
        { key: gone.key, value: undefined, headers: [header(EVENT.movedAway | EVENT.tombstone, 1), newKey] },
        { key: come.key, value: come.value, headers: [header(EVENT.movedHere, 0, come.absent), oldKey] },
      ];
    }
    default: {
      const { key, value, absent, exact } = event(change.op, {
        before: change.op === 'u' ? change.before : undefined,
        after: change.after,
      });
      return [{ key, value, headers: [header(change.op === 'r' ? EVENT.chunk : 0, 0, absent), ...exactOf(exact)] }];
    }
  }
}

export function fetched({ key, value, headers }: RawRecord, offset = 0): FetchedRecord {
  return { offset, key, value, header: (name) => headers.find((header) => header.name === name)?.value };
}
