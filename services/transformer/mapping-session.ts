/**
 * Maps the raw partitions held, from their last claims on, until something fails. Guarantee: of each partition every record is mapped, in
 * order, from the last claim of this very mapping there was when the partition was taken up (else from its beginning); a partition given away and taken again begins at its claims again.
 *
 * Fetched records are mapped while the last produce is under way (outbox.ts). It is no matter who else maps the same partition: a second
 * copy of a mapped record is a repeat to its reader, and both claims are true.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Fetched, FetchedBatch, FetchedRecord, Fetcher, KafkaCluster, TopicPartition } from '#connectors/change-log/kafka/cluster.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Compression } from '#connectors/change-log/kafka/record-batch.ts';
import { recordsIn, ViewedRecord } from '#connectors/change-log/kafka/record-reader.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { Claim, TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import type { ClaimIndex } from './claim-index.ts';
import type { MappingLimits } from './limits.ts';
import type { EventMapper, MapOutcome, MappedRecord } from './map-event.ts';
import { LimitOutdated } from './mapped-topic.ts';
import { Outbox, type RawPartition } from './outbox.ts';
import type { OrderTopics } from './order-topics.ts';

export interface SessionOptions {
  readonly cluster: KafkaCluster;
  readonly orderTopic: string;
  readonly claimsTopic: string;
  readonly compression: Compression;
  readonly limits: MappingLimits;
  readonly format: WireFormat;
  readonly claims: ClaimIndex;
  readonly order: OrderTopics;
  /** So many numbers are shared out. */
  readonly numbers: number;
  /** One for each target; none for a raw topic that the mapping does not know: it is not read. */
  readonly mappersOf: (topic: TopicOrderRecord) => readonly EventMapper[];
  readonly onClaimed: (claim: Claim) => void;
  /** A record that was not mapped, and not because of a filter. */
  readonly onOdd: (outcome: 'misfit' | 'foreign' | 'unmapped', mapper: EventMapper) => void;
  /** Reading goes on at `start`, for nothing before it is kept. */
  readonly onRemoved: (place: TopicPartition, start: Offset) => void;
  readonly counts: Record<MapOutcome, number>;
}

interface RawTopic {
  readonly index: number;
  readonly name: string;
  readonly partitions: number;
  readonly mappers: readonly EventMapper[];
}

/** A raw partition on its way to one target. */
interface Way {
  readonly mapper: EventMapper;
  readonly raw: RawPartition;
}

