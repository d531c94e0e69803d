/**
 * Retention of the order topic and the raw topics. Guarantee: only segments that end at or below `before` go, each with the records that
 * it names; the first record kept of the order is a segment that counts, and the directory of topics is repeated before anything goes.
 */
import { encodeOrderJson, type Segment } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster } from '../cluster.ts';
import { RecordsBuilder } from '../record-batch.ts';
import { readOrder } from './order-reader.ts';
import { OrderTail, type TopicDirectory } from './order-tail.ts';

export interface TrimOptions {
  readonly cluster: KafkaCluster;
  /** The order topic. */
  readonly topic: string;
  readonly before: Offset;
  readonly directory: TopicDirectory;
}

export async function trimOrder({ cluster, topic, before, directory }: TrimOptions): Promise<void> {
  const [bounds] = await cluster.bounds(topic);
  const to = bounds?.end ?? 0;
  const tail = new OrderTail();
  const ends = new Map<number, Map<number, Offset>>();
  let last: Segment | undefined;
  let cut: Offset | undefined;
  await readOrder({ cluster, topic, from: 0, to }, (record, offset) => {
    const segment = tail.take(record);
    if (segment === undefined) return true;
    if (last !== undefined) {
      if (last.base + last.count > before) return false;
      cut = offset;
      for (const range of last.ranges) {
        const partitions = ends.get(range.topic) ?? new Map<number, Offset>();
        ends.set(range.topic, partitions.set(range.partition, range.to));
      }
    }
    last = segment;
    return true;
  });
  if (cut === undefined) return;
  const builder = new RecordsBuilder();
  for (const record of directory.entries()) builder.add(undefined, encodeOrderJson(record));
  if (builder.count > 0) await cluster.produce([{ topic, partition: 0, records: builder.take() }]);
  // The order goes first: it must not name records that are gone.
  await cluster.trim({ topic, partition: 0 }, cut);
  for (const [index, partitions] of ends) {
    const name = directory.numbered(index)?.topic;
    if (name === undefined) continue;
    for (const [partition, end] of partitions) await cluster.trim({ topic: name, partition }, end);
  }
}
