/**
 * What the records of the order topic say, taken one after another. Guarantee: whoever folds the same records comes to the same answer:
 * which segments count, what number a topic has, up to where the log is durable. A segment counts when its epoch is the highest so far
 * and it begins where the last one that counts ended; a topic's number is the one of its first registration whose number was free. What
 * a segment names never stands below what one before it named: a topic that was made anew, or lost its tail, is found out. Where the
 * topic's first records were removed, before or while it is read, the first one left has to be a checkpoint: it says what they said.
 */
import { PipelineError } from '#schemas/errors.ts';
import { decodeRelation, decodeCommit, TAG } from '#schemas/pgoutput/message.ts';
import type { CheckpointOrderRecord, OrderRecord, Range, Segment, TopicOrderRecord } from '#schemas/order/order-record.ts';
import { toLsn } from '#schemas/lsn.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { LastCommit } from '#connectors/change-log/shared-log.ts';
import { partitionOf, rawKey, topicOf, type RawKey } from './bookmark.ts';
import { lostRecords } from './lost-records.ts';

/** Raw topics and their numbers. */
export class TopicDirectory {
  readonly #byName = new Map<string, TopicOrderRecord>();
  readonly #byIndex = new Map<number, TopicOrderRecord>();

  /** A replaced reader may have given the same number, or another one to the same topic: the first counts. */
  take(record: TopicOrderRecord): void {
    if (this.#byIndex.has(record.index) || this.#byName.has(record.topic)) return;
    this.#byIndex.set(record.index, record);
    this.#byName.set(record.topic, record);
  }

  named(topic: string): TopicOrderRecord | undefined {
    return this.#byName.get(topic);
  }

  numbered(index: number): TopicOrderRecord | undefined {
    return this.#byIndex.get(index);
  }

  /** The lowest number that no topic has. */
  get free(): number {
    let index = this.#byIndex.size;
    while (this.#byIndex.has(index)) index++;
    return index;
  }

  entries(): Iterable<TopicOrderRecord> {
    return this.#byIndex.values();
  }
}

/** Where a checkpoint stands that says all that stood below it. */
export function isCheckpoint(record: OrderRecord, at: Offset): record is CheckpointOrderRecord {
  return record.t === 'checkpoint' && record.at === at;
}

/** @throws PipelineError CF-3003 when the first record kept does not say what stood before it. */
export function checkBeginning(record: OrderRecord, at: Offset): void {
  if (at === 0 || isCheckpoint(record, at)) return;
  throw new PipelineError(
    'CF-3003',
    `the order topic is kept from offset ${at} on, where nothing says what stood before it: it was not crossfade that removed it`,
    {
      remedy:
        'Topics of a migration take no retention of their own (retention.ms, retention.bytes: -1). What was removed is lost: start anew (docs/kafka.md).',
    },
  );
}

/** Up to where each raw partition is named. */
export class RawEnds {
  readonly #ends = new Map<RawKey, Offset>();
  readonly #nameOf: (topic: number) => string | undefined;

  constructor(nameOf: (topic: number) => string | undefined) {
    this.#nameOf = nameOf;
  }

  /** What is said of records below the first one taken: they are named, or void. */
  begin(raw: RawKey, end: Offset): void {
    this.#ends.set(raw, Math.max(end, this.#ends.get(raw) ?? 0));
  }

  entries(): CheckpointOrderRecord['ends'] {
    const ends = [...this.#ends].filter(([, end]) => end > 0);
    return ends.map(([raw, end]) => [topicOf(raw), partitionOf(raw), end] as const);
  }

  copy(): RawEnds {
    const ends = new RawEnds(this.#nameOf);
    for (const [raw, end] of this.#ends) ends.begin(raw, end);
    return ends;
  }

  named(topic: number, partition: number): Offset | undefined {
    return this.#ends.get(rawKey(topic, partition));
  }

  of(topic: number, partition: number): Offset {
    return this.named(topic, partition) ?? 0;
  }

  /** @throws PipelineError CF-3002 when one lies below what was named before. */
  take(ranges: readonly Range[]): void {
    for (const { topic, partition, from, to } of ranges) {
      if (from < this.of(topic, partition) && guarded('raw-ends')) throw this.lost(topic, partition, from);
      this.#ends.set(rawKey(topic, partition), to);
    }
  }

  lost(topic: number, partition: number, at: Offset): PipelineError {
    const place = { topic: this.#nameOf(topic) ?? `number ${topic}`, partition };
    return lostRecords(place, at, `the order names its records up to ${this.of(topic, partition)}`);
  }
}

/** Folds order records, in their order. */
export class OrderTail {
  readonly topics = new TopicDirectory();
  readonly ends = new RawEnds((topic) => this.topics.numbered(topic)?.topic);
  #epoch: number;
  #start: Offset | undefined;
  #end: Offset | undefined;
  #checkpointAt: Offset | undefined;
  /** Everything below is taken; undefined: a bookmark says what lies below the first record taken. */
  #next: Offset | undefined;

  /** @param epoch the highest known of what lies below the first record taken; undefined: that is the topic's first */
  constructor(epoch?: number) {
    this.#epoch = epoch ?? -1;
    if (epoch === undefined) this.#next = 0;
  }

  /** Highest epoch seen. */
  get epoch(): number {
    return this.#epoch;
  }

  /** First frame of the first segment that counts. */
  get start(): Offset {
    return this.#start ?? 0;
  }

  /** Frame behind the last segment that counts. */
  get end(): Offset {
    return this.#end ?? 0;
  }

  /** Place of the last checkpoint that counts. */
  get checkpointAt(): Offset | undefined {
    return this.#checkpointAt;
  }

  /** @returns the segment, when it counts. @throws PipelineError CF-3002 when one before it is missing, CF-3003 when it was removed. */
  take(record: OrderRecord, at: Offset): Segment | undefined {
    if (this.#next !== undefined && at > this.#next) {
      checkBeginning(record, at);
      this.#end = undefined;
    }
    this.#next = at + 1;
    if (isCheckpoint(record, at)) this.#checkpoint(record);
    else if (record.t === 'epoch') this.#epoch = Math.max(this.#epoch, record.epoch);
    else if (record.t === 'topic') this.topics.take(record);
    else if (record.t === 'segment') return this.#segment(record);
    return undefined;
  }

  #checkpoint({ at, epoch, base, topics, ends }: CheckpointOrderRecord): void {
    if (epoch < this.#epoch || (this.#end !== undefined && base !== this.#end)) return;
    this.#epoch = epoch;
    for (const topic of topics) this.topics.take(topic);
    for (const [topic, partition, end] of ends) this.ends.begin(rawKey(topic, partition), end);
    this.#start ??= base;
    this.#end = base;
    this.#checkpointAt = at;
  }

  #segment(segment: Segment): Segment | undefined {
    if (segment.epoch < this.#epoch) return undefined;
    if (this.#end !== undefined && segment.base !== this.#end) {
      throw new PipelineError('CF-3002', `the order goes on with frame ${segment.base}, but frame ${this.#end} was the next`);
    }
    this.ends.take(segment.ranges);
    // Records below the first one kept were removed; what is first counts, so its epoch was the highest.
    this.#epoch = segment.epoch;
    this.#start ??= segment.base;
    this.#end = segment.base + segment.count;
    return segment;
  }
}

/** What a writer that goes on has to know of the frames before it. */
export class Recollection {
  readonly #relations = new Map<number, Buffer>();
  readonly #told = new Map<number, Buffer>();
  #lastCommit: LastCommit | undefined;

  /** A segment that counts. */
  take(segment: Segment): void {
    for (const { frame } of segment.skeleton) {
      if (frame[0] === TAG.commit) this.#lastCommit = commitOf(frame);
      // Copied: a segment's frames alias what was fetched.
      else if (frame[0] === TAG.relation) this.#relations.set(decodeRelation(frame).oid, Buffer.from(frame));
    }
  }

  /** A checkpoint that counts. */
  begin({ commit }: CheckpointOrderRecord): void {
    if (commit !== undefined) this.#lastCommit = { commitLsn: toLsn(BigInt(commit.lsn)), endLsn: toLsn(BigInt(commit.end)) };
  }

  /** A relation's description from elsewhere; what a segment says comes before it. */
  learn(frame: Buffer): void {
    this.#told.set(decodeRelation(frame).oid, Buffer.from(frame));
  }

  relation(oid: number): Buffer | undefined {
    return this.#relations.get(oid) ?? this.#told.get(oid);
  }

  /** Of the last whole transaction. */
  get lastCommit(): LastCommit | undefined {
    return this.#lastCommit;
  }
}

/** The last one of the segment, if there is one. */
export function lastCommitOf({ skeleton }: Segment): LastCommit | undefined {
  let last: Buffer | undefined;
  for (const { frame } of skeleton) if (frame[0] === TAG.commit) last = frame;
  return last && commitOf(last);
}

function commitOf(frame: Buffer): LastCommit {
  const { commitLsn, endLsn } = decodeCommit(frame);
  return { commitLsn, endLsn };
}
