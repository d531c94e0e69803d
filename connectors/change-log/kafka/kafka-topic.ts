/**
 * One topic of the change log port over Kafka. Guarantee: that of the port's `Topic`; `start` and `end` never run ahead of what the
 * broker has told, and follow it with every append and fetch, and with `refresh`.
 */
import { invariant, PipelineError } from '#schemas/errors.ts';
import type { Cursor, Offset, RecordBatch, Topic } from '../change-log.ts';
import { partitionOf } from '../partitioner.ts';
import { Appender, type Appended } from './appender.ts';
import { GroupOffsets } from './group-offsets.ts';
import type { KafkaJsCluster } from './kafka-cluster.ts';
import { KafkaCursor } from './kafka-cursor.ts';
import type { Producer } from './producer.ts';
import { sizesRequest } from './requests.ts';

export interface KafkaTopicOptions {
  readonly name: string;
  readonly prefix: string;
  readonly partitions: number;
}

/** What is known of a partition. */
export interface Bounds {
  start: Offset;
  end: Offset;
  /** Bytes of `sampled` records, from which the rest is estimated. */
  bytes: number;
  sampled: number;
}

export class KafkaTopic implements Topic {
  readonly name: string;
  readonly #kafkaName: string;
  readonly #cluster: KafkaJsCluster;
  readonly #bounds: readonly Bounds[];
  readonly #producer: Producer;
  readonly #appenders: readonly Appender[];
  readonly #groups: GroupOffsets;
  readonly #cursors = new Set<KafkaCursor>();
  #closed = false;

  private constructor(cluster: KafkaJsCluster, options: KafkaTopicOptions & { readonly groups: GroupOffsets }) {
    this.name = options.name;
    this.#kafkaName = kafkaNameOf(options);
    this.#cluster = cluster;
    this.#groups = options.groups;
    this.#bounds = Array.from({ length: options.partitions }, () => ({ start: 0, end: 0, bytes: 0, sampled: 0 }));
    this.#producer = cluster.producer();
    this.#appenders = this.#bounds.map((bounds, partition) => new Appender(this.#producer, { topic: this.#kafkaName, partition, bounds }));
  }

  static async open(cluster: KafkaJsCluster, options: KafkaTopicOptions): Promise<KafkaTopic> {
    const topic = kafkaNameOf(options);
    await cluster.ensureTopics(new Map([[topic, { partitions: options.partitions }]]));
    const groups = await GroupOffsets.open(cluster, { prefix: options.prefix, topic });
    const opened = new KafkaTopic(cluster, { ...options, groups });
    await opened.refresh();
    await opened.#measure();
    return opened;
  }

  get partitions(): number {
    return this.#bounds.length;
  }

  append(partition: number, batch: RecordBatch): Promise<Appended> {
    const appender = this.#appenders[partition];
    invariant(appender !== undefined, `topic ${this.name} has no partition ${partition}`);
    if (this.#closed) return Promise.reject(new PipelineError('CF-3001', `topic ${this.name} was closed`));
    return appender.append(batch);
  }

  partitionFor(key: Buffer): number {
    return partitionOf(key, this.partitions);
  }

  start(partition: number): Offset {
    return this.#of(partition).start;
  }

  end(partition: number): Offset {
    return this.#of(partition).end;
  }

  read(partition: number, from: Offset): Cursor {
    const bounds = this.#of(partition);
    if (!Number.isSafeInteger(from) || from < bounds.start || from > bounds.end) throw this.#outside(partition, from);
    const cursor = new KafkaCursor(this.#cluster, {
      place: { topic: this.#kafkaName, partition },
      from,
      bounds,
      refresh: () => this.refresh(),
      onClose: () => this.#cursors.delete(cursor),
    });
    this.#cursors.add(cursor);
    return cursor;
  }

  async commit(group: string, partition: number, offset: Offset): Promise<void> {
    const bounds = this.#of(partition);
    if (offset > bounds.end) await this.refresh();
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > bounds.end) throw this.#outside(partition, offset);
    await this.#groups.commit(group, partition, offset);
  }

  committed(group: string, partition: number): Offset | undefined {
    return this.#groups.committed(group, partition);
  }

  async trim(partition: number, before: Offset): Promise<void> {
    const bounds = this.#of(partition);
    const to = Math.min(before, bounds.end);
    if (to <= bounds.start) return;
    await this.#cluster.trim({ topic: this.#kafkaName, partition }, to);
    bounds.start = Math.max(bounds.start, to);
  }

  /** Estimated from what the broker said when the topic was opened and from what was appended here since. */
  size(): number {
    return this.#bounds.reduce((sum, { start, end, bytes, sampled }) => sum + (sampled === 0 ? 0 : (bytes / sampled) * (end - start)), 0);
  }

  /** Asks the brokers for start and end: what other processes appended or trimmed counts from then on. */
  async refresh(): Promise<void> {
    const told = await this.#cluster.bounds(this.#kafkaName);
    for (const [partition, { start, end }] of told.entries()) {
      const bounds = this.#of(partition);
      bounds.start = Math.max(bounds.start, start);
      bounds.end = Math.max(bounds.end, end);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#producer.close();
    this.#groups.close();
    await Promise.all([...this.#cursors].map((cursor) => cursor.close()));
  }

  /** Some brokers keep it to themselves; then only what is appended here is known. */
  async #measure(): Promise<void> {
    const connections = this.#cluster.connections();
    try {
      await connections.know([this.#kafkaName]);
      const leaders = new Set(this.#bounds.map((_, partition) => connections.leader(this.#kafkaName, partition)));
      for (const leader of leaders) {
        if (leader === undefined) continue;
        const { answer } = await connections.send(leader, sizesRequest(this.#kafkaName, this.partitions));
        for (const { topic, partition, bytes } of await answer) {
          if (topic !== this.#kafkaName || connections.leader(topic, partition) !== leader) continue;
          const bounds = this.#of(partition);
          bounds.bytes += bytes;
          bounds.sampled += bounds.end - bounds.start;
        }
      }
    } catch {
      // An estimate for a gauge is not worth an error.
    } finally {
      connections.close();
    }
  }

  #outside(partition: number, offset: Offset): PipelineError {
    const { start, end } = this.#of(partition);
    return new PipelineError(
      'CF-3003',
      `topic ${this.name}, partition ${partition}, does not hold offset ${offset}: it holds ${start} to ${end}`,
    );
  }

  #of(partition: number): Bounds {
    const bounds = this.#bounds[partition];
    invariant(bounds !== undefined, `topic ${this.name} has no partition ${partition}`);
    return bounds;
  }
}

function kafkaNameOf({ prefix, name }: { readonly prefix: string; readonly name: string }): string {
  return `${prefix}.${name}`;
}
