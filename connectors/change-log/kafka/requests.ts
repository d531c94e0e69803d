/**
 * The requests that kafkajs would encode record by record: Produce and Fetch. Guarantee: the bytes are those of the protocol's
 * versions named here (Kafka 2.3 and later); record batches pass through unread.
 */
import type { ProduceBatch, TopicPartition } from './cluster.ts';
import type { WireRequest } from './connection.ts';

const ACKS_ALL = -1;
/** The broker gives up before we do, so its reason is heard. */
const PRODUCE_TIMEOUT_MS = 20_000;

export interface PartitionProduced extends TopicPartition {
  readonly errorCode: number;
  readonly baseOffset: number;
}

/** Version 7. At most one batch a partition. */
export function produceRequest(batches: readonly ProduceBatch[]): WireRequest<readonly PartitionProduced[]> {
  const size = batches.reduce((sum, { topic, records }) => sum + Buffer.byteLength(topic) + records.bytes + 18, 16);
  const writer = new Writer(size);
  writer.int16(-1); // no transaction
  writer.int16(ACKS_ALL);
  writer.int32(PRODUCE_TIMEOUT_MS);
  const topics = byTopic(batches);
  writer.int32(topics.size);
  for (const [topic, entries] of topics) {
    writer.text(topic);
    writer.int32(entries.length);
    for (const { partition, records } of entries) {
      writer.int32(partition);
      writer.int32(records.bytes);
      for (const part of records.parts) writer.bytes(part);
    }
  }
  return { apiKey: 0, apiVersion: 7, apiName: 'Produce', body: writer.taken(), read: readProduced };
}

function readProduced(answer: Buffer): readonly PartitionProduced[] {
  const reader = new AnswerReader(answer);
  return reader.topics((topic) => {
    const partition = reader.int32();
    const errorCode = reader.int16();
    const baseOffset = reader.int64();
    reader.skip(16); // log append time, log start offset
    return { topic, partition, errorCode, baseOffset };
  });
}

export interface ProducerIdentity {
  readonly errorCode: number;
  readonly producerId: bigint;
  readonly epoch: number;
}

/** InitProducerId, version 1: an identity that nobody else has. */
export function identityRequest(): WireRequest<ProducerIdentity> {
  const writer = new Writer(6);
  writer.int16(-1); // no transaction
  writer.int32(0);
  const read = (answer: Buffer): ProducerIdentity => {
    return { errorCode: answer.readInt16BE(4), producerId: answer.readBigInt64BE(6), epoch: answer.readInt16BE(14) };
  };
  return { apiKey: 22, apiVersion: 1, apiName: 'InitProducerId', body: writer.taken(), read };
}

export interface FetchPlace extends TopicPartition {
  readonly offset: number;
}

export interface FetchLimits {
  readonly waitMs: number;
  readonly partitionBytes: number;
  readonly answerBytes: number;
}

export interface PartitionFetched extends TopicPartition {
  readonly errorCode: number;
  readonly highWatermark: number;
  readonly logStart: number;
  readonly records: Buffer;
}

export interface FetchAnswer {
  readonly errorCode: number;
  readonly partitions: readonly PartitionFetched[];
}

/** Version 11, without a fetch session. */
export function fetchRequest(places: readonly FetchPlace[], limits: FetchLimits): WireRequest<FetchAnswer> {
  const writer = new Writer(places.reduce((sum, { topic }) => sum + Buffer.byteLength(topic) + 34, 64));
  writer.int32(-1); // a consumer
  writer.int32(limits.waitMs);
  writer.int32(1); // at least one byte
  writer.int32(limits.answerBytes);
  writer.int8(0); // read uncommitted: nobody writes our topics in transactions
  writer.int32(0);
  writer.int32(-1); // no session
  const topics = byTopic(places);
  writer.int32(topics.size);
  for (const [topic, entries] of topics) {
    writer.text(topic);
    writer.int32(entries.length);
    for (const { partition, offset } of entries) {
      writer.int32(partition);
      writer.int32(-1); // leader epoch: any
      writer.int64(offset);
      writer.int64(-1);
      writer.int32(limits.partitionBytes);
    }
  }
  writer.int32(0);
  writer.text(''); // no rack: always the leader
  return { apiKey: 1, apiVersion: 11, apiName: 'Fetch', body: writer.taken(), read: readFetched, holdMs: limits.waitMs };
}

function readFetched(answer: Buffer): FetchAnswer {
  const reader = new AnswerReader(answer);
  reader.skip(4);
  const errorCode = reader.int16();
  reader.skip(4);
  const partitions = reader.topics((topic) => {
    const partition = reader.int32();
    const code = reader.int16();
    const highWatermark = reader.int64();
    reader.skip(8); // last stable offset
    const logStart = reader.int64();
    const aborted = reader.int32();
    if (aborted > 0) reader.skip(aborted * 16);
    reader.skip(4); // preferred replica
    return { topic, partition, errorCode: code, highWatermark, logStart, records: reader.bytes() };
  });
  return { errorCode, partitions };
}

