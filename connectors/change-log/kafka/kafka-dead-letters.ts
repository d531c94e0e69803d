/** Rows set aside, in the topic `NAME.dlq`: records with headers as Kafka Connect's own dead letter queue has them. Guarantee: as of the port. */
import type { DeadLetterTopic } from '../dead-letter-topic.ts';
import type { KafkaCluster } from './cluster.ts';
import { deadLetterTopic, mappedTopic } from './order/topic-names.ts';
import { RecordsBuilder } from './record-batch.ts';

/** @throws PipelineError CF-3001, CF-3002 */
export async function openKafkaDeadLetters(
  cluster: Pick<KafkaCluster, 'ensureTopics' | 'produce'>,
  migration: string,
): Promise<DeadLetterTopic> {
  const topic = deadLetterTopic(migration);
  await cluster.ensureTopics(new Map([[topic, { partitions: 1 }]]));
  return {
    // The row was put back into its place among all others: which record of the topic it was is not kept.
    placeOf: ({ to }) => ({ topic: mappedTopic(migration, to), partition: -1, offset: -1 }),
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
