/** A log on Kafka for the port's suite. Guarantee: each has a prefix of its own, so suites may share a cluster; opening again is a new client. */
import { randomUUID } from 'node:crypto';
import type { ChangeLog } from '#connectors/change-log/change-log.ts';
import { openKafkaCluster, type KafkaJsCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { openKafkaLog } from '#connectors/change-log/kafka/kafka-log.ts';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { startKafka, type Kafka } from './kafka/kafka.ts';
import type { LogUnderTest } from './log-records.ts';

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
let shared: Promise<Kafka> | undefined;

/** One broker a process (vitest gives each test file its own); it ends with the process. */
export function sharedKafka(): Promise<Kafka> {
  return (shared ??= startKafka());
}

export async function clusterOn(brokers: readonly string[], settings: Partial<KafkaSettings> = {}): Promise<KafkaJsCluster> {
  return openKafkaCluster(
    { brokers, partitions: 1, format: 'avro', compression: 'none', ...settings },
    { clientId: 'test', logger: quiet },
  );
}

export async function logOnKafka(): Promise<LogUnderTest> {
  const { brokers } = await sharedKafka();
  const prefix = `log-${randomUUID()}`;
  const open = async (): Promise<{ log: ChangeLog; close(): Promise<void> }> => {
    const cluster = await clusterOn(brokers);
    const log = openKafkaLog(cluster, { prefix });
    return {
      log,
      close: async () => {
        await log.close();
        await cluster.close();
      },
    };
  };
  let opened = await open();
  return {
    get log() {
      return opened.log;
    },
    async reopen() {
      await opened.close();
      opened = await open();
      return opened.log;
    },
    async [Symbol.asyncDispose]() {
      await opened.close();
    },
  };
}
