/**
 * Frames on their way into Kafka: records by partition, and the skeleton. Guarantee: what goes into one parcel becomes one segment, whose
 * ranges name exactly the offsets at which the parcel's records were stored.
 */
import { invariant } from '#schemas/errors.ts';
import type { Range, Segment, SkeletonFrame } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { KafkaHeader, KafkaRecords, ProduceBatch, Produced } from '../cluster.ts';
import { recordBytesMax, RecordsBuilder, type Compression } from '../record-batch.ts';

/** Half of what a broker takes by default, which is 1 MiB: only a row of its own can be larger. */
const BATCH_BYTES_MAX = 512 * 1024;
const PARTITIONS_MAX = 65_536;

/** A raw topic as records are put into it. */
export interface RawTopic {
  /** In the order topic's directory. */
  readonly index: number;
  readonly name: string;
}

/** One partition's share of a parcel. */
export class ParcelPlace {
  readonly topic: RawTopic;
  readonly partition: number;
  readonly #builder: RecordsBuilder;
  /** Batches that are full; all of them, once taken. */
  readonly #full: KafkaRecords[] = [];

  constructor(topic: RawTopic, partition: number, compression: Compression) {
    this.topic = topic;
    this.partition = partition;
    this.#builder = new RecordsBuilder({ compression });
  }

  add(key: Buffer | undefined, value: Buffer | undefined, headers: readonly KafkaHeader[]): void {
    const builder = this.#builder;
    const bytes = recordBytesMax(key, value, headers);
    if (builder.count > 0 && builder.bytes + bytes > BATCH_BYTES_MAX) this.#full.push(builder.take());
    builder.add(key, value, headers);
  }

  /** Closes it. */
  take(): readonly KafkaRecords[] {
    this.#full.push(this.#builder.take());
    return this.#full;
  }

  /** The offsets of its records, each batch of which was stored at one of these. */
  range(baseOffsets: readonly Offset[]): Range {
    const batches = this.#full;
    invariant(baseOffsets.length === batches.length, 'each batch is acknowledged once');
    // Batches of one partition are stored in order; what stands between them is another writer's, and does not count.
    const to = Math.max(...baseOffsets) + batches.at(-1)!.count;
    return { topic: this.topic.index, partition: this.partition, from: Math.min(...baseOffsets), to };
  }
}

export class Parcel {
  readonly base: Offset;
  /** Frames. */
  count = 0;
  skeletonBytes = 0;
  readonly #compression: Compression;
  readonly #skeleton: SkeletonFrame[] = [];
  readonly #places = new Map<number, ParcelPlace>();

  constructor(base: Offset, compression: Compression) {
    this.base = base;
    this.#compression = compression;
  }

  place(topic: RawTopic, partition: number): ParcelPlace {
    const number = topic.index * PARTITIONS_MAX + partition;
    let place = this.#places.get(number);
    if (place === undefined) this.#places.set(number, (place = new ParcelPlace(topic, partition, this.#compression)));
    return place;
  }

  addSkeleton(v: Offset, frame: Buffer): void {
    this.#skeleton.push({ v, frame });
    this.skeletonBytes += 8 + frame.length;
  }

  /** Closes the parcel: everything to be stored before its segment. */
  take(): readonly ProduceBatch[] {
    return [...this.#places.values()].flatMap((place) =>
      place.take().map((records) => ({ topic: place.topic.name, partition: place.partition, records })),
    );
  }

  segment(epoch: number, produced: readonly Produced[]): Segment {
    const stored = new Map<string, Offset[]>();
    for (const { topic, partition, baseOffset } of produced) {
      const place = `${topic}/${partition}`;
      const offsets = stored.get(place);
      if (offsets === undefined) stored.set(place, [baseOffset]);
      else offsets.push(baseOffset);
    }
    const ranges = Array.from(this.#places.values(), (place) => place.range(stored.get(`${place.topic.name}/${place.partition}`) ?? []));
    return { epoch, base: this.base, count: this.count, ranges, skeleton: this.#skeleton };
  }
}
