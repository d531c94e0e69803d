/**
 * Gives the records of somebody else's topics (Debezium's) an order: segments that name them as they have come in. Guarantee: each record
 * is named once, those of one partition in their order, and what was named stays so, whoever reads and whenever; so a sink that keeps how
 * far it is in this order applies each record once.
 *
 * No record is looked at: a segment is a transaction of so many rows, begun and ended by frames of ours. Its LSNs are record numbers: they
 * say nothing of the source, and rise.
 */
import { PipelineError } from '#schemas/errors.ts';
import { encodeJsonFrame, FRAME, type TableStateFrame } from '#schemas/frame/frame.ts';
import { encodeOrderJson, encodeSegment, type EpochOrderRecord, type Range, type TopicOrderRecord } from '#schemas/order/order-record.ts';
import { encodeBegin, encodeCommit, encodeRelation } from '#schemas/pgoutput/encode.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster } from '../cluster.ts';
import { RecordsBuilder } from '../record-batch.ts';
import { rawKey, type RawKey } from './bookmark.ts';
import { readOrder } from './order-reader.ts';
import { OrderTail } from './order-tail.ts';
import { orderTopic } from './topic-names.ts';

/** Records that one segment names at most. */
const SEGMENT_RECORDS_MAX = 2_000;

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
}

export class ForeignOrder {
  readonly #options: ForeignOrderOptions;
  readonly #order: string;
  readonly #tail = new OrderTail();
  /** Named below this. */
  readonly #named = new Map<RawKey, Offset>();
  /** Where our next record stands, if nobody else writes. */
  #expected: Offset = 0;
  #base: Offset = 0;
  #epoch = 0;

  constructor(options: ForeignOrderOptions) {
    this.#options = options;
    this.#order = orderTopic(options.name);
  }

  /** Once. @throws PipelineError CF-3007 when somebody else begins at the same moment. */
  async begin(): Promise<void> {
    const { cluster } = this.#options;
    await cluster.ensureTopics(new Map([[this.#order, { partitions: 1 }]]));
    const [bounds] = await cluster.bounds(this.#order);
    this.#expected = bounds!.end;
    await readOrder({ cluster, topic: this.#order, from: bounds!.start, to: bounds!.end }, (record) => {
      for (const { topic, partition, to } of this.#tail.take(record)?.ranges ?? []) this.#named.set(rawKey(topic, partition), to);
      return true;
    });
    this.#base = this.#tail.end;
    this.#epoch = this.#tail.epoch + 1;
    await this.#write([encodeOrderJson({ t: 'epoch', epoch: this.#epoch } satisfies EpochOrderRecord)]);
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
      await this.#segment([], [encodeJsonFrame(FRAME.tableState, state)], 0);
      const entry: TopicOrderRecord = { t: 'topic', index: topics.free, topic, schema, table, partitions, oid };
      await this.#write([encodeOrderJson(entry)]);
      topics.take(entry);
    }
  }

  /** Names what has come in since. @returns false when nothing had. */
  async advance(): Promise<boolean> {
    const ranges: Range[] = [];
    const relations = new Map<number, Relation>();
    let rows = 0;
    for (const { topic, relation } of this.#options.topics) {
      const entry = this.#tail.topics.named(topic);
      if (entry === undefined || rows === SEGMENT_RECORDS_MAX) continue;
      for (const [partition, { start, end }] of (await this.#options.cluster.bounds(topic)).entries()) {
        const from = this.#from({ topic: entry.index, partition, start }, topic);
        const to = Math.min(end, from + SEGMENT_RECORDS_MAX - rows);
        if (to <= from) continue;
        ranges.push({ topic: entry.index, partition, from, to });
        relations.set(relation.oid, relation);
        rows += to - from;
      }
    }
    if (rows === 0) return false;
    const frames = [...relations.values()].map(encodeRelation);
    const count = rows + frames.length + 2;
    const [commitLsn, endLsn] = [BigInt(this.#base), BigInt(this.#base + count)];
    const commitTimeMs = Date.now();
    await this.#segment(
      ranges,
      [encodeBegin({ commitLsn, commitTimeMs }), ...frames, encodeCommit({ commitLsn, endLsn, commitTimeMs })],
      rows,
    );
    for (const { topic, partition, to } of ranges) this.#named.set(rawKey(topic, partition), to);
    return true;
  }

  #from({ topic, partition, start }: { readonly topic: number; readonly partition: number; readonly start: Offset }, name: string): Offset {
    const from = this.#named.get(rawKey(topic, partition)) ?? start;
    if (from >= start) return from;
    throw new PipelineError(
      'CF-3003',
      `partition ${partition} of topic ${name} begins at offset ${start}, but ${from} was the next: retention removed what is between`,
    );
  }

  /** The last frame stands behind the rows, the others before them. */
  async #segment(ranges: readonly Range[], frames: readonly Buffer[], rows: number): Promise<void> {
    const [epoch, base] = [this.#epoch, this.#base];
    const count = rows + frames.length;
    const skeleton = frames.map((frame, i) => ({ v: i < frames.length - 1 ? base + i : base + count - 1, frame }));
    await this.#write([Buffer.concat(encodeSegment({ epoch, base, count, ranges, skeleton }))]);
    this.#base += count;
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
