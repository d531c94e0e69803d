/**
 * Where a row's raw record stands. Guarantee: the place given is that of the last record of the key that counts below the frame asked for;
 * undefined where that was removed, or lies too far back to look.
 *
 * Asked of single rows, long after they were read: gathering keeps no places.
 */
import { decodeEventHeader, EVENT, EVENT_HEADER } from '#schemas/order/event-header.ts';
import type { Segment, TopicOrderRecord } from '#schemas/order/order-record.ts';
import { NULL_FIELD, type WireFormat } from '#schemas/wire/wire.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { FetchedRecord, KafkaCluster, TopicPartition } from '../cluster.ts';
import { recordsIn } from '../record-reader.ts';
import { readOrder } from './order-reader.ts';

const WINDOW_RECORDS = 256;
const ORDER_RECORDS_MAX = 8_192;
const SEGMENTS_MAX = 256;
const ANSWER_TIMEOUT_MS = 20_000;

export interface RawPlaces {
  readonly cluster: KafkaCluster;
  /** The order topic. */
  readonly order: string;
  readonly format: WireFormat;
}

export interface SoughtRow {
  readonly topic: TopicOrderRecord;
  /** Source columns of the key, with their texts. */
  readonly key: ReadonlyMap<string, string>;
  /** Frames below this are looked at. */
  readonly before: Offset;
}

/** @throws PipelineError CF-3001, CF-3003 */
export async function findRawRecord(places: RawPlaces, sought: SoughtRow): Promise<(TopicPartition & { offset: Offset }) | undefined> {
  const [bounds] = await places.cluster.bounds(places.order);
  const { start, end } = bounds!;
  const segments: Segment[] = [];
  let looked = 0;
  for (let to = end; to > start && end - to < ORDER_RECORDS_MAX && looked < SEGMENTS_MAX;) {
    const from = Math.max(start, to - WINDOW_RECORDS);
    const found: Segment[] = [];
    await readOrder({ cluster: places.cluster, topic: places.order, from, to }, (record) => {
      if (record.t === 'segment') found.push(record);
      return true;
    });
    segments.unshift(...found);
    to = from;
    for (const segment of found.toReversed()) {
      if (segment.base >= sought.before || segment.ranges.every(({ topic }) => topic !== sought.topic.index)) continue;
      const offset = await lastIn(places, sought, { segment, counts: (v) => !isVoid(segments, segment, v) });
      if (offset !== undefined) return offset;
      if (++looked === SEGMENTS_MAX) break;
    }
  }
  return undefined;
}

/** A replaced reader's segment: its successor has given the frame another content. */
function isVoid(segments: readonly Segment[], { epoch }: Segment, v: Offset): boolean {
  return segments.some((other) => other.epoch > epoch && other.base <= v && v < other.base + other.count);
}

interface Looking {
  readonly segment: Segment;
  readonly counts: (v: Offset) => boolean;
}

async function lastIn(
  { cluster, format }: RawPlaces,
  { topic: { index, topic }, key, before }: SoughtRow,
  { segment, counts }: Looking,
): Promise<(TopicPartition & { offset: Offset }) | undefined> {
  let last: { readonly place: TopicPartition; readonly offset: Offset; readonly v: Offset } | undefined;
  for (const { topic: number, partition, from, to } of segment.ranges) {
    if (number !== index) continue;
    const place = { topic, partition };
    for (const record of await recordsOf(cluster, place, { from, to })) {
      const v = frameOf(record, segment);
      if (v === undefined || v >= before || !counts(v) || v < (last?.v ?? 0)) continue;
      if (await hasKey(record, key, format)) last = { place, offset: record.offset, v };
    }
  }
  return last && { ...last.place, offset: last.offset };
}

/** Undefined for what is told to other readers, or is another epoch's. Of somebody else's records a segment is one transaction. */
function frameOf(record: FetchedRecord, segment: Segment): Offset | undefined {
  const cf = record.header(EVENT_HEADER);
  if (cf === undefined) return record.value === undefined ? undefined : segment.base;
  const { flags, epoch, v } = decodeEventHeader(cf);
  return epoch !== segment.epoch || (flags & (EVENT.tombstone | EVENT.truncate)) !== 0 ? undefined : v;
}

async function hasKey({ key: bytes }: FetchedRecord, key: ReadonlyMap<string, string>, format: WireFormat): Promise<boolean> {
  if (bytes === undefined) return false;
  if (!format.knows(bytes)) await format.learn(bytes);
  const { columns, row } = format.decodeKey(bytes);
  const { buffer, from, length } = row;
  return Array.from(key).every(([name, text]) => {
    const field = columns.indexOf(name);
    return field >= 0 && length[field]! > NULL_FIELD && buffer.toString('utf8', from[field], from[field]! + length[field]!) === text;
  });
}

async function recordsOf(
  cluster: KafkaCluster,
  place: TopicPartition,
  { from, to }: { readonly from: Offset; readonly to: Offset },
): Promise<readonly FetchedRecord[]> {
  const records: FetchedRecord[] = [];
  const fetcher = await cluster.fetcher();
  try {
    fetcher.seek(place, from);
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    for (let next = from; next < to;) {
      const fetched = await fetcher.next(signal);
      if (fetched === undefined) break;
      for (const part of fetched) {
        records.push(...recordsIn(part).filter(({ offset }) => offset < to));
        next = part.next;
      }
    }
    return records;
  } finally {
    await fetcher.close();
  }
}
