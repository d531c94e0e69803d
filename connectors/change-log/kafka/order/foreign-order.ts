/**
 * Gives the records of somebody else's topics (Debezium's) an order: segments that name them as they have come in. Guarantee: each record
 * is named once, those of one partition in their order, and what was named stays so, whoever reads and whenever; so a sink that keeps how
 * far it is in this order applies each record once. What the connector repeats after a restart is named by no segment (repeats.ts).
 *
 * A segment is a transaction of so many rows, begun and ended by frames of ours. Its LSNs are record numbers: they say nothing of the
 * source, and rise.
 */
import { PipelineError } from '#schemas/errors.ts';
import { encodeJsonFrame, FRAME, type TableStateFrame } from '#schemas/frame/frame.ts';
import {
  encodeOrderJson,
  encodeSegment,
  type CheckpointOrderRecord,
  type EpochOrderRecord,
  type Range,
  type SeenOrderRecord,
  type TopicOrderRecord,
} from '#schemas/order/order-record.ts';
import { encodeBegin, encodeCommit, encodeRelation } from '#schemas/pgoutput/encode.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Fetched, FetchedRecord, Fetcher, KafkaCluster } from '../cluster.ts';
import { RecordsBuilder } from '../record-batch.ts';
import { recordsIn } from '../record-reader.ts';
import { rawKey, type RawKey } from './bookmark.ts';
import { readOrder } from './order-reader.ts';
import { OrderTail } from './order-tail.ts';
import { Repeats } from './repeats.ts';
import { orderTopic } from './topic-names.ts';

/** Records that one segment names at most. */
const SEGMENT_RECORDS_MAX = 2_000;
const CHECKPOINT_EVERY_MS = 10_000;
/** With the segment it stands behind; a larger one is left out, and the order is not cut. */
const CHECKPOINT_BYTES_MAX = 700 * 1024;

export interface ForeignTopic {
  readonly topic: string;
  /** The source's table; of a leaf its root. */
  readonly relation: Relation;
}

export interface ForeignOrderOptions {
  readonly cluster: KafkaCluster;
  /** Of the migration. */
  readonly name: string;
  /** Those that may come to be: a connector makes a topic with its first record. */
  readonly topics: readonly ForeignTopic[];
  /** Of the connector's records. */
  readonly format: WireFormat;
  /** The order holds nothing yet: nothing is written before this resolves. */
  readonly onNothing?: () => Promise<void>;
}

const NO_MARKS = { absent: Buffer.alloc(0), exact: undefined };

/** Records in a row that are no repeats. */
interface Run {
  readonly topic: number;
  readonly partition: number;
  readonly relation: Relation;
  readonly from: Offset;
  to: Offset;
}

interface SegmentOf {
  readonly ranges: readonly Range[];
  readonly frames: readonly Buffer[];
  readonly rows: number;
}

export class ForeignOrder {
  readonly #options: ForeignOrderOptions;
  readonly #order: string;
  readonly #tail = new OrderTail();
  readonly #repeats = new Repeats();
  /** Partitions whose last record was a repeat: the tombstone behind it is one too. */
  readonly #repeating = new Set<RawKey>();
  readonly #topics: ReadonlyMap<string, ForeignTopic>;
  #fetcher: Fetcher | undefined;
  /** Where our next record stands, if nobody else writes. */
  #expected: Offset = 0;
  #checkpointedAt = -Infinity;
  #base: Offset = 0;
  #epoch = 0;
  #leftOut = 0;

  constructor(options: ForeignOrderOptions) {
    this.#options = options;
    this.#order = orderTopic(options.name);
    this.#topics = new Map(options.topics.map((each) => [each.topic, each]));
  }

