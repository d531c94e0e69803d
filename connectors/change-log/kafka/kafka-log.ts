/**
 * The change log port over Kafka: topic `raw` of a log with prefix `shop` is Kafka's `shop.raw`. Guarantee: that of the port, with the
 * limits README.md names (what others append is seen by reading or `refresh`; a refused append may be stored after all).
 */
import { PipelineError } from '#schemas/errors.ts';
import type { ChangeLog } from '../change-log.ts';
import type { KafkaJsCluster } from './kafka-cluster.ts';
import { KafkaTopic } from './kafka-topic.ts';

/** The cluster stays open: whoever opened it closes it. */
export function openKafkaLog(cluster: KafkaJsCluster, options: { readonly prefix: string }): KafkaChangeLog {
  return new KafkaChangeLog(cluster, options.prefix);
}

export class KafkaChangeLog implements ChangeLog {
  readonly #cluster: KafkaJsCluster;
  readonly #prefix: string;
  readonly #topics = new Map<string, Promise<KafkaTopic>>();
  #closed = false;

  constructor(cluster: KafkaJsCluster, prefix: string) {
    this.#cluster = cluster;
    this.#prefix = prefix;
  }

  async topic(name: string, options: { readonly partitions: number }): Promise<KafkaTopic> {
    if (this.#closed) throw new PipelineError('CF-3001', `topic ${name} cannot be opened: the log was closed`);
    let opening = this.#topics.get(name);
    if (opening === undefined) {
      opening = KafkaTopic.open(this.#cluster, { name, prefix: this.#prefix, partitions: options.partitions });
      this.#topics.set(name, opening);
      opening.catch(() => this.#topics.delete(name));
    }
    const topic = await opening;
    if (topic.partitions !== options.partitions) {
      throw new PipelineError('CF-3002', `topic ${name} has ${topic.partitions} partitions, not ${options.partitions}`);
    }
    return topic;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const opening = [...this.#topics.values()];
    await Promise.all(opening.map(async (topic) => (await topic.catch(() => undefined))?.close()));
  }
}
