/** Rows set aside, in the topic `NAME.dlq`: records with headers as Kafka Connect's own dead letter queue has them. Guarantee: as of the port. */
import { tableId, type CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import type { DeadLetterTopic, LogPlace, PlacedRow } from '../dead-letter-topic.ts';
import type { KafkaCluster } from './cluster.ts';
import type { TopicDirectory } from './order/order-tail.ts';
import { findRawRecord } from './order/raw-record-place.ts';
import { deadLetterTopic, orderTopic, rawTopic } from './order/topic-names.ts';
import { RecordsBuilder } from './record-batch.ts';

export interface KafkaDeadLettersOptions {
  readonly cluster: KafkaCluster;
  readonly format: WireFormat;
  readonly mapping: CompiledMapping;
  /** The raw topics, as far as the order was read. */
  readonly topics: () => ReturnType<TopicDirectory['entries']>;
}

/** @throws PipelineError CF-3001, CF-3002 */
export async function openKafkaDeadLetters({ cluster, format, mapping, topics }: KafkaDeadLettersOptions): Promise<DeadLetterTopic> {
  const topic = deadLetterTopic(mapping.name);
  await cluster.ensureTopics(new Map([[topic, { partitions: 1 }]]));
  const places = { cluster, order: orderTopic(mapping.name), format };
  const find = async ({ from, key, logOffset }: PlacedRow): Promise<LogPlace | undefined> => {
    const table = mapping.tables.find((one) => tableId(one.from) === tableId(from));
    const raw = [...topics()].find(({ schema, table: name }) => tableId({ schema, name }) === tableId(from));
    if (table === undefined || raw === undefined) return undefined;
    return findRawRecord(places, { topic: raw, key: new Map(table.sourceKey.map((name, i) => [name, key[i]!])), before: logOffset });
  };
  return {
    // Where the record was removed meanwhile the row is told all the same.
    placeOf: async (row) =>
      (await find(row).catch(() => undefined)) ?? { topic: rawTopic(mapping.name, row.from), partition: -1, offset: -1 },
    publish: async (records) => {
      const builder = new RecordsBuilder();
      for (const { key, value, headers } of records) {
        const named = Object.entries(headers).map(([name, text]) => ({ name, value: Buffer.from(text, 'utf8') }));
        builder.add(Buffer.from(key, 'utf8'), Buffer.from(value, 'utf8'), named);
      }
      await cluster.produce([{ topic, partition: 0, records: builder.take() }]);
    },
  };
}