  /** Records left out as repeats since `begin`. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Once. @throws PipelineError CF-3007 when somebody else begins at the same moment. */
  async begin(): Promise<void> {
    const { cluster } = this.#options;
    await cluster.ensureTopics(new Map([[this.#order, { partitions: 1 }]]));
    const [bounds] = await cluster.bounds(this.#order);
    this.#expected = bounds!.end;
    if (bounds!.end === 0) await this.#options.onNothing?.();
    await readOrder({ cluster, topic: this.#order, from: bounds!.start, to: bounds!.end }, (record, offset) => {
      this.#tail.take(record, offset);
      if (record.t === 'checkpoint' && this.#tail.checkpointAt === offset && record.seen !== undefined) this.#repeats.restore(record.seen);
      if (record.t === 'seen' && record.epoch === this.#tail.epoch) this.#repeats.restore(record);
      return true;
    });
    this.#base = this.#tail.end;
    this.#epoch = this.#tail.epoch + 1;
    await this.#write([encodeOrderJson({ t: 'epoch', epoch: this.#epoch } satisfies EpochOrderRecord)]);
    this.#fetcher = await cluster.fetcher();
    const present = new Set(await cluster.topics(''));
    for (const entry of this.#tail.topics.entries()) if (present.has(entry.topic)) await this.#seek(entry);
  }

  /** Takes topics that have come to be. */
  async discover(): Promise<void> {
    const present = new Set(await this.#options.cluster.topics(''));
    for (const { topic, relation } of this.#options.topics) {
      const { topics } = this.#tail;
      if (!present.has(topic) || topics.named(topic) !== undefined) continue;
      const { schema, name: table, oid } = relation;
      const { length: partitions } = await this.#options.cluster.bounds(topic);
      // Said before the topic is: a table is never told of without its rows being wanted.
      const state: TableStateFrame = { schema, table, state: 'copying' };
      await this.#segment({ ranges: [], frames: [encodeJsonFrame(FRAME.tableState, state)], rows: 0 });
      const entry: TopicOrderRecord = { t: 'topic', index: topics.free, topic, schema, table, partitions, oid };
      await this.#write([encodeOrderJson(entry)]);
      topics.take(entry);
      await this.#seek(entry);
    }
  }

  /** Waits for records and names them. @returns false once `signal` fired. @throws PipelineError CF-3003, CF-3006 */
  async advance(signal: AbortSignal): Promise<boolean> {
    const fetched = await this.#fetcher!.next(signal);
    if (fetched === undefined) return false;
    const runs: Run[] = [];
    for (const part of fetched) runs.push(...(await this.#runsOf(part)));
    const segments = segmentsOf(runs);
    // A place that was seen is told with the last: one told earlier would make repeats of records that no segment names yet.
    for (const [i, segment] of segments.entries()) await this.#rows(segment, i === segments.length - 1);
    return true;
  }

  async close(): Promise<void> {
    await this.#fetcher?.close();
  }

  /** A topic that the file no longer maps is not read. @throws PipelineError CF-3002 when its keys may lie elsewhere now. */
  async #seek({ topic, index, partitions }: TopicOrderRecord): Promise<void> {
    if (!this.#topics.has(topic)) return;
    const bounds = await this.#options.cluster.bounds(topic);
    if (bounds.length !== partitions) {
      throw new PipelineError('CF-3002', `topic ${topic} has ${bounds.length} partitions instead of ${partitions}`, {
        remedy: 'The order of a key is that of its partition: begin again with another migration name and an empty target.',
      });
    }
    for (const [partition, { start }] of bounds.entries()) {
      this.#fetcher!.seek({ topic, partition }, this.#tail.ends.named(index, partition) ?? start);
    }
  }

  async #runsOf({ topic, partition, batches }: Fetched): Promise<readonly Run[]> {
    const { index } = this.#tail.topics.named(topic)!;
    const { relation } = this.#topics.get(topic)!;
    const isKeyed = relation.columns.some(({ isKey }) => isKey);
    const runs: Run[] = [];
    let run: Run | undefined;
    for (const record of recordsIn({ batches })) {
      // Without a key a record may come again in any partition, and its place says nothing of it.
      if (isKeyed && (await this.#isRepeat(record, index, partition))) {
        this.#leftOut++;
        run = undefined;
      } else if (run === undefined) {
        runs.push((run = { topic: index, partition, from: record.offset, to: record.offset + 1, relation }));
      } else run.to = record.offset + 1;
    }
    return runs;
  }

  async #isRepeat({ value }: FetchedRecord, topic: number, partition: number): Promise<boolean> {
    const key = rawKey(topic, partition);
    if (value === undefined) return this.#repeating.has(key);
    const { format } = this.#options;
    if (!format.knows(value)) await format.learn(value);
    const isRepeat = this.#repeats.isRepeat(format.decode(value, NO_MARKS), topic, partition);
    if (isRepeat) this.#repeating.add(key);
    else this.#repeating.delete(key);
    return isRepeat;
  }

  async #rows(runs: readonly Run[], isLast: boolean): Promise<void> {
    const rows = runs.reduce((sum, { from, to }) => sum + to - from, 0);
    const relations = new Map(runs.map(({ relation }) => [relation.oid, encodeRelation(relation)]));
    const count = rows + relations.size + 2;
    const [commitLsn, endLsn] = [BigInt(this.#base), BigInt(this.#base + count)];
    const commitTimeMs = Date.now();
    const frames = [encodeBegin({ commitLsn, commitTimeMs }), ...relations.values(), encodeCommit({ commitLsn, endLsn, commitTimeMs })];
    const ranges = runs.map(({ topic, partition, from, to }) => ({ topic, partition, from, to }));
    const seen = isLast ? this.#repeats.take(this.#epoch) : undefined;
    await this.#segment({ ranges, frames, rows }, { isLast, seen });
  }

  /** The last frame stands behind the rows, the others before them. */
  async #segment(
    { ranges, frames, rows }: SegmentOf,
    { isLast, seen }: { readonly isLast: boolean; readonly seen: SeenOrderRecord | undefined } = { isLast: false, seen: undefined },
  ): Promise<void> {
    const [epoch, base] = [this.#epoch, this.#base];
    const count = rows + frames.length;
    const skeleton = frames.map((frame, i) => ({ v: i < frames.length - 1 ? base + i : base + count - 1, frame }));
    const segment = Buffer.concat(encodeSegment({ epoch, base, count, ranges, skeleton }));
    const records = seen === undefined ? [segment] : [segment, encodeOrderJson(seen)];
    this.#tail.ends.take(ranges);
    const now = performance.now();
    // Behind the last segment of what was fetched: all that was seen is named.
    if (isLast && now - this.#checkpointedAt >= CHECKPOINT_EVERY_MS) {
      this.#checkpointedAt = now;
      const checkpoint = encodeOrderJson(this.#checkpoint(this.#expected + records.length, base + count));
      if (checkpoint.length <= CHECKPOINT_BYTES_MAX) records.push(checkpoint);
    }
    await this.#write(records);
    this.#base += count;
  }

  #checkpoint(at: Offset, base: Offset): CheckpointOrderRecord {
    const { topics, ends } = this.#tail;
    return {
      t: 'checkpoint',
      at,
      epoch: this.#epoch,
      base,
      topics: [...topics.entries()],
      ends: ends.entries(),
      seen: this.#repeats.whole(),
    };
  }

  /** @throws PipelineError CF-3007 when somebody else has written: what counts is to be read again. */
  async #write(records: readonly Buffer[]): Promise<void> {
    const builder = new RecordsBuilder();
    for (const record of records) builder.add(undefined, record);
    const [produced] = await this.#options.cluster.produce([{ topic: this.#order, partition: 0, records: builder.take() }]);
    if (produced!.baseOffset !== this.#expected) {
      throw new PipelineError('CF-3007', `somebody else has written to ${this.#order} since this reader took over`);
    }
    this.#expected += records.length;
  }
}

/** At most so many records each, and of a partition one piece. */
function segmentsOf(runs: readonly Run[]): readonly (readonly Run[])[] {
  const segments: Run[][] = [];
  let rows = SEGMENT_RECORDS_MAX;
  for (const run of runs) {
    for (let { from } = run; from < run.to;) {
      const last = segments.at(-1);
      const isFull = rows >= SEGMENT_RECORDS_MAX;
      if (last === undefined || isFull || last.some(({ topic, partition }) => topic === run.topic && partition === run.partition)) {
        segments.push([]);
        rows = 0;
      }
      const to = Math.min(run.to, from + SEGMENT_RECORDS_MAX - rows);
      segments.at(-1)!.push({ ...run, from, to });
      rows += to - from;
      from = to;
    }
  }
  return segments;
}
