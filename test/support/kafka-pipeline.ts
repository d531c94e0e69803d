/**
 * Reader side, transformers and sink side as the product has them, over Kafka in memory, with crashes, zombies and failing produces.
 * Guarantee: `run` says what the sink saw that it should not have seen, or undefined. What counts is told by the order topic alone. Where
 * topics are cut, the file changes, and the target is restored at times, too (simulated-sink.ts).
 */
import { setImmediate as turn } from 'node:timers/promises';
import { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { decodeOrderRecord } from '#schemas/order/order-record.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { SchemaRegistry } from '#schemas/wire/wire.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { LIMITS, type MappingLimits } from '#services/transformer/limits.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { History, type PlannedFrame } from '#test/support/gather-history.ts';
import { TABLES } from '#test/support/gather-tables.ts';
import { MAPPING, OTHER_MAPPING, type LoggedFrame } from '#test/support/gather-world.ts';
import { SeenFrames } from '#test/support/seen-frames.ts';
import { SimulatedSink } from '#test/support/simulated-sink.ts';
import { batchOf } from '#test/support/log-records.ts';
import { MemoryKafka, type MemoryCluster } from '#test/support/memory-cluster.ts';
import type { Random } from '#test/support/random.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { catalogTable, readScattered } from '#test/support/scattered-log.ts';

const PARTITIONS = 3;
const STEPS = 120;
const STALL_MS = 30_000;

interface Reader {
  readonly cluster: MemoryCluster;
  readonly topic: ScatterTopic;
  readonly epoch: number;
  readonly history: History;
  pending: PlannedFrame[];
  next: number;
  failed: boolean;
}

interface Mapper {
  readonly cluster: MemoryCluster;
  readonly share: (numbers: readonly number[]) => void;
  readonly stop: AbortController;
}

const CATALOG = TABLES.map(({ mapping, key, identity, oids, shapes }) =>
  catalogTable({ oid: oids[0]!, name: mapping.from.name, columns: [...new Set(shapes.flat())], key, identity, leaves: oids.slice(1) }),
);

export class KafkaPipeline {
  readonly #random: Random;
  readonly #kafka: MemoryKafka;
  readonly #registry: SchemaRegistry = memoryRegistry();
  /** Epoch → record number → what the sink has to see. */
  readonly #appended = new Map<number, Map<number, Buffer | undefined>>();
  readonly #readers: Reader[] = [];
  readonly #mappers: Mapper[] = [];
  readonly #sink: SimulatedSink | undefined;
  #mapping: CompiledMapping = MAPPING;
  #playing: Promise<void> | undefined;
  #epoch = 0;
  #broken: string | undefined;

  constructor(random: Random, { cuts = false }: { readonly cuts?: boolean } = {}) {
    this.#random = random;
    this.#kafka = new MemoryKafka({ random, failureRate: random.chance(0.5) ? 0.02 : 0, fetchRecordsMax: random.between(2, 40) });
    if (!cuts) return;
    this.#sink = new SimulatedSink({
      kafka: this.#kafka,
      random,
      format: () => avroFormat(this.#registry, { name: MAPPING.name }),
      partitions: PARTITIONS,
      retainBytes: random.chance(0.3) ? 0 : random.between(1, 20_000),
      log: () => this.#log(),
    });
  }

  /** Lowest offset kept, of the order and of all other topics together. */
  get starts(): { readonly order: number; readonly others: number } {
    const startOf = (topic: string): number => this.#kafka.partitions(topic).reduce((sum, { start }) => sum + start, 0);
    const order = orderTopic(MAPPING.name);
    const others = this.#kafka.topics().filter((topic) => topic !== order);
    return { order: startOf(order), others: others.reduce((sum, topic) => sum + startOf(topic), 0) };
  }

  async run(): Promise<string | undefined> {
    await this.#newReader();
    for (let more = this.#random.between(1, 2); more > 0; more--) this.#newMapper();
    for (let step = 0; step < STEPS; step++) {
      await this.#step();
      for (let turns = this.#random.between(1, 12); turns > 0; turns--) await turn();
    }
    await this.#playing;
    await this.#finish();
    return this.#sink === undefined ? this.#check() : this.#checkCut(this.#sink);
  }

  get #reader(): Reader {
    return this.#readers.at(-1)!;
  }

  async #newReader(): Promise<void> {
    for (;;) {
      const cluster = this.#kafka.client();
      const epoch = this.#epoch++;
      const topic = new ScatterTopic({
        cluster,
        name: MAPPING.name,
        format: avroFormat(this.#registry, { name: MAPPING.name }),
        database: 'd',
        partitions: PARTITIONS,
        ...(this.#sink !== undefined && { checkpointEveryMs: 0 }),
        tableOf: ({ oid, schema, name }) =>
          CATALOG.find(
            (table) =>
              table.oid === oid || table.leaves.some((leaf) => leaf.oid === oid) || (table.schema === schema && table.name === name),
          ),
      });
      try {
        await topic.begin(epoch);
      } catch {
        continue;
      }
      const history = new History(this.#random);
      this.#appended.set(epoch, new Map());
      this.#readers.push({ cluster, topic, epoch, history, pending: history.session(epoch), next: topic.end(), failed: false });
      return;
    }
  }

  #append(reader: Reader): void {
    if (reader.failed) return;
    while (reader.pending.length < 5) reader.pending.push(...reader.history.transaction());
    this.#send(reader, reader.pending.splice(0, this.#random.between(1, this.#random.chance(0.3) ? 40 : 6)));
  }

  #send(reader: Reader, frames: readonly PlannedFrame[]): void {
    const appended = this.#appended.get(reader.epoch)!;
    for (const { seen } of frames) appended.set(reader.next++, seen);
    reader.topic.append(0, batchOf(...frames.map(({ whole }) => whole))).catch(() => (reader.failed = true));
  }

  #newMapper(): void {
    const cluster = this.#kafka.client();
    let tell: ((numbers: readonly number[]) => void) | undefined;
    let held: readonly number[] = Array.from({ length: PARTITIONS }, (_, i) => i);
    const transformer = new Transformer({
      cluster,
      members: {
        join: async (onShare) => {
          tell = onShare;
          onShare(held);
        },
        leave: () => Promise.resolve(),
      },
      mapping: this.#mapping,
      database: 'd',
      format: avroFormat(this.#registry, { name: MAPPING.name }),
      partitions: PARTITIONS,
      compression: 'none',
      logger: silentLogger,
      backoff: { firstMs: 1, lastMs: 2 },
      limits: { ...LIMITS, ...this.#smallGroups(), ...(this.#sink !== undefined && { wholeClaimEvery: 5, firstLookRecords: 8 }) },
    });
    const stop = new AbortController();
    transformer.run(stop.signal).catch((error: unknown) => (this.#broken ??= String(error)));
    const share = (numbers: readonly number[]): void => {
      held = numbers;
      tell?.(numbers);
    };
    this.#mappers.push({ cluster, share, stop });
  }

  /** Groups are full in the middle of a slice, too. */
  #smallGroups(): Pick<MappingLimits, 'sliceRecords' | 'batchBytes' | 'groupBytes'> {
    const random = this.#random;
    return { sliceRecords: random.between(1, 20), batchBytes: random.between(300, 5_000), groupBytes: random.between(300, 8_000) };
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const draw = random.between(0, 99);
    if (this.#sink !== undefined) this.#playSink(this.#sink);
    if (draw < 60) this.#append(this.#reader);
    else if (draw < 66 && this.#readers.length > 1) this.#append(this.#readers[random.between(0, this.#readers.length - 2)]!);
    else if (draw < 69 || this.#reader.failed) {
      if (random.chance(0.5)) this.#reader.cluster.crash();
      await this.#newReader();
    } else if (draw < 72) {
      const [mapper] = this.#mappers.splice(random.between(0, this.#mappers.length - 1), 1);
      mapper!.cluster.crash();
      mapper!.stop.abort();
      this.#newMapper();
    } else if (draw < 78) {
      for (const { share } of this.#mappers) share(Array.from({ length: PARTITIONS }, (_, i) => i).filter(() => random.chance(0.6)));
    } else if (draw < 80 && this.#mappers.length < 3) this.#newMapper();
  }

  #playSink(sink: SimulatedSink): void {
    if (this.#playing !== undefined) return;
    if (this.#random.chance(0.1)) {
      this.#changeFile(sink, this.#mapping === MAPPING ? OTHER_MAPPING : MAPPING);
      // Some go on for a while.
      if (this.#random.chance(0.7)) this.#stopMappers(this.#random.between(1, this.#mappers.length));
      this.#newMapper();
    }
    this.#playing = sink.play().finally(() => (this.#playing = undefined));
  }

  #changeFile(sink: SimulatedSink, mapping: CompiledMapping): void {
    this.#mapping = mapping;
    sink.use(mapping);
  }

  #stopMappers(count: number): void {
    for (const { cluster, stop } of this.#mappers.splice(0, count)) {
      cluster.crash();
      stop.abort();
    }
  }

  /** A last reader ends its transactions, a last transformer maps what is left. */
  async #finish(): Promise<void> {
    for (;;) {
      await this.#newReader();
      const reader = this.#reader;
      this.#send(reader, [...reader.pending.splice(0), ...reader.history.transaction()]);
      while (!reader.failed && reader.topic.end() < reader.next) await turn();
      if (!reader.failed) break;
    }
    for (const { share } of this.#mappers) share(Array.from({ length: PARTITIONS }, (_, i) => i));
  }

  /** What counts, from what was ever stored. */
  #log(): readonly LoggedFrame[] {
    let epoch = -1;
    return this.#kafka.stored(orderTopic(MAPPING.name)).flatMap(({ value }): readonly LoggedFrame[] => {
      const record = decodeOrderRecord(value!);
      if (record.t === 'epoch') epoch = Math.max(epoch, record.epoch);
      if (record.t !== 'segment' || record.epoch < epoch) return [];
      const appended = this.#appended.get(record.epoch)!;
      return Array.from({ length: record.count }, (_, i) => ({ v: record.base + i, seen: appended.get(record.base + i) }));
    });
  }

  /** To the end by our file; where that is refused, by the file of before first. */
  async #checkCut(sink: SimulatedSink): Promise<string | undefined> {
    try {
      for (const mapping of [MAPPING, OTHER_MAPPING, MAPPING]) {
        this.#changeFile(sink, mapping);
        this.#stopMappers(this.#mappers.length);
        this.#newMapper();
        const isRead = await sink.catchUp();
        if (sink.fault !== undefined || (isRead && mapping === MAPPING))
          return sink.fault && `${sink.fault} (${this.#broken ?? 'no transformer failed'})`;
      }
      return 'a change of the file is refused for good';
    } catch (error) {
      return error instanceof Error ? error.stack : String(error);
    } finally {
      this.#stopMappers(this.#mappers.length);
    }
  }

  async #check(): Promise<string | undefined> {
    const { segments } = await readScattered(this.#kafka, MAPPING.name, avroFormat(this.#registry, { name: MAPPING.name }));
    const log = segments.flatMap(({ epoch, base, count }) =>
      Array.from({ length: count }, (_, i): LoggedFrame => ({ v: base + i, seen: this.#appended.get(epoch)!.get(base + i) })),
    );
    const topic = new GatherTopic({
      cluster: this.#kafka.client(),
      name: MAPPING.name,
      format: avroFormat(this.#registry, { name: MAPPING.name }),
      mapping: this.#mapping,
      partitions: PARTITIONS,
      retainBytes: 0,
      rowsBytesMax: this.#random.between(1_000, 100_000),
    });
    await topic.prepare(undefined);
    if (topic.end(0) !== log.length) return `the log ends at ${topic.end(0)} instead of ${log.length}`;
    const cursor = topic.read(0, 0);
    const check = new SeenFrames(log, 0);
    const stalled = AbortSignal.timeout(STALL_MS);
    try {
      while (!check.isAtEnd) {
        const batch = await cursor.next(stalled);
        if (batch === undefined) return `stalled: ${check.tell()}, ${this.#broken ?? 'and no transformer failed'}`;
        const wrong = check.take(batch);
        if (wrong !== undefined) return wrong;
      }
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.stack : String(error);
    } finally {
      await cursor.close();
      for (const { stop } of this.#mappers) stop.abort();
    }
  }
}