export class MappingSession {
  readonly #options: SessionOptions;
  readonly #outbox: Outbox;
  readonly #broken = new AbortController();
  readonly #topics = new Map<string, RawTopic>();
  /** Taken up: their records are being fetched. */
  readonly #held = new Set<number>();
  #wanted: ReadonlySet<number> = new Set();
  /** Goes up when a number is given away or taken up: what was fetched before does not join what is fetched after. */
  readonly #turns = new Map<number, number>();
  #claimsSinceWhole = 0;
  #fetcher: Fetcher | undefined;
  #failure: Error | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { cluster, claimsTopic, compression, limits } = options;
    this.#outbox = new Outbox({
      cluster,
      claimsTopic,
      claims: options.claims,
      compression,
      limits,
      onFailure: (error) => this.#fail(error),
      finish: (claim) => this.#finish(claim),
      onClaimed: (claim) => {
        options.claims.take(claim);
        options.onClaimed(claim);
      },
    });
  }

  /** The partition numbers that are ours from now on. */
  hold(numbers: readonly number[]): void {
    this.#wanted = new Set(numbers);
    for (const number of this.#held) {
      if (this.#wanted.has(number)) continue;
      this.#held.delete(number);
      this.#turns.set(number, this.#turnOf(number) + 1);
      for (const raw of this.#topics.values()) for (const place of this.#placesOf(raw, number)) this.#fetcher?.drop(place);
    }
    if (numbers.some((number) => !this.#held.has(number))) void this.#takeUp();
  }

  get held(): readonly number[] {
    return [...this.#held];
  }

  /** Resolves once `stop` fired and everything begun is claimed. @throws what broke it; then nothing of it is under way any more. */
  async run(stop: AbortSignal, numbers: readonly number[]): Promise<void> {
    const { cluster, order, orderTopic } = this.#options;
    const ended = AbortSignal.any([stop, this.#broken.signal]);
    this.#fetcher = await cluster.fetcher();
    try {
      for (const topic of order.topics) this.#addTopic(topic);
      this.#fetcher.seek({ topic: orderTopic, partition: 0 }, order.read);
      this.hold(numbers);
      await this.#mapOn(ended);
      if (this.#failure === undefined) await this.#outbox.idle();
    } finally {
      this.#broken.abort();
      this.#outbox.close();
      await this.#fetcher.close();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #mapOn(ended: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.#outbox.room();
        const fetched = await this.#fetcher!.next(ended).catch((error: unknown) => this.#skipRemoved(error));
        if (fetched === undefined) return;
        const turns = fetched.map(({ partition }) => this.#turnOf(partition % this.#options.numbers));
        for (const [i, part] of fetched.entries()) await this.#take(part, turns[i]!, ended);
        this.#outbox.flush();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * What retention took was applied (trim-topics.ts), and a checkpoint in the order says what stood before it. Whatever took it, claims say
   * where mapping has begun: whoever needs what lies below is told so.
   */
  #skipRemoved(error: unknown): readonly Fetched[] {
    if (!(error instanceof PipelineError) || error.code !== 'CF-3003') throw error;
    const { topic, partition, offset, start } = error.details;
    if (typeof topic !== 'string' || typeof partition !== 'number' || typeof start !== 'number' || Number(offset) >= start) throw error;
    const raw = this.#topics.get(topic);
    // Given away while the broker was asked what it holds.
    if (raw !== undefined && !this.#held.has(partition % this.#options.numbers)) return [];
    this.#options.onRemoved({ topic, partition }, start);
    if (raw === undefined) this.#options.order.skip();
    else {
      for (const { tag } of raw.mappers) {
        const place: RawPartition = { topic: raw.index, partition, mapping: tag };
        this.#outbox.begin(place, start);
        // Said at once: there may be nothing to map behind it for long.
        this.#outbox.moved(place, start);
      }
    }
    this.#fetcher!.seek({ topic, partition }, start);
    return [];
  }

  async #take(part: Fetched, fetchedIn: number, ended: AbortSignal): Promise<void> {
    if (part.topic === this.#options.orderTopic) {
      for (const added of this.#options.order.take(recordsIn(part), part.next)) this.#addTopic(added);
      return;
    }
    const raw = this.#topics.get(part.topic);
    const goesOn = (): boolean => !ended.aborted && this.#turnOf(part.partition % this.#options.numbers) === fetchedIn;
    if (raw !== undefined) await this.#map(part, raw, goesOn);
  }

  #turnOf(number: number): number {
    return this.#turns.get(number) ?? 0;
  }

  #addTopic(entry: TopicOrderRecord): void {
    const { index, topic: name, partitions } = entry;
    const mappers = this.#options.mappersOf(entry);
    if (mappers.length === 0) return;
    const topic = { index, name, partitions, mappers };
    this.#topics.set(name, topic);
    for (const number of this.#held) this.#seek(topic, number);
  }

  #seek(raw: RawTopic, number: number): void {
    const { index: topic, mappers } = raw;
    for (const place of this.#placesOf(raw, number)) {
      const ways = mappers.map(({ tag }): RawPartition => ({ topic, partition: place.partition, mapping: tag }));
      // All from where the first of them goes on: what the others have mapped already is a repeat to its reader.
      const offset = Math.min(...ways.map((way) => this.#options.claims.offset(way)));
      for (const way of ways) this.#outbox.begin(way, offset);
      this.#fetcher!.seek(place, offset);
    }
  }

  /** A topic of ours has as many partitions as there are numbers; another's may have more or fewer. */
  #placesOf({ name, partitions }: RawTopic, number: number): readonly TopicPartition[] {
    const places: TopicPartition[] = [];
    for (let partition = number; partition < partitions; partition += this.#options.numbers) places.push({ topic: name, partition });
    return places;
  }

  /** What others mapped before is in their claims; those are read before anything is fetched. */
  async #takeUp(): Promise<void> {
    try {
      await this.#options.claims.catchUp(this.#broken.signal);
    } catch (error) {
      this.#fail(error);
    }
    if (this.#broken.signal.aborted) return;
    for (const number of this.#wanted) {
      if (this.#held.has(number)) continue;
      this.#held.add(number);
      this.#turns.set(number, this.#turnOf(number) + 1);
      for (const topic of this.#topics.values()) this.#seek(topic, number);
    }
  }

  /** What the others claimed meanwhile is read first, beside the mapping. */
  #finish(claim: Claim): Claim {
    const { claims, limits } = this.#options;
    this.#claimsSinceWhole++;
    if (this.#claimsSinceWhole === Math.ceil(limits.wholeClaimEvery / 2)) claims.catchUp(this.#broken.signal).catch(() => undefined);
    if (this.#claimsSinceWhole < limits.wholeClaimEvery) return claim;
    this.#claimsSinceWhole = 0;
    return claims.whole(claim) ?? claim;
  }

  async #map({ partition, batches, next }: Fetched, { index, mappers }: RawTopic, goesOn: () => boolean): Promise<void> {
    for (const { to } of mappers) if (!to.isAsked) await to.ask();
    if (!goesOn()) return;
    const ways = mappers.map((mapper): Way => ({ mapper, raw: { topic: index, partition, mapping: mapper.tag } }));
    const moved = (offset: Offset): void => ways.forEach(({ raw }) => this.#outbox.moved(raw, offset));
    let inSlice = 0;
    for (const record of eachRecord(batches)) {
      for (const way of ways) {
        if (this.#passOn(record, way)) continue;
        for (let bytes = way.mapper.unknown(record); bytes !== undefined; bytes = way.mapper.unknown(record)) {
          await this.#options.format.learn(bytes);
          if (!goesOn()) return;
        }
        if (!this.#look(record, way)) {
          await way.mapper.to.freshly(() => goesOn() && this.#look(record, way));
          if (!goesOn()) return;
        }
      }
      if (++inSlice < this.#options.limits.sliceRecords) continue;
      inSlice = 0;
      moved(record.offset + 1);
      await turn();
      await this.#outbox.room();
      if (!goesOn()) return;
    }
    moved(next);
  }

  /** False when the mapped topic has to be asked first what it takes. */
  #look(record: FetchedRecord, { raw, mapper }: Way): boolean {
    const emit = (mapped: MappedRecord): void => this.#outbox.add(raw, mapper.to, mapped);
    try {
      const outcome = mapper.map(record, { partition: raw.partition, offset: record.offset }, emit);
      this.#options.counts[outcome]++;
      if (outcome !== 'mapped' && outcome !== 'left-out') this.#options.onOdd(outcome, mapper);
      return true;
    } catch (error) {
      if (error instanceof LimitOutdated) return false;
      throw error;
    }
  }

  /** False for a record that has to be looked at. */
  #passOn(record: FetchedRecord, { raw, mapper: { plain, to } }: Way): boolean {
    if (plain === undefined || !(record instanceof ViewedRecord)) return false;
    const passed = plain.pass(record, { partition: raw.partition, offset: record.offset, mapping: raw.mapping });
    if (passed === undefined) return false;
    this.#outbox.pass(raw, to, plain.partition(passed), passed);
    this.#options.counts.mapped++;
    return true;
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error('mapping failed', { cause: error });
    this.#broken.abort();
  }
}

/** A batch is unpacked when the one before it is mapped. */
function* eachRecord(batches: readonly FetchedBatch[]): Generator<FetchedRecord> {
  for (const batch of batches) yield* batch.records();
}
