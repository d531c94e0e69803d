/**
 * The raw log over Kafka, as the reader writes it. Guarantee: that of the Topic port and of SharedLog. Rows go to their tables' topics, and
 * what makes them count is one segment in the order topic, appended once every record that it names is acknowledged; so a crash, a lost
 * answer or a replaced reader leaves records that nobody reads, and never a gap.
 */
import { invariant, InvariantError, PipelineError } from '#schemas/errors.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { encodeOrderJson, type EpochOrderRecord, type Segment, type TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { CatalogTable, CatalogType } from '#schemas/table.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import type { Cursor, Offset, RecordBatch } from '#connectors/change-log/change-log.ts';
import type { LastCommit, SharedLog } from '#connectors/change-log/shared-log.ts';
import type { KafkaCluster } from '../cluster.ts';
import { RecordsBuilder, type Compression } from '../record-batch.ts';
import { readOrder } from './order-reader.ts';
import { lastCommitOf, OrderTail, Recollection, type RawEnds } from './order-tail.ts';
import { rawKey } from './bookmark.ts';
import { RawTables, type RelationName } from './raw-tables.ts';
import { Scatter } from './scatter.ts';
import { SegmentWriter, type Appended } from './segment-writer.ts';
import { orderTopic, type TableName } from './topic-names.ts';

export interface ScatterTopicOptions {
  readonly cluster: KafkaCluster;
  /** Of the migration. */
  readonly name: string;
  readonly format: WireFormat;
  readonly database: string;
  readonly partitions: number;
  /** The mapped table, of a leaf its root; undefined: its rows stay in the order topic. A chunk's table has oid 0. */
  readonly tableOf: (relation: RelationName) => CatalogTable | undefined;
  /** User types, for the labels of enums. */
  readonly types?: readonly CatalogType[];
  readonly compression?: Compression;
  /** A checkpoint goes before the first segment of an epoch, and before one in so much time. */
  readonly checkpointEveryMs?: number;
}

const CHECKPOINT_EVERY_MS = 10_000;
/** A larger one (thousands of tables) is left out, and the order is not cut: a broker takes 1 MiB unless told otherwise. */
const CHECKPOINT_BYTES_MAX = 900 * 1024;

interface CheckpointState {
  readonly epoch: number;
  readonly base: Offset;
  readonly ends: RawEnds;
  readonly last: LastCommit | undefined;
}

export class ScatterTopic implements SharedLog {
  readonly name = 'raw';
  readonly partitions = 1;
  readonly #options: ScatterTopicOptions;
  readonly #order: string;
  readonly #tables: RawTables;
  readonly #tail = new OrderTail();
  readonly #recollection = new Recollection();
  /** Where reading the order goes on. */
  #next: Offset = 0;
  #reading: Promise<unknown> = Promise.resolve();
  /** Where our next record stands, if nobody else writes. */
  #expected: Offset = 0;
  #writer: SegmentWriter | undefined;
  #scatter: Scatter | undefined;
  #checkpointedAt = -Infinity;

  constructor(options: ScatterTopicOptions) {
    this.#options = options;
    this.#order = orderTopic(options.name);
    const register = (topic: string, table: TableName): Promise<number> => this.#register(topic, table);
    this.#tables = new RawTables({ ...options, register });
  }

