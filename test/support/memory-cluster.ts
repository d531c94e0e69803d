/**
 * Kafka in memory, for simulating what is built on it. Guarantee: keeps the promises of connectors/change-log/kafka/cluster.ts and no
 * more: with a seed, batches are stored and answered in any order that they allow, a produce that fails stores any part of its batches,
 * at once or later, and a crash leaves what was under way stored or not. One seed gives one history.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type {
  FetchedRecord,
  Fetcher,
  KafkaCluster,
  ProduceBatch,
  Produced,
  TopicPartition,
  TopicSettings,
} from '#connectors/change-log/kafka/cluster.ts';
import { readRecords } from '#connectors/change-log/kafka/record-reader.ts';
import { PipelineError } from '#schemas/errors.ts';
import { MemoryFetcher, type MemoryPartition } from './memory-fetcher.ts';
import type { Random } from './random.ts';

/** What becomes of one produce call. */
export interface Fate {
  readonly answer: 'acknowledged' | 'error';
  /** Of a call that fails: which batches are stored all the same. */
  readonly stores?: (batch: ProduceBatch) => boolean;
  /** CF-3001 unless told. */
  readonly error?: PipelineError;
}

export interface MemoryKafkaOptions {
  /** Absent: everything is stored at once and answered in a later turn. */
  readonly random?: Random;
  /** Share of produce calls that fail by themselves; needs `random`. */
  readonly failureRate?: number;
  /** Decides about a produce call by its number (from 0, over all clients); undefined: as it comes. */
  readonly fate?: (call: { readonly number: number; readonly batches: readonly ProduceBatch[] }) => Fate | undefined;
  /** Bytes of the largest batch that a topic takes. */
  readonly batchBytesMax?: (topic: string) => number;
  /** Records that one fetch brings of one partition at most. */
  readonly fetchRecordsMax?: number;
}

interface Call {
  readonly client: MemoryCluster;
  readonly batches: readonly ProduceBatch[];
  readonly offsets: (Offset | undefined)[];
  readonly fate: Fate | undefined;
  readonly resolve: (produced: readonly Produced[]) => void;
  readonly reject: (error: PipelineError) => void;
}

/** The brokers: what clients share, and what outlives them. */
export class MemoryKafka {
  readonly #options: MemoryKafkaOptions;
  readonly #topics = new Map<string, MemoryPartition[]>();
  readonly #calls: Call[] = [];
  /** Of failed calls: on their way, perhaps. */
  readonly #late: ProduceBatch[] = [];
  readonly #watchers = new Set<() => void>();
  #produced = 0;
  #isPumping = false;

  constructor(options: MemoryKafkaOptions = {}) {
    this.#options = options;
  }

  client(): MemoryCluster {
    return new MemoryCluster(this);
  }

  /** All records kept of a partition. */
  records(topic: string, partition = 0): readonly FetchedRecord[] {
    const { records, start } = this.partition({ topic, partition });
    return records.slice(start);
  }

  /** All that were ever stored in it, for who compares. */
  stored(topic: string, partition = 0): readonly FetchedRecord[] {
    return this.partition({ topic, partition }).records;
  }

