/**
 * A scattered raw log read back, for tests. Guarantee: written against the rules of the order topic (ARCHITECTURE.md), not against the
 * code that it judges: a segment counts unless an epoch record above it stands before it, and a row counts when a segment names it.
 */
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import {
  decodeEventHeader,
  EVENT,
  EVENT_HEADER,
  EXACT_HEADER,
  decodeOtherKey,
  NEW_KEY_HEADER,
  OLD_KEY_HEADER,
  type EventHeader,
} from '#schemas/order/event-header.ts';
import { decodeFault, FAULT_HEADER, type FaultEvent } from '#schemas/order/fault-header.ts';
import { decodeOrderRecord, type Segment, type TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { CatalogColumn, CatalogTable } from '#schemas/table.ts';
import type { RowFields, WireFormat } from '#schemas/wire/wire.ts';
import { textsOf, type TextValue } from './wire-rows.ts';

export type TextRow = Readonly<Record<string, TextValue>>;

/** One record of a raw topic. */
export interface ScatteredRow {
  readonly topic: string;
  readonly partition: number;
  readonly flags: number;
  readonly v: number;
  readonly sub: number;
  readonly oid: number;
  /** Undefined of a tombstone. */
  readonly op: string | undefined;
  readonly key: TextRow | undefined;
  readonly before: TextRow | undefined;
  readonly after: TextRow | undefined;
  readonly oldKey: TextRow | undefined;
  readonly newKey: TextRow | undefined;
  /** Set when it stands for a row that the topic does not take. */
  readonly fault: FaultEvent | undefined;
}

export interface ScatteredLog {
  readonly segments: readonly Segment[];
  /** Segments that do not count. */
  readonly voided: number;
  readonly topics: readonly TopicOrderRecord[];
  /** By v, then as they stand in their partitions. */
  readonly rows: readonly ScatteredRow[];
  readonly skeleton: ReadonlyMap<number, Buffer>;
  readonly end: number;
}

/** What is kept of a partition. */
export interface StoredRecords {
  records(topic: string, partition: number): readonly FetchedRecord[] | Promise<readonly FetchedRecord[]>;
}

export async function readScattered(kafka: StoredRecords, migration: string, format: WireFormat): Promise<ScatteredLog> {
  const records = (await kafka.records(`${migration}.order`, 0)).map(({ value }) => decodeOrderRecord(value!));
  const segments: Segment[] = [];
  const topics: TopicOrderRecord[] = [];
  let voided = 0;
  let epoch = -1;
  for (const record of records) {
    if (record.t === 'epoch') epoch = Math.max(epoch, record.epoch);
    else if (record.t === 'topic') {
      if (topics.every(({ index, topic }) => index !== record.index && topic !== record.topic)) topics.push(record);
    } else if (record.t === 'segment' && record.epoch < epoch) voided++;
    else if (record.t === 'segment') segments.push(record);
  }
  const rows: ScatteredRow[] = [];
  for (const { ranges, epoch: written } of segments) {
    for (const { topic: index, partition, from, to } of ranges) {
      const { topic } = topics.find((each) => each.index === index)!;
      for (const record of await kafka.records(topic, partition)) {
        if (record.offset < from || record.offset >= to) continue;
        const header = decodeEventHeader(record.header(EVENT_HEADER)!);
        if (header.epoch === written) rows.push(await rowOf(record, header, { topic, partition, format }));
      }
    }
  }
  const skeleton = new Map(segments.flatMap((segment) => [...segment.skeleton].map(({ v, frame }) => [v, frame] as const)));
  const last = segments.at(-1);
  const sorted = rows.toSorted((a, b) => a.v - b.v || a.sub - b.sub || a.partition - b.partition);
  return { segments, voided, topics, rows: sorted, skeleton, end: last === undefined ? 0 : last.base + last.count };
}

interface Where {
  readonly topic: string;
  readonly partition: number;
  readonly format: WireFormat;
}

async function rowOf(record: FetchedRecord, header: EventHeader, { topic, partition, format }: Where): Promise<ScatteredRow> {
  const { flags, v, sub, oid, absent } = header;
  const keyOf = async (bytes: Buffer | undefined): Promise<TextRow | undefined> => {
    if (bytes === undefined) return undefined;
    if (!format.knows(bytes)) await format.learn(bytes);
    const { columns, row } = format.decodeKey(bytes);
    return named(columns, row);
  };
  const { value } = record;
  if (value !== undefined && !format.knows(value)) await format.learn(value);
  const event = value && format.decode(value, { absent, exact: record.header(EXACT_HEADER) });
  const before = event?.before && named(event.columns, event.before);
  const after = event?.after && named(event.columns, event.after);
  const key = await keyOf(record.key);
  const fault = record.header(FAULT_HEADER);
  const oldKey = await keyOf(otherKey(record.header(OLD_KEY_HEADER)));
  return {
    topic,
    partition,
    flags,
    v,
    sub,
    oid,
    op: event?.op,
    key,
    before,
    after,
    oldKey,
    newKey: await keyOf(otherKey(record.header(NEW_KEY_HEADER))),
    fault: fault && decodeFault(fault),
  };
}

function otherKey(header: Buffer | undefined): Buffer | undefined {
  return header && decodeOtherKey(header);
}

function named(columns: readonly string[], row: RowFields): TextRow {
  const texts = textsOf(row, columns.length)!;
  return Object.fromEntries(columns.map((column, i) => [column, texts[i]]));
}

/** As a name for what a record says of itself. */
export function flagNames(flags: number): string[] {
  return Object.entries(EVENT).flatMap(([name, bit]) => ((flags & bit) === 0 ? [] : [name]));
}

export interface TableText {
  readonly oid: number;
  readonly name: string;
  readonly columns: readonly string[];
  /** None: keyless. */
  readonly key: readonly string[];
  readonly notNull?: readonly string[];
  readonly identity?: 'd' | 'f';
  /** Oids. */
  readonly leaves?: readonly number[];
}

/** A table of text columns in schema public. */
export function catalogTable({ oid, name, columns, key, notNull = key, identity = 'd', leaves = [] }: TableText): CatalogTable {
  return {
    oid,
    schema: 'public',
    name,
    kind: leaves.length > 0 ? 'p' : 'r',
    columns: columns.map((column) => textColumn(column, notNull.includes(column))),
    ...(key.length > 0 && { primaryKey: { indexName: `${name}_pkey`, columns: key } }),
    uniqueKeys: [],
    replicaIdentity: identity,
    foreignKeys: [],
    triggers: [],
    unlogged: false,
    rowEstimate: 0,
    bytes: 0,
    relfilenode: 0,
    rowSecurity: false,
    leaves: leaves.map((leaf) => ({
      oid: leaf,
      schema: 'public',
      name: `${name}_${leaf}`,
      relfilenode: 0,
      replicaIdentity: identity,
      rowEstimate: 0,
      bytes: 0,
    })),
  };
}

function textColumn(name: string, notNull: boolean): CatalogColumn {
  return {
    name,
    typeOid: 25,
    typmod: -1,
    type: 'text',
    baseType: 'text',
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: -1,
  };
}
