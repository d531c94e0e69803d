/** What a mapped topic is said to take, a broker takes. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { RecordsBuilder, type Compression } from '#connectors/change-log/kafka/record-batch.ts';
import { MappedTopic } from '#services/transformer/mapped-topic.ts';
import type { Unplaced } from '#services/transformer/map-event.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { clusterOn, sharedKafka } from '#test/support/log-on-kafka.ts';

const LIMIT = 50_000;

describeWithKafka('the limit of a mapped topic', () => {
  test.each<Compression>(['none', 'gzip', 'zstd'])('is the broker’s, to the byte (%s)', async (compression) => {
    const { brokers } = await sharedKafka();
    const cluster = await clusterOn(brokers);
    const topic = `limit_${process.pid}_${compression}`;
    const configEntries = [{ name: 'max.message.bytes', value: String(LIMIT) }];
    await cluster.admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }], waitForLeaders: true });
    const to = new MappedTopic(topic, { cluster, compression });
    await to.ask();
    const taken: boolean[] = [];
    for (const bytes of [0.9, 0.99, 0.995, 0.9975, 0.9985, 0.999, 1, 1.1].map((share) => Math.floor(share * LIMIT))) {
      const headers = [{ name: 'cf', value: Buffer.alloc(40) }];
      const record: Unplaced = { key: randomBytes(10), value: randomBytes(bytes), headers };
      const builder = new RecordsBuilder({ compression });
      builder.add(record.key, record.value, record.headers);
      const stored = await cluster.produce([{ topic, partition: 0, records: builder.take() }]).then(
        () => true,
        () => false,
      );
      expect(to.takes(record), String(bytes)).toBe(stored);
      taken.push(stored);
    }
    expect(new Set(taken).size).toBe(2);
    await cluster.close();
  });
});
