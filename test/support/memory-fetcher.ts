/**
 * Reading of Kafka in memory. Guarantee: a partition's records come in order; with a seed, in parts of any size, and of some partitions
 * much later than of others, but not never.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Fetched, FetchedBatch, FetchedRecord, Fetcher, TopicPartition } from '#connectors/change-log/kafka/cluster.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { Random } from './random.ts';

/** With a seed: how often a partition's answers come much later than the others', from its first on or some time; by so many of theirs. */
const LATE_FIRST_RATE = 0.2;
const LATE_RATE = 0.03;
const LATE_MAX = 60;

export interface MemoryPartition {
  start: Offset;
  /** By offset; those below `start` were removed. */
  readonly records: FetchedRecord[];
}

/** The brokers, as a fetcher sees them. */
export interface FetchedKafka {
  readonly random: Random | undefined;
  readonly fetchRecordsMax: number;
  partition(place: TopicPartition): MemoryPartition;
  /** Called whenever something was stored. */
  watch(watcher: () => void): () => void;
}

export class MemoryFetcher implements Fetcher {
  readonly #kafka: FetchedKafka;
  readonly #isCrashed: () => boolean;
  readonly #places = new Map<string, { readonly place: TopicPartition; offset: Offset; isPaused: boolean }>();
  /** Partitions whose broker answers late: so many answers of others come first. */
  readonly #late = new Map<string, number>();
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor(kafka: FetchedKafka, isCrashed: () => boolean) {
    this.#kafka = kafka;
    this.#isCrashed = isCrashed;
  }

  seek(place: TopicPartition, offset: Offset): void {
    const isPaused = this.#places.get(keyOf(place))?.isPaused ?? false;
    this.#places.set(keyOf(place), { place: { topic: place.topic, partition: place.partition }, offset, isPaused });
    if (this.#kafka.random?.chance(LATE_FIRST_RATE) === true) this.#late.set(keyOf(place), this.#kafka.random.between(1, LATE_MAX));
    this.#wake();
  }

  drop(place: TopicPartition): void {
    this.#places.delete(keyOf(place));
  }

  pause(place: TopicPartition): void {
    const known = this.#places.get(keyOf(place));
    if (known !== undefined) known.isPaused = true;
  }

  resume(place: TopicPartition): void {
    const known = this.#places.get(keyOf(place));
    if (known !== undefined) known.isPaused = false;
    this.#wake();
  }

  async next(signal: AbortSignal): Promise<readonly Fetched[] | undefined> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#isCrashed()) return new Promise(() => undefined);
      if (signal.aborted || this.#isClosed) return undefined;
      const fetched = this.#take();
      if (fetched.length > 0) return fetched;
      await this.#change(signal);
    }
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#wake();
    return Promise.resolve();
  }

  #take(): Fetched[] {
    const { random, fetchRecordsMax } = this.#kafka;
    const fetched: Fetched[] = [];
    for (const [key, { isPaused, place, offset }] of this.#places) {
      const { start, records } = this.#kafka.partition(place);
      if (isPaused || (offset >= start && offset <= records.length)) continue;
      this.#places.delete(key);
      throw new PipelineError('CF-3003', `offset ${offset} of ${key} lies outside ${start} to ${records.length}`, {
        details: { ...place, offset, start, end: records.length },
      });
    }
    for (const known of this.#places.values()) {
      if (known.isPaused) continue;
      const { records } = this.#kafka.partition(known.place);
      const end = records.length;
      if (known.offset === end) continue;
      // Some partitions' answers come later than others', but not for ever.
      if (
        random !== undefined &&
        (this.#isLate(keyOf(known.place), random) || (random.chance(0.3) && (fetched.length > 0 || random.chance(0.5))))
      ) {
        setImmediate(() => this.#wake());
        continue;
      }
      const count = random === undefined ? fetchRecordsMax : random.between(1, fetchRecordsMax);
      const taken = records.slice(known.offset, known.offset + count);
      known.offset += taken.length;
      fetched.push({ ...known.place, batches: batchesOf(taken, random), next: known.offset });
    }
    return fetched;
  }

  #isLate(place: string, random: Random): boolean {
    const left = this.#late.get(place) ?? (random.chance(LATE_RATE) ? random.between(1, LATE_MAX) : 0);
    this.#late.set(place, left - 1);
    if (left <= 0) this.#late.delete(place);
    return left > 0;
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        unwatch();
        signal.removeEventListener('abort', done);
        this.#wake = () => undefined;
        resolve();
      };
      const unwatch = this.#kafka.watch(done);
      signal.addEventListener('abort', done, { once: true });
      this.#wake = done;
    });
  }
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

/** In pieces of any size, as they may have been stored. */
function batchesOf(records: readonly FetchedRecord[], random: Random | undefined): readonly FetchedBatch[] {
  const batches: FetchedBatch[] = [];
  for (let at = 0; at < records.length;) {
    const part = records.slice(at, at + (random?.between(1, records.length) ?? records.length));
    const bytes = part.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0);
    batches.push({ bytes, nextOffset: part.at(-1)!.offset + 1, records: () => part });
    at += part.length;
  }
  return batches;
}