  /** @throws PipelineError CF-3001 when it cannot be written, CF-3007 when another writer has a higher epoch, CF-3002 when the order has a gap. */
  async begin(epoch: number): Promise<void> {
    invariant(this.#writer?.isBusy !== true, 'an epoch begins when nothing is under way');
    const { cluster, compression = 'none' } = this.#options;
    this.#writer = undefined;
    await cluster.ensureTopics(new Map([[this.#order, { partitions: 1 }]]));
    this.#expected = await this.#tell([{ t: 'epoch', epoch }]);
    await this.#catchUp(this.#expected);
    const tail = this.#tail;
    if (tail.epoch !== epoch) {
      throw new PipelineError('CF-3007', `epoch ${epoch} of the change log is over: another reader has begun epoch ${tail.epoch}`);
    }
    const base = tail.end;
    const relation = (oid: number): Buffer | undefined => this.#recollection.relation(oid);
    const ends = tail.ends.copy();
    await this.#voidUnnamed(ends);
    const scatter = new Scatter({ tables: this.#tables, epoch, base, compression, relation });
    this.#scatter = scatter;
    const confirm = (offset: Offset, count: number): Promise<void> | undefined => this.#confirm(epoch, offset, count);
    // Not the recollection's, which is of what was read: of what is written here any end may fail.
    let last = this.#recollection.lastCommit;
    const onSegment = (segment: Segment): void => void (last = lastCommitOf(segment) ?? last);
    const checkpoint = (next: Offset, named: RawEnds): Buffer | undefined => this.#checkpoint({ epoch, base: next, ends: named, last });
    this.#checkpointedAt = -Infinity;
    this.#writer = new SegmentWriter({ cluster, topic: this.#order, epoch, base, scatter, ends, checkpoint, onSegment, confirm });
  }

  /** What stands in the raw topics now, and is named by nobody, is a replaced reader's: no segment that counts will name it. */
  async #voidUnnamed(ends: RawEnds): Promise<void> {
    const { cluster, name } = this.#options;
    const present = new Set(await cluster.topics(`${name}.`));
    const known = [...this.#tail.topics.entries()].filter(({ topic }) => present.has(topic));
    const bounds = await Promise.all(known.map(({ topic }) => cluster.bounds(topic)));
    for (const [i, { index }] of known.entries())
      for (const [partition, { end }] of bounds[i]!.entries()) ends.begin(rawKey(index, partition), end);
  }

  /**
   * It counts where all below it was read: that is told by its place. Somebody who writes in between (a topic that is registered, a replaced
   * reader) makes it void, and the next one counts.
   */
  #checkpoint({ epoch, base, ends, last }: CheckpointState): Buffer | undefined {
    const now = performance.now();
    if (now - this.#checkpointedAt < (this.#options.checkpointEveryMs ?? CHECKPOINT_EVERY_MS)) return undefined;
    this.#checkpointedAt = now;
    const record = encodeOrderJson({
      t: 'checkpoint',
      at: this.#expected,
      epoch,
      base,
      topics: [...this.#tail.topics.entries()],
      ends: ends.entries(),
      ...(last !== undefined && { commit: { lsn: String(last.commitLsn), end: String(last.endLsn) } }),
    });
    return record.length > CHECKPOINT_BYTES_MAX ? undefined : record;
  }

  learn(frame: Buffer): void {
    this.#recollection.learn(frame);
  }

  /** `tableOf` knows these relations now, as leaves that were attached: rows that are appended from here on go to the root's topic. */
  learnLeaves(oids: readonly number[]): void {
    this.#scatter?.learn(oids);
  }

  lastCommit(): LastCommit | undefined {
    return this.#recollection.lastCommit;
  }

  append(partition: number, batch: RecordBatch): Promise<Appended> {
    invariant(partition === 0, 'the raw log has one partition');
    if (this.#writer === undefined) {
      return Promise.reject(new PipelineError('CF-3001', 'the change log cannot be written before an epoch has begun'));
    }
    return this.#writer.append(batch);
  }

  start(): Offset {
    return this.#tail.start;
  }

  end(): Offset {
    return this.#writer?.end ?? this.#tail.end;
  }

  partitionFor(): number {
    return 0;
  }

  read(): Cursor {
    throw new InvariantError('over Kafka the raw log is read from the mapped topics');
  }

  commit(): Promise<void> {
    throw new InvariantError('over Kafka the raw log has no groups');
  }

  committed(): Offset | undefined {
    throw new InvariantError('over Kafka the raw log has no groups');
  }

  trim(): Promise<void> {
    throw new InvariantError('over Kafka the topics are cut by who knows what is applied (trim-topics.ts)');
  }

  /** Kafka's own business. */
  size(): number {
    return 0;
  }

  /** @returns the offset behind them. */
  async #tell(records: readonly (EpochOrderRecord | TopicOrderRecord)[]): Promise<Offset> {
    const builder = new RecordsBuilder();
    for (const record of records) builder.add(undefined, encodeOrderJson(record));
    const [produced] = await this.#options.cluster.produce([{ topic: this.#order, partition: 0, records: builder.take() }]);
    return produced!.baseOffset + records.length;
  }

  /** One after another: what is read is folded once. */
  #catchUp(to: Offset): Promise<void> {
    const read = this.#reading.then(() => this.#read(to));
    this.#reading = read.catch(() => undefined);
    return read;
  }

  async #read(to: Offset): Promise<void> {
    if (to <= this.#next) return;
    await readOrder({ cluster: this.#options.cluster, topic: this.#order, from: this.#next, to }, (record, offset) => {
      const segment = this.#tail.take(record, offset);
      if (segment !== undefined) this.#recollection.take(segment);
      if (record.t === 'checkpoint' && this.#tail.checkpointAt === offset) this.#recollection.begin(record);
      this.#next = offset + 1;
      return true;
    });
  }

  /**
   * Our segments were acknowledged at `offset`. They count unless another reader began a higher epoch before them, perhaps one that was
   * stopped, lost the slot and woke up: so whenever somebody else has written in between, it is read what that was.
   * @throws PipelineError CF-3007 when our epoch is over.
   */
  #confirm(epoch: number, offset: Offset, count: number): Promise<void> | undefined {
    const isNext = offset === this.#expected || !guarded('writer-epoch');
    this.#expected = offset + count;
    if (isNext) return undefined;
    return this.#catchUp(offset + count).then(() => {
      if (this.#tail.epoch === epoch) return;
      throw new PipelineError('CF-3007', `epoch ${epoch} of the change log is over: another reader has begun epoch ${this.#tail.epoch}`);
    });
  }

  /** What the order names has to be there before anything is written behind it. @throws PipelineError CF-3002 */
  async #checkKept({ index, topic }: TopicOrderRecord): Promise<void> {
    const { ends } = this.#tail;
    for (const [partition, { end }] of (await this.#options.cluster.bounds(topic)).entries())
      if (end < ends.of(index, partition) && guarded('raw-ends')) throw ends.lost(index, partition, end);
  }

  /** A replaced reader may register at the same moment: which record came first decides, and is read back. */
  async #register(topic: string, { schema, name }: TableName): Promise<number> {
    const { topics } = this.#tail;
    const { partitions } = this.#options;
    for (;;) {
      const known = topics.named(topic);
      if (known !== undefined) {
        await this.#checkKept(known);
        return known.index;
      }
      await this.#catchUp(await this.#tell([{ t: 'topic', index: topics.free, topic, schema, table: name, partitions }]));
    }
  }
}
