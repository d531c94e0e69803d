/**
 * The partitions of the mapped topics, by number. Guarantee: of what has come everything below `next` was unpacked and handed on, in order;
 * nothing below it is missing but what `reread` says. The rest waits in `packed`.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Fetched, FetchedBatch, FetchedRecord, Fetcher, TopicPartition } from '../cluster.ts';

export interface MappedPlace extends TopicPartition {
  readonly number: number;
  next: Offset;
  /** Where fetching stands. */
  fetched: Offset;
  packed: FetchedBatch[];
  /** The lowest record that was let go of and has to be read again. */
  reread: Offset | undefined;
  paused: boolean;
}

export class MappedPlaces {
  readonly all: readonly MappedPlace[];
  readonly #partitions: number;
  readonly #first = new Map<string, number>();
  /** Of what is packed. */
  bytes = 0;

  constructor(topics: readonly string[], partitions: number, offsetOf: (topic: string, partition: number) => Offset) {
    this.#partitions = partitions;
    const all: MappedPlace[] = [];
    for (const topic of topics) {
      this.#first.set(topic, all.length);
      for (let partition = 0; partition < partitions; partition++) {
        const next = offsetOf(topic, partition);
        all.push({ topic, partition, number: all.length, next, fetched: next, packed: [], reread: undefined, paused: false });
      }
    }
    this.all = all;
  }

  /** Undefined of a topic whose table the file no longer maps. @throws PipelineError CF-3002 for a partition that there is not. */
  number(topic: string, partition: number): number | undefined {
    const first = this.#first.get(topic);
    if (first === undefined) return undefined;
    if (partition >= this.#partitions)
      throw new PipelineError('CF-3002', `a claim names partition ${partition} of topic ${topic}, which has ${this.#partitions}`);
    return first + partition;
  }

  at(topic: string, partition: number): MappedPlace | undefined {
    const first = this.#first.get(topic);
    return first === undefined ? undefined : this.all[first + partition];
  }

  take(place: MappedPlace, { batches, next }: Pick<Fetched, 'batches' | 'next'>): void {
    place.packed.push(...batches);
    for (const { bytes } of batches) this.bytes += bytes;
    place.fetched = next;
    if (place.packed.length === 0) place.next = next;
  }

  /** The records that come next; there has to be something packed. */
  unpack(place: MappedPlace): readonly FetchedRecord[] {
    const batch = place.packed.shift()!;
    this.bytes -= batch.bytes;
    const records = batch.records();
    place.next = place.packed.length === 0 ? place.fetched : batch.nextOffset;
    return records;
  }

  /** The first record of what comes next; there has to be something packed. It stays, unpacked. */
  peek(place: MappedPlace): FetchedRecord | undefined {
    const batch = place.packed[0]!;
    const { bytes, nextOffset } = batch;
    const records = batch.records();
    place.packed[0] = { bytes, nextOffset, records: () => records };
    return records[0];
  }

  /** What came from there on is forgotten: it is fetched again. */
  goBack(place: MappedPlace, offset: Offset): void {
    for (const { bytes } of place.packed) this.bytes -= bytes;
    place.packed = [];
    place.next = offset;
    place.fetched = offset;
    place.reread = undefined;
  }
}

/** @returns whether it is paused now. */
export function turn(fetcher: Fetcher, place: TopicPartition, paused: boolean, pause: boolean): boolean {
  if (paused !== pause) {
    if (pause) fetcher.pause(place);
    else fetcher.resume(place);
  }
  return pause;
}
