/**
 * What the Kafka side of the log needs of a cluster. Guarantee: `produce` resolves only when every batch is acknowledged by all in-sync
 * replicas, each batch stored in one piece and in the order of calls per partition; it is never repeated inside, so what is ambiguous
 * fails and is settled by whoever reads the order again.
 */
import type { Offset } from '../change-log.ts';

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface KafkaHeader {
  readonly name: string;
  readonly value: Buffer;
}

/** Encoded records of one batch (Kafka's record format v2), made by a RecordsBuilder. */
export interface KafkaRecords {
  readonly count: number;
  readonly bytes: number;
  readonly parts: readonly Buffer[];
}

export interface ProduceBatch extends TopicPartition {
  readonly records: KafkaRecords;
}

export interface Produced extends TopicPartition {
  readonly baseOffset: Offset;
}

export interface FetchedRecord {
  readonly offset: Offset;
  readonly key: Buffer | undefined;
  readonly value: Buffer | undefined;
  /** Undefined when there is none of that name. */
  header(name: string): Buffer | undefined;
}

/** Records as they were stored together, still packed: what waits in memory is what came over the network. */
export interface FetchedBatch {
  /** As it is held. */
  readonly bytes: number;
  readonly nextOffset: Offset;
  /** Unpacks it; those at or above the offset that was sought. @throws PipelineError CF-3002 when it cannot be inflated. */
  records(): readonly FetchedRecord[];
}

export interface Fetched extends TopicPartition {
  readonly batches: readonly FetchedBatch[];
  /** Where reading goes on. */
  readonly next: Offset;
}

export interface Fetcher {
  /** Reads this partition from `offset` on (again). */
  seek(place: TopicPartition, offset: Offset): void;
  drop(place: TopicPartition): void;
  /** A paused partition brings nothing until resumed. */
  pause(place: TopicPartition): void;
  resume(place: TopicPartition): void;
  /**
   * Waits for records; undefined once `signal` fired. Connection trouble is retried inside with back-off (reading is harmless).
   * @throws PipelineError CF-3003 when an offset was removed by retention or lies beyond the end.
   */
  next(signal: AbortSignal): Promise<readonly Fetched[] | undefined>;
  close(): Promise<void>;
}

export interface TopicSettings {
  readonly partitions: number;
}

export interface KafkaCluster {
  /** Creates it as it has to be, or checks that it is. @throws PipelineError CF-3002 when its partition count or clean-up policy differs. */
  ensureTopics(topics: ReadonlyMap<string, TopicSettings>): Promise<void>;
  /** Names of all topics that begin so. */
  topics(prefix: string): Promise<readonly string[]>;
  /** First offset kept and first not yet written, per partition. */
  bounds(topic: string): Promise<readonly { readonly start: Offset; readonly end: Offset }[]>;
  /** Bytes of the largest batch that it takes, as it is set up now; Infinity where that may not be asked. */
  batchBytesMax(topic: string): Promise<number>;
  /** @throws PipelineError CF-3001 (unreachable, refused), CF-3005 (a record is larger than the broker takes; names the setting). */
  produce(batches: readonly ProduceBatch[]): Promise<readonly Produced[]>;
  fetcher(): Promise<Fetcher>;
  /** Removes records below `before` (DeleteRecords). */
  trim(place: TopicPartition, before: Offset): Promise<void>;
  close(): Promise<void>;
}
