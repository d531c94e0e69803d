/**
 * Kafka and Connect for the contenders that go over them. Guarantee: one broker for all, the workers start with who first needs them and
 * stay warm, and all of it ends with `await using`. Heaps and flags are those of ../shared/bench/peers.
 */
import { Kafka as Client, logLevel } from 'kafkajs';
import { mendRequestQueue } from '#connectors/change-log/kafka/mend-request-queue.ts';
import { hasJavaAndMaven } from '#test/support/kafka/jars.ts';
import { type JavaKafka, startJavaKafka } from '#test/support/kafka/java-kafka.ts';
import { type Connect, startConnect } from '#test/support/kafka/connect.ts';
import { kafkaProvider } from '#test/support/kafka/provider.ts';
import type { UsageGroup } from '../usage.ts';

mendRequestQueue();

const BROKER_HEAP_MB = 1024;
const CONNECT_HEAP_MB = 2048;
const BROKER_FLAGS = ['-Xms1g'];
/** Kafka's own for Connect. */
const CONNECT_FLAGS = ['-Xms256m', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20', '-XX:InitiatingHeapOccupancyPercent=35'];

export interface Workers {
  readonly source: Connect;
  readonly sink: Connect;
}

/** Why there is no Kafka to be had here; undefined when there is. The broker is Java's, like Connect: one kind of process to measure. */
export async function kafkaMissing(): Promise<string | undefined> {
  if ((await kafkaProvider()) !== undefined && hasJavaAndMaven()) return undefined;
  return 'bench: the contenders kafka and debezium need Kafka: Java 17 and Maven are not here, or CROSSFADE_KAFKA=none.';
}

export class KafkaLab implements AsyncDisposable {
  readonly #broker: JavaKafka;
  #workers: Promise<Workers> | undefined;

  private constructor(broker: JavaKafka) {
    this.#broker = broker;
  }

  static async start(): Promise<KafkaLab> {
    return new KafkaLab(await startJavaKafka({ heapMb: BROKER_HEAP_MB, jvmFlags: BROKER_FLAGS }));
  }

  get brokers(): readonly string[] {
    return this.#broker.brokers;
  }

  usage(): UsageGroup {
    return { name: 'broker', kind: 'process', fresh: false, pid: () => this.#broker.pid };
  }

  async workers(): Promise<Workers> {
    const start = async (): Promise<Connect> => startConnect({ brokers: this.brokers, heapMb: CONNECT_HEAP_MB, jvmFlags: CONNECT_FLAGS });
    return (this.#workers ??= (async () => ({ source: await start(), sink: await start() }))());
  }

  async createTopics(names: readonly string[], partitions: number): Promise<void> {
    await this.#administer(async (admin) => {
      await admin.createTopics({ topics: names.map((topic) => ({ topic, numPartitions: partitions, replicationFactor: 1 })) });
    });
  }

  /** Those whose name begins with `PREFIX.` */
  async deleteTopics(prefix: string): Promise<void> {
    await this.#administer(async (admin) => {
      const topics = (await admin.listTopics()).filter((name) => name.startsWith(`${prefix}.`));
      if (topics.length > 0) await admin.deleteTopics({ topics });
    });
  }

  async #administer(act: (admin: ReturnType<Client['admin']>) => Promise<void>): Promise<void> {
    const admin = new Client({ brokers: [...this.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    try {
      await act(admin);
    } finally {
      await admin.disconnect();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const workers = await this.#workers?.catch(() => undefined);
    await workers?.source[Symbol.asyncDispose]();
    await workers?.sink[Symbol.asyncDispose]();
    await this.#broker[Symbol.asyncDispose]();
  }
}
