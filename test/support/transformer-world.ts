/**
 * Transformers over Kafka in memory, with crashes, zombies, faults and shares made anew by the test. Guarantee: whatever is stored is
 * checked at once (mapped-check.ts); one seed gives one history, but for the moments at which a failure is waited out.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { ProduceBatch } from '#connectors/change-log/kafka/cluster.ts';
import { claimsTopic, orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import type { WorkShare } from '#connectors/change-log/kafka/work-share.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { encodeOrderJson, type Claim } from '#schemas/order/order-record.ts';
import { mappedShape } from '#schemas/wire/shape.ts';
import type { RowEncoder, WireFormat } from '#schemas/wire/wire.ts';
import { silentLogger } from '#services/runtime/service.ts';
import type { MappingLimits } from '#services/transformer/limits.ts';
import { EventMapper } from '#services/transformer/map-event.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { MappedCheck } from './mapped-check.ts';
import { MemoryKafka, type MemoryCluster } from './memory-cluster.ts';
import type { Random } from './random.ts';
import { boundless, formatOf, memoryRegistry, NO_RELATION, rawShapeOf, scatterChange, type RawRecord, type RowChange } from './raw-events.ts'; // prettier-ignore

const NAME = 'm';

/** So that every limit is met. */
const SMALL: MappingLimits = {
  sliceRecords: 3,
  batchBytes: 1_000,
  groupBytes: 2_000,
  heldBytes: 4_000,
  wholeClaimEvery: 4,
  firstLookRecords: 3,
};

/** Its share is what the test says. */
class ScriptedShare implements WorkShare {
  #onShare: ((numbers: readonly number[]) => void) | undefined;
  #numbers: readonly number[] = [];

  give(numbers: readonly number[]): void {
    this.#numbers = numbers;
    this.#onShare?.(numbers);
  }

  join(onShare: (numbers: readonly number[]) => void): Promise<void> {
    this.#onShare = onShare;
    onShare(this.#numbers);
    return Promise.resolve();
  }

  leave(): Promise<void> {
    this.#onShare = undefined;
    return Promise.resolve();
  }
}

export interface RunningTransformer {
  readonly share: ScriptedShare;
  readonly cluster: MemoryCluster;
  readonly stop: () => Promise<void>;
}

export interface WorldOptions {
  readonly random: Random;
  /** Of produces to the mapped topics and of claims. */
  readonly failureRate: number;
  readonly partitions: number;
  readonly tables: readonly TableMapping[];
}

export class TransformerWorld {
  readonly kafka: MemoryKafka;
  readonly #options: WorldOptions;
  readonly #mapping: CompiledMapping;
  readonly #reader: MemoryCluster;
  readonly #registry: ReturnType<typeof memoryRegistry>;
  readonly #encoders: readonly RowEncoder[];
  readonly #mappers: readonly EventMapper[];
  readonly check: MappedCheck;
  /** Partition → records looked at. */
  readonly #looked = new Map<string, number>();
  readonly #queue: ProduceBatch[] = [];
  #appended = 0;
  #v = 0;
  readonly #ended: string[] = [];

  static async open(options: WorldOptions): Promise<TransformerWorld> {
    const registry = memoryRegistry();
    const format = formatOf(registry);
    const encoders: RowEncoder[] = [];
    const mappers: EventMapper[] = [];
    for (const table of options.tables) {
      const encoder = await format.encoder(mappedShape(table, { name: NAME, database: 'db', relation: NO_RELATION }));
      encoders.push(await format.encoder(rawShapeOf(table)));
      mappers.push(new EventMapper({ table, encoder, format, partitions: options.partitions, to: boundless(encoder.shape.topic) }));
    }
    for (let id = 1; (await registry.schema(id)) !== undefined; id++) await format.learn(Buffer.from([0, 0, 0, 0, id]));
    return new TransformerWorld(options, { registry, format, encoders, mappers });
  }

