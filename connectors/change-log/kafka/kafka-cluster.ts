/**
 * The port of cluster.ts over kafkajs. Guarantee: that of the port; everything opened here ends with `close`.
 */
import type { Admin, Kafka } from 'kafkajs';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { Offset } from '../change-log.ts';
import { openKafkaClient, REQUEST_TIMEOUT_MS, type ClientOptions, type KafkaClient, type KafkaLog } from './client.ts';
import type { Fetched, Fetcher, KafkaCluster, ProduceBatch, Produced, TopicPartition, TopicSettings } from './cluster.ts';
import { Connections } from './connection.ts';
import { FetchSession, type FetchOptions } from './fetch-session.ts';
import { kafkaError, patiently } from './kafka-error.ts';
import { boundsOf } from './offsets.ts';
import { Producer } from './producer.ts';
import { nameOf } from './place-name.ts';
import { readBatches, type StoredBatch } from './record-reader.ts';
import { batchBytesMax, ensureTopics, listTopics } from './topics.ts';

/** @throws PipelineError CF-3001 when no broker answers, CF-3006 when they refuse us. */
export async function openKafkaCluster(settings: KafkaSettings, options: ClientOptions): Promise<KafkaJsCluster> {
  const client = await openKafkaClient(settings, options);
  const admin = client.kafka.admin();
  try {
    await admin.connect();
  } catch (error) {
    await admin.disconnect().catch(() => undefined);
    throw kafkaError(error, `connecting to ${settings.brokers.join(', ')}`);
  }
  return new KafkaJsCluster(client, { admin, settings, logger: options.logger });
}

interface Parts {
  readonly admin: Admin;
  readonly settings: KafkaSettings;
  readonly logger: KafkaLog;
}

export class KafkaJsCluster implements KafkaCluster {
  readonly #client: KafkaClient;
  readonly #parts: Parts;
  readonly #producer: Producer;
  /** For what is asked and answered at once. */
  readonly #questions: Connections;
  /** A closed one stays in it: closing twice does nothing. */
  readonly #open = new Set<{ close(): unknown }>();

  constructor(client: KafkaClient, parts: Parts) {
    this.#client = client;
    this.#parts = parts;
    this.#producer = this.producer();
    this.#questions = this.connections();
  }

  /** For consumer groups, which kafkajs does itself. */
  get kafka(): Kafka {
    return this.#client.kafka;
  }

  get admin(): Admin {
    return this.#parts.admin;
  }

  ensureTopics(topics: ReadonlyMap<string, TopicSettings>): Promise<void> {
    const { admin, logger, settings } = this.#parts;
    return ensureTopics(topics, { admin, connections: this.#questions, logger, replicationFactor: settings.replicationFactor });
  }

  async topics(prefix: string): Promise<readonly string[]> {
    return (await listTopics(this.#parts.admin)).filter((name) => name.startsWith(prefix));
  }

  async bounds(topic: string): Promise<readonly { readonly start: Offset; readonly end: Offset }[]> {
    return (await boundsOf([topic], this.#questions)).get(topic) ?? [];
  }

  batchBytesMax(topic: string): Promise<number> {
    return batchBytesMax(topic, this.#parts);
  }

  produce(batches: readonly ProduceBatch[]): Promise<readonly Produced[]> {
    return this.#producer.produce(batches);
  }

  /** One of its own: what fails there fails nobody here. */
  producer(): Producer {
    return this.#own(new Producer(this.#client, this.#parts.logger));
  }

  async fetcher(): Promise<Fetcher> {
    return new RecordFetcher(
      this.session((bytes, from, place) => {
        const { batches, next } = readBatches(bytes, from, place);
        return { value: batches, next };
      }),
    );
  }

  session<T>(read: FetchOptions<T>['read'], onBounds?: FetchOptions<T>['onBounds']): FetchSession<T> {
    return this.#own(
      new FetchSession<T>({
        client: this.#client,
        logger: this.#parts.logger,
        read,
        ...(onBounds !== undefined && { onBounds }),
        outside: (place, offset) => this.#outside(place, offset),
      }),
    );
  }

  /** Connections of one's own, for what the port does not offer. */
  connections(): Connections {
    return this.#own(new Connections(this.#client, REQUEST_TIMEOUT_MS));
  }

  async trim(place: TopicPartition, before: Offset): Promise<void> {
    const { topic, partition } = place;
    const { admin } = this.#parts;
    await patiently(`trimming ${nameOf(place)}`, async () => {
      await admin.fetchTopicOffsets(topic); // kafkajs looks the leader up in what it knows already
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
    });
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#open].map((each) => each.close()));
    await this.#parts.admin.disconnect();
  }

  async #outside(place: TopicPartition, offset: Offset): Promise<PipelineError> {
    const kept = await this.bounds(place.topic).then(
      (bounds) => bounds[place.partition],
      () => undefined,
    );
    const range = kept === undefined ? '' : `: it holds ${kept.start} to ${kept.end}`;
    return new PipelineError('CF-3003', `${nameOf(place)} does not hold offset ${offset}${range}`, {
      details: { ...place, offset, ...kept },
    });
  }

  #own<T extends { close(): unknown }>(closable: T): T {
    this.#open.add(closable);
    return closable;
  }
}

class RecordFetcher implements Fetcher {
  readonly #session: FetchSession<readonly StoredBatch[]>;

  constructor(session: FetchSession<readonly StoredBatch[]>) {
    this.#session = session;
  }

  seek(place: TopicPartition, offset: Offset): void {
    this.#session.seek(place, offset);
  }

  drop(place: TopicPartition): void {
    this.#session.drop(place);
  }

  pause(place: TopicPartition): void {
    this.#session.pause(place);
  }

  resume(place: TopicPartition): void {
    this.#session.resume(place);
  }

  async next(signal: AbortSignal): Promise<readonly Fetched[] | undefined> {
    const got = await this.#session.next(signal);
    return got?.map(({ topic, partition, value, next }) => ({ topic, partition, batches: value, next }));
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}
