/**
 * Records of the order topic (`NAME.order`) and of the transformers' progress topic (`NAME.mapped.progress`). Guarantee: a segment names
 * acknowledged records only; the segments of valid epochs, one after another, are the raw log: frames [base, base + count) each.
 *
 * Order topic: JSON for epochs and the topic directory, binary for segments. A segment of a lower epoch than the highest epoch record
 * before it is void: its writer had been replaced.
 */
import { invariant } from '../errors.ts';

/** A reader takes over; what it appends after this counts, what others append no longer does. */
export interface EpochOrderRecord {
  readonly t: 'epoch';
  readonly epoch: number;
}

/** Gives a raw topic its index; written before its first record is. */
export interface TopicOrderRecord {
  readonly t: 'topic';
  readonly index: number;
  readonly topic: string;
  readonly schema: string;
  readonly table: string;
  readonly partitions: number;
  /** Of somebody else's topic: the relation whose rows its records are. Of ours each record says it. */
  readonly oid?: number;
}

/** Records [from, to) of one raw partition. Those of another epoch in between are a replaced writer's and do not count. */
export interface Range {
  /** Index in the topic directory. */
  readonly topic: number;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** A frame that no row record stands for, byte for byte; of a chunk-rows frame its header alone. */
export interface SkeletonFrame {
  readonly v: number;
  readonly frame: Buffer;
}

/** Ascending v. */
export type Skeleton = Iterable<SkeletonFrame> & { readonly length: number };

export interface Segment {
  readonly epoch: number;
  /** Record number of the first frame. */
  readonly base: number;
  readonly count: number;
  readonly ranges: readonly Range[];
  readonly skeleton: Skeleton;
}

/**
 * With a segment of somebody else's records, in one batch with it: the highest place in the source seen of each partition named, so that
 * what the connector repeats is known as a repeat (repeats.ts). Cumulative: what is not named stays as it was.
 */
export interface SeenOrderRecord {
  readonly t: 'seen';
  readonly epoch: number;
  readonly places: readonly SeenPlace[];
  /** Truncates come in any partition: of a topic, those seen last. */
  readonly truncates: readonly (readonly [topic: number, positions: readonly string[]])[];
}

/** LSNs and microseconds as decimal texts. */
export interface SeenPlace {
  readonly topic: number;
  readonly partition: number;
  readonly commit: string;
  readonly lsn: string;
  readonly micros: string;
}

/**
 * All that the records below it say, in brief: whoever begins to read here knows what a reader of the whole topic knows. It counts only
 * where it stands at `at`, for then its writer had read everything below it, and only in the highest epoch.
 */
export interface CheckpointOrderRecord {
  readonly t: 'checkpoint';
  /** Its own offset in the order topic. */
  readonly at: number;
  readonly epoch: number;
  /** Number of the frame that comes next. */
  readonly base: number;
  readonly topics: readonly TopicOrderRecord[];
  /** Records of a raw partition below this are named, or void for good. */
  readonly ends: readonly (readonly [topic: number, partition: number, end: number])[];
  /** LSNs of the last whole transaction, as decimal texts. */
  readonly commit?: { readonly lsn: string; readonly end: string };
  /** Of another connector's topics: all that is seen. */
  readonly seen?: Pick<SeenOrderRecord, 'places' | 'truncates'>;
}

type OrderJson = EpochOrderRecord | TopicOrderRecord | SeenOrderRecord | CheckpointOrderRecord;

export type OrderRecord = OrderJson | ({ readonly t: 'segment' } & Segment);

const SEGMENT_TAG = 0x67; // g
const VERSION = 1;
const HEAD_BYTES = 22;
const RANGE_BYTES = 16;

/** As parts, so that large skeleton frames are not copied. */
export function encodeSegment(segment: Segment): readonly Buffer[] {
  const head = Buffer.allocUnsafe(HEAD_BYTES + RANGE_BYTES * segment.ranges.length);
  head[0] = SEGMENT_TAG;
  head[1] = VERSION;
  head.writeUInt32BE(segment.epoch, 2);
  head.writeUIntBE(segment.base, 6, 6);
  head.writeUInt32BE(segment.count, 12);
  head.writeUInt16BE(segment.ranges.length, 16);
  head.writeUInt32BE(segment.skeleton.length, 18);
  let at = HEAD_BYTES;
  for (const range of segment.ranges) {
    head.writeUInt16BE(range.topic, at);
    head.writeUInt16BE(range.partition, at + 2);
    head.writeUIntBE(range.from, at + 4, 6);
    head.writeUIntBE(range.to, at + 10, 6);
    at += RANGE_BYTES;
  }
  const parts: Buffer[] = [head];
  for (const { v, frame } of segment.skeleton) {
    const prefix = Buffer.allocUnsafe(8);
    prefix.writeUInt32BE(v - segment.base, 0);
    prefix.writeUInt32BE(frame.length, 4);
    parts.push(prefix, frame);
  }
  return parts;
}

export function encodeOrderJson(record: OrderJson): Buffer {
  return Buffer.from(JSON.stringify(record), 'utf8');
}

/** Skeleton frames alias the buffer, and are told apart when they are asked for: many segments may wait. */
export function decodeOrderRecord(b: Buffer): OrderRecord {
  if (b[0] !== SEGMENT_TAG) return JSON.parse(b.toString('utf8')) as OrderJson;
  invariant(b[1] === VERSION, `a segment of version ${b[1]}`);
  const base = b.readUIntBE(6, 6);
  const ranges: Range[] = [];
  let at = HEAD_BYTES;
  for (let left = b.readUInt16BE(16); left > 0; left--, at += RANGE_BYTES) {
    ranges.push({
      topic: b.readUInt16BE(at),
      partition: b.readUInt16BE(at + 2),
      from: b.readUIntBE(at + 4, 6),
      to: b.readUIntBE(at + 10, 6),
    });
  }
  const skeleton = new PackedSkeleton(b.subarray(at), { base, length: b.readUInt32BE(18) });
  return { t: 'segment', epoch: b.readUInt32BE(2), base, count: b.readUInt32BE(12), ranges, skeleton };
}

class PackedSkeleton implements Skeleton {
  readonly length: number;
  readonly #bytes: Buffer;
  readonly #base: number;

