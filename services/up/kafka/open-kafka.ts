/** Kafka as one process of a migration uses it. Guarantee: everything opened here ends with `close`. */
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openKafkaCluster, type KafkaJsCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { openKafkaLog, type KafkaChangeLog } from '#connectors/change-log/kafka/kafka-log.ts';
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import type { Logger } from '#services/runtime/service.ts';

const CONTROL = { partitions: 1 };

export interface KafkaOptions {
  readonly file: MigrationFile;
  readonly kafka: KafkaSettings;
  readonly logger: Logger;
}

export class OpenKafka {
  readonly cluster: KafkaJsCluster;
  readonly #log: KafkaChangeLog;

  constructor(cluster: KafkaJsCluster, name: string) {
    this.cluster = cluster;
    this.#log = openKafkaLog(cluster, { prefix: name });
  }

  /** Control records: `NAME.progress`. */
  progress(): Promise<Topic> {
    return this.#log.topic('progress', CONTROL);
  }

  /** What others ask of the reader and the sink: `NAME.requests`. */
  requests(): Promise<Topic> {
    return this.#log.topic('requests', CONTROL);
  }

  /** The registry, where there is no other: `NAME.schemas`. */
  schemas(): Promise<Topic> {
    return this.#log.topic('schemas', CONTROL);
  }

  async close(): Promise<void> {
    await this.#log.close();
    await this.cluster.close();
  }
}

/** `role`: shown to the broker. @throws PipelineError CF-3001 when no broker answers, CF-3006 when they refuse us. */
export async function openKafka({ file, kafka, logger }: KafkaOptions, role: string): Promise<OpenKafka> {
  const cluster = await openKafkaCluster(kafka, { clientId: `crossfade-${file.name}-${role}`, logger });
  return new OpenKafka(cluster, file.name);
}
