/**
 * The order topic as it is read. Guarantee: `head` and what follows it are the segments that count, one after another; what a replaced
 * reader appended behind its successor's epoch record never gets in (OrderTail).
 */
import { PipelineError } from '#schemas/errors.ts';
import { decodeOrderRecord, type CheckpointOrderRecord, type Segment, type TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import { branchOf, type RawPlaceMark } from './bookmark.ts';
import { OrderTail } from './order-tail.ts';

export interface QueuedSegment {
  readonly segment: Segment;
  /** In the order topic. */
  readonly at: Offset;
  readonly bytes: number;
  /** Place of the last checkpoint before it. */
  readonly checkpoint: Offset | undefined;
  /** What the checkpoint said, when it stands right before this segment: of raw partitions nothing below is to come any more. */
  readonly floors: CheckpointOrderRecord['ends'];
}

export class SegmentQueue {
  readonly #tail: OrderTail;
  #end: Offset | undefined;
  readonly #checkpoint: Offset | undefined;
  #floors: CheckpointOrderRecord['ends'] = [];
  /** Undefined: taken. */
  #queue: (QueuedSegment | undefined)[] = [];
  #first = 0;
  /** Of the segments that wait. */
  bytes = 0;

  /** What is known of the order topic below the first record added; `base` is the record that its first segment must begin with. */
  constructor(known: {
    readonly base: Offset | undefined;
    readonly epoch: number;
    readonly topics: readonly TopicOrderRecord[];
    readonly raw: readonly RawPlaceMark[];
    readonly checkpoint?: Offset;
  }) {
    this.#tail = new OrderTail(known.base === undefined ? undefined : known.epoch);
    for (const topic of known.topics) this.#tail.topics.take(topic);
    for (const { raw, taken } of known.raw) if (branchOf(raw) === 0) this.#tail.ends.begin(raw, taken);
    this.#end = known.base;
    this.#checkpoint = known.checkpoint;
  }

  /** Record behind the last segment; undefined before there was one. */
  get end(): Offset | undefined {
    return this.#end;
  }

  /** Of the next segment that is taken, or (none waits) the highest that was announced. */
  get epoch(): number {
    return this.head?.segment.epoch ?? this.#tail.epoch;
  }

  /** Place of the last checkpoint before the head. */
  get checkpoint(): Offset | undefined {
    return this.head === undefined ? this.#lastCheckpoint : this.head.checkpoint;
  }

  get #lastCheckpoint(): Offset | undefined {
    return this.#tail.checkpointAt ?? this.#checkpoint;
  }

  get head(): QueuedSegment | undefined {
    return this.#queue[this.#first];
  }

  get length(): number {
    return this.#queue.length - this.#first;
  }

  get topics(): readonly TopicOrderRecord[] {
    return [...this.#tail.topics.entries()];
  }

  /** A raw topic by its number. */
  topic(index: number): TopicOrderRecord {
    const entry = this.#tail.topics.numbered(index);
    if (entry === undefined) throw new PipelineError('CF-3002', `rows came of raw topic ${index}, which the order topic does not name`);
    return entry;
  }

  /** The segments that wait, from the head on. */
  *waiting(): Generator<Segment> {
    for (let i = this.#first; i < this.#queue.length; i++) yield this.#queue[i]!.segment;
  }

  /** @throws PipelineError CF-3002 when the segments do not follow one another. */
  add(value: Buffer, at: Offset): void {
    const record = decodeOrderRecord(value);
    const segment = this.#tail.take(record, at);
    if (record.t === 'checkpoint' && this.#tail.checkpointAt === at) this.#floors = record.ends;
    if (segment === undefined) return;
    if (this.#end !== undefined && segment.base !== this.#end)
      throw new PipelineError('CF-3002', `the order goes on with record ${segment.base}, but record ${this.#end} was the next`);
    this.#end = segment.base + segment.count;
    this.#queue.push({ segment, at, bytes: value.length, checkpoint: this.#lastCheckpoint, floors: this.#floors });
    this.#floors = [];
    this.bytes += value.length;
  }

  shift(): void {
    this.bytes -= this.#queue[this.#first]!.bytes;
    this.#queue[this.#first++] = undefined;
    if (this.#first < 256 || this.#first * 2 < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#first);
    this.#first = 0;
  }
}