  constructor(bytes: Buffer, { base, length }: { readonly base: number; readonly length: number }) {
    this.length = length;
    this.#bytes = bytes;
    this.#base = base;
  }

  *[Symbol.iterator](): Generator<SkeletonFrame> {
    const b = this.#bytes;
    for (let at = 0, left = this.length; left > 0; left--) {
      const end = at + 8 + b.readUInt32BE(at + 4);
      yield { v: this.#base + b.readUInt32BE(at), frame: b.subarray(at + 8, end) };
      at = end;
    }
  }
}

/**
 * Everything of a raw partition from `from` up to `offset` has been mapped by one mapping; its outputs lie below `ends`. Cumulative over the
 * claims of that mapping: ends not named stay as they were. To any other mapping of the table it says nothing.
 */
export interface ClaimEntry {
  readonly topic: number;
  readonly partition: number;
  /** Tag of the table's mapping (mapping/table-tag.ts). */
  readonly mapping: number;
  /** Where the claim of before ended, or where the raw partition began when there was none; absent: it joins the one before. */
  readonly from?: number;
  readonly offset: number;
  /** Mapped topic → [partition, end offset, first offset][]: what the claim adds lies in between. */
  readonly ends: Readonly<Record<string, readonly ClaimEnd[]>>;
}

export type ClaimEnd = readonly [partition: number, end: number, begin?: number];

/** One record of a transformer, for all raw partitions that moved; appended only once the outputs are acknowledged. */
export interface Claim {
  readonly t: 'claim';
  readonly entries: readonly ClaimEntry[];
}