  private constructor(options: WorldOptions, parts: Parts) {
    const { random, failureRate, partitions, tables } = options;
    this.#options = options;
    this.#registry = parts.registry;
    this.#encoders = parts.encoders;
    this.#mappers = parts.mappers;
    this.check = new MappedCheck(parts.format, parts.mappers);
    this.#mapping = { name: NAME, hash: 'h', tables };
    const isOutput = (topic: string): boolean => topic.startsWith(`${NAME}.mapped.`);
    this.kafka = new MemoryKafka({
      random,
      failureRate,
      fetchRecordsMax: 20,
      fate: ({ batches }) => (batches.some(({ topic }) => isOutput(topic)) ? undefined : { answer: 'acknowledged' }),
    });
    this.#reader = this.kafka.client();
    for (const { shape } of this.#encoders) this.kafka.ensureTopic(shape.topic, { partitions });
    this.kafka.ensureTopic(orderTopic(NAME), { partitions: 1 });
    this.kafka.watch(() => this.#look());
  }

  start(): RunningTransformer {
    const cluster = this.kafka.client();
    const share = new ScriptedShare();
    const transformer = new Transformer({
      cluster,
      members: share,
      mapping: this.#mapping,
      database: 'db',
      format: formatOf(this.#registry),
      partitions: this.#options.partitions,
      compression: 'none',
      logger: silentLogger,
      backoff: { firstMs: 1, lastMs: 2 },
      limits: SMALL,
    });
    const stopping = new AbortController();
    const ended = transformer
      .run(stopping.signal)
      .catch((error: unknown) => void this.#ended.push(`a transformer ended: ${String(error)}`));
    const stop = (): Promise<void> => {
      stopping.abort();
      return ended;
    };
    return { share, cluster, stop };
  }

  /** The reader names a table's topic. */
  announce(index: number): void {
    const { topic, schema, table } = this.#encoders[index]!.shape;
    const value = encodeOrderJson({ t: 'topic', index, topic, schema, table, partitions: this.#options.partitions });
    this.#append(orderTopic(NAME), 0, { key: undefined, value, headers: [] });
  }

  /** The reader appends a change. */
  write(index: number, change: RowChange): void {
    const encoder = this.#encoders[index]!;
    const { partitions } = this.#options;
    for (const record of scatterChange(encoder, change, { topic: index, v: this.#v++ })) {
      const own = record.key === undefined ? 0 : partitionOf(record.key, partitions);
      const all = change.op === 't' ? Array.from({ length: partitions }, (_, i) => i) : [own];
      for (const partition of all) this.#append(encoder.shape.topic, partition, record);
    }
  }

  #append(topic: string, partition: number, { key, value, headers }: RawRecord): void {
    const builder = new RecordsBuilder();
    builder.add(key, value, headers);
    this.#appended++;
    this.#queue.push({ topic, partition, records: builder.take() });
    if (this.#queue.length === 1) void this.#appendAll();
  }

  async #appendAll(): Promise<void> {
    while (this.#queue.length > 0) {
      await this.#reader.produce([this.#queue[0]!]);
      this.#queue.shift();
    }
  }

  get faults(): readonly string[] {
    return [...this.#ended, ...this.check.faults];
  }

  /** True when all that was written is claimed. */
  get isDone(): boolean {
    let records = this.kafka.records(orderTopic(NAME)).length;
    let open = 0;
    this.#encoders.forEach(({ shape }, index) => {
      for (let partition = 0; partition < this.#options.partitions; partition++) {
        const end = this.kafka.records(shape.topic, partition).length;
        records += end;
        if ((this.check.claimed.get(`${index}/${partition}`) ?? 0) < end) open++;
      }
    });
    return open === 0 && records === this.#appended;
  }

  #look(): void {
    for (let partition = 0; partition < this.#options.partitions; partition++) {
      this.#encoders.forEach(({ shape }, index) => this.#new(shape.topic, partition, (record) => this.check.raw(index, partition, record)));
      for (const { to } of this.#mappers) this.#new(to.name, partition, (record) => this.check.mapped(`${to.name}/${partition}`, record));
    }
    this.#new(claimsTopic(NAME), 0, ({ value }) => this.check.claim(JSON.parse(value!.toString('utf8')) as Claim));
  }

  #new(topic: string, partition: number, look: (record: ReturnType<MemoryKafka['records']>[number]) => void): void {
    if (!this.kafka.topics().includes(topic)) return;
    const place = `${topic}/${partition}`;
    const records = this.kafka.records(topic, partition);
    for (const record of records.slice(this.#looked.get(place) ?? 0)) look(record);
    this.#looked.set(place, records.length);
  }
}

interface Parts {
  readonly registry: ReturnType<typeof memoryRegistry>;
  readonly format: WireFormat;
  readonly encoders: readonly RowEncoder[];
  readonly mappers: readonly EventMapper[];
}

/** Lets the event loop go round. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}