  ensureTopic(topic: string, { partitions }: TopicSettings): void {
    const known = this.#topics.get(topic);
    if (known === undefined)
      this.#topics.set(
        topic,
        Array.from({ length: partitions }, () => ({ start: 0, records: [] })),
      );
    else if (known.length !== partitions)
      throw new PipelineError('CF-3002', `topic ${topic} has ${known.length} partitions instead of ${partitions}`);
  }

  topics(): readonly string[] {
    return [...this.#topics.keys()];
  }

  batchBytesMax(topic: string): number {
    return this.#options.batchBytesMax?.(topic) ?? Infinity;
  }

  partitions(topic: string): readonly MemoryPartition[] {
    const partitions = this.#topics.get(topic);
    if (partitions === undefined) throw new PipelineError('CF-3001', `topic ${topic} does not exist`);
    return partitions;
  }

  partition({ topic, partition }: TopicPartition): MemoryPartition {
    const found = this.partitions(topic)[partition];
    if (found === undefined) throw new PipelineError('CF-3001', `topic ${topic} has no partition ${partition}`);
    return found;
  }

  /** Called whenever something was stored. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  produce(client: MemoryCluster, batches: readonly ProduceBatch[]): Promise<readonly Produced[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Produced[]>();
    const fate = this.#options.fate?.({ number: this.#produced++, batches }) ?? this.#tooLarge(batches) ?? this.#chance();
    this.#calls.push({ client, batches, offsets: batches.map(() => undefined), fate, resolve, reject });
    this.#pump();
    return promise;
  }

  #tooLarge(batches: readonly ProduceBatch[]): Fate | undefined {
    const large = batches.find(({ topic, records }) => records.bytes > this.batchBytesMax(topic));
    if (large === undefined) return undefined;
    return { answer: 'error', error: new PipelineError('CF-3005', `a batch for ${large.topic} is too large`) };
  }

  /** The client is gone; of what it had under way any part may have been stored. */
  crash(client: MemoryCluster): void {
    for (const call of this.#calls.filter((other) => other.client === client)) this.#abandon(call);
  }

  #chance(): Fate | undefined {
    const { random, failureRate = 0 } = this.#options;
    if (random === undefined || failureRate === 0 || !random.chance(failureRate)) return undefined;
    return { answer: 'error', stores: () => random.chance(0.5) };
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    setImmediate(() => {
      this.#isPumping = false;
      if (this.#options.random === undefined) for (const call of this.#calls.slice()) this.#finish(call);
      else this.#step(this.#options.random);
      if (this.#calls.length + this.#late.length > 0) this.#pump();
    });
  }

  #step(random: Random): void {
    const pick = <T>(from: readonly T[]): T | undefined => (from.length === 0 ? undefined : from[random.between(0, from.length - 1)]);
    if (this.#late.length > 0 && random.chance(0.3)) {
      const [late] = this.#late.splice(random.between(0, this.#late.length - 1), 1);
      if (random.chance(0.5)) this.#store(late!);
    }
    const call = pick(this.#calls);
    if (call === undefined) return;
    if (random.chance(0.6)) this.#storeNext(call);
    else if (call === this.#calls.find((other) => other.client === call.client)) {
      if (call.fate !== undefined || call.offsets.every((offset) => offset !== undefined)) this.#finish(call);
    }
  }

  /** The first batch that is not stored and that no earlier call's batch of the same partition has to precede. */
  #storeNext(call: Call): void {
    if (call.fate?.answer === 'error') return;
    const before = this.#calls.slice(0, this.#calls.indexOf(call)).filter((other) => other.client === call.client);
    const index = call.offsets.indexOf(undefined);
    const batch = call.batches[index];
    if (batch === undefined || before.some((other) => other.batches.some((b, i) => isSame(b, batch) && other.offsets[i] === undefined)))
      return;
    call.offsets[index] = this.#store(batch);
  }

  #finish(call: Call): void {
    if (!this.#calls.includes(call)) return;
    if (call.fate?.answer === 'error') {
      const error = call.fate.error ?? new PipelineError('CF-3001', 'the produce request was not answered');
      this.#fail(call, error);
      return;
    }
    call.batches.forEach((batch, i) => (call.offsets[i] ??= this.#store(batch)));
    this.#calls.splice(this.#calls.indexOf(call), 1);
    call.resolve(call.batches.map(({ topic, partition }, i) => ({ topic, partition, baseOffset: call.offsets[i]! })));
  }

  /** Calls begun behind one that fails fail too. */
  #fail(call: Call, error: PipelineError): void {
    const behind = this.#calls.slice(this.#calls.indexOf(call) + 1).filter((other) => other.client === call.client);
    for (const failed of [call, ...behind]) {
      this.#abandon(failed);
      failed.reject(error);
    }
  }

  #abandon(call: Call): void {
    this.#calls.splice(this.#calls.indexOf(call), 1);
    const { random } = this.#options;
    call.batches.forEach((batch, i) => {
      if (call.offsets[i] !== undefined) return;
      if (call.fate?.stores !== undefined) {
        if (call.fate.stores(batch)) this.#store(batch);
      } else if (random?.chance(0.5) === true) this.#store(batch);
      else if (random?.chance(0.3) === true) this.#late.push(batch);
    });
    if (this.#late.length > 0) this.#pump();
  }

  #store({ topic, partition, records }: ProduceBatch): Offset {
    const place = this.partition({ topic, partition });
    const baseOffset = place.records.length;
    const bytes = Buffer.concat(records.parts);
    bytes.writeBigInt64BE(BigInt(baseOffset), 0);
    const read = readRecords(bytes, baseOffset, { topic, partition });
    if (read.records.length !== records.count) throw new Error(`a batch of ${records.count} records holds ${read.records.length}`);
    place.records.push(...read.records);
    for (const watcher of this.#watchers) watcher();
    return baseOffset;
  }

  get random(): Random | undefined {
    return this.#options.random;
  }

  get fetchRecordsMax(): number {
    return this.#options.fetchRecordsMax ?? 500;
  }
}

/** One process's connection. */
export class MemoryCluster implements KafkaCluster {
  readonly #kafka: MemoryKafka;
  #isCrashed = false;

  constructor(kafka: MemoryKafka) {
    this.#kafka = kafka;
  }

  /** The process dies: nothing that it waits for comes. */
  crash(): void {
    this.#isCrashed = true;
    this.#kafka.crash(this);
  }

  ensureTopics(topics: ReadonlyMap<string, TopicSettings>): Promise<void> {
    return this.#alive(() => topics.forEach((settings, topic) => this.#kafka.ensureTopic(topic, settings)));
  }

  topics(prefix: string): Promise<readonly string[]> {
    return this.#alive(() => this.#kafka.topics().filter((topic) => topic.startsWith(prefix)));
  }

  batchBytesMax(topic: string): Promise<number> {
    return this.#alive(() => this.#kafka.batchBytesMax(topic));
  }

  bounds(topic: string): Promise<readonly { readonly start: Offset; readonly end: Offset }[]> {
    return this.#alive(() => this.#kafka.partitions(topic).map(({ start, records }) => ({ start, end: records.length })));
  }

  produce(batches: readonly ProduceBatch[]): Promise<readonly Produced[]> {
    if (this.#isCrashed) return new Promise(() => undefined);
    return this.#kafka.produce(this, batches);
  }

  fetcher(): Promise<Fetcher> {
    return this.#alive(() => new MemoryFetcher(this.#kafka, () => this.#isCrashed));
  }

  trim(place: TopicPartition, before: Offset): Promise<void> {
    return this.#alive(() => {
      const partition = this.#kafka.partition(place);
      const end = partition.records.length;
      if (before > end) throw new PipelineError('CF-3003', `${before} lies above the end of ${place.topic}`);
      if (before <= partition.start) return;
      partition.start = before;
    });
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }

  /** Answers in a later turn, as a network does. */
  #alive<T>(answer: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        if (this.#isCrashed) return;
        try {
          resolve(answer());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

function isSame(a: TopicPartition, b: TopicPartition): boolean {
  return a.topic === b.topic && a.partition === b.partition;
}