/** The first offset kept, and the first not yet visible. */
export const OFFSET_OF = { start: -2, end: -1 } as const;

export interface PartitionOffset extends TopicPartition {
  readonly errorCode: number;
  readonly offset: number;
}

/** ListOffsets, version 3. */
export function offsetsRequest(places: readonly TopicPartition[], which: number): WireRequest<readonly PartitionOffset[]> {
  const writer = new Writer(places.reduce((sum, { topic }) => sum + Buffer.byteLength(topic) + 18, 16));
  writer.int32(-1); // a consumer
  writer.int8(0);
  const topics = byTopic(places);
  writer.int32(topics.size);
  for (const [topic, entries] of topics) {
    writer.text(topic);
    writer.int32(entries.length);
    for (const { partition } of entries) {
      writer.int32(partition);
      writer.int64(which);
    }
  }
  return { apiKey: 2, apiVersion: 3, apiName: 'ListOffsets', body: writer.taken(), read: readOffsets };
}

function readOffsets(answer: Buffer): readonly PartitionOffset[] {
  const reader = new AnswerReader(answer);
  reader.skip(4);
  return reader.topics((topic) => {
    const partition = reader.int32();
    const errorCode = reader.int16();
    reader.skip(8); // timestamp
    return { topic, partition, errorCode, offset: reader.int64() };
  });
}

export interface PartitionSize extends TopicPartition {
  readonly bytes: number;
}

/** DescribeLogDirs, version 1: what one broker holds of a topic. */
export function sizesRequest(topic: string, partitions: number): WireRequest<readonly PartitionSize[]> {
  const writer = new Writer(Buffer.byteLength(topic) + 4 * partitions + 16);
  writer.int32(1);
  writer.text(topic);
  writer.int32(partitions);
  for (let partition = 0; partition < partitions; partition += 1) writer.int32(partition);
  return { apiKey: 35, apiVersion: 1, apiName: 'DescribeLogDirs', body: writer.taken(), read: readSizes };
}

function readSizes(answer: Buffer): readonly PartitionSize[] {
  const reader = new AnswerReader(answer);
  const all: PartitionSize[] = [];
  reader.skip(4);
  for (let directories = reader.int32(); directories > 0; directories -= 1) {
    reader.skip(2);
    reader.text();
    const sizes = reader.topics((topic) => {
      const partition = reader.int32();
      const bytes = reader.int64();
      reader.skip(9); // lag, and whether it is being moved here
      return { topic, partition, bytes };
    });
    all.push(...sizes);
  }
  return all;
}

function byTopic<T extends TopicPartition>(entries: readonly T[]): ReadonlyMap<string, readonly T[]> {
  return Map.groupBy(entries, (entry) => entry.topic);
}

/** Big endian, into a buffer that is large enough from the start. */
class Writer {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
  }

  int8(value: number): void {
    this.#at = this.#buffer.writeInt8(value, this.#at);
  }

  int16(value: number): void {
    this.#at = this.#buffer.writeInt16BE(value, this.#at);
  }

  int32(value: number): void {
    this.#at = this.#buffer.writeInt32BE(value, this.#at);
  }

  int64(value: number): void {
    this.#at = this.#buffer.writeBigInt64BE(BigInt(value), this.#at);
  }

  text(value: string): void {
    this.int16(Buffer.byteLength(value));
    this.#at += this.#buffer.write(value, this.#at);
  }

  bytes(value: Buffer): void {
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  taken(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }
}

const NOTHING = Buffer.alloc(0);

class AnswerReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** `topic => [partition]` arrays, flat. */
  topics<T>(partition: (topic: string) => T): T[] {
    const all: T[] = [];
    for (let topics = this.int32(); topics > 0; topics -= 1) {
      const topic = this.text();
      for (let partitions = this.int32(); partitions > 0; partitions -= 1) all.push(partition(topic));
    }
    return all;
  }

  int16(): number {
    this.#at += 2;
    return this.#buffer.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#buffer.readInt32BE(this.#at - 4);
  }

  int64(): number {
    this.#at += 8;
    return Number(this.#buffer.readBigInt64BE(this.#at - 8));
  }

  text(): string {
    const length = this.int16();
    this.#at += length;
    return this.#buffer.toString('utf8', this.#at - length, this.#at);
  }

  bytes(): Buffer {
    const length = this.int32();
    if (length <= 0) return NOTHING;
    this.#at += length;
    return this.#buffer.subarray(this.#at - length, this.#at);
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }
}
