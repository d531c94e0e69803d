/** One table under files that change: a reader's log in memory, with transformers and sinks of either file. */
import { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { claimsTopic, mappedTopic, rawTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import type { Claim } from '#schemas/order/order-record.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { begin, commit, insert, relation } from '#test/support/frames.ts';
import { TABLES } from '#test/support/gather-tables.ts';
import { batchOf, recordsOf } from '#test/support/log-records.ts';
import { MemoryKafka, type MemoryKafkaOptions } from '#test/support/memory-cluster.ts';
import { catalogTable } from '#test/support/scattered-log.ts';

export const WHOLE: TableMapping = TABLES[0]!.mapping;
export const NARROW: TableMapping = { ...WHOLE, columns: WHOLE.columns.slice(0, 2) };
const COLUMNS = ['id', 'note', 'big'];
const RELATION = relation({ oid: 101, name: 'plain', columns: COLUMNS.map((name) => ({ name, key: name === 'id' })) });
export const PARTITIONS: number = 3;

export function fileOf(...tables: readonly TableMapping[]): CompiledMapping {
  return { name: 'm', hash: String(tables.length), tables };
}

export class World {
  readonly kafka: MemoryKafka;
  readonly #raw: ScatterTopic;
  readonly #stops: (() => Promise<void>)[] = [];
  #lsn = 1n;

  constructor(options: MemoryKafkaOptions = {}) {
    this.kafka = new MemoryKafka(options);
    const catalog = catalogTable({ oid: 101, name: 'plain', columns: COLUMNS, key: ['id'] });
    const common = { cluster: this.kafka.client(), name: 'm', format: jsonFormat({ name: 'm' }), partitions: PARTITIONS };
    this.#raw = new ScatterTopic({ ...common, database: 'd', tableOf: () => catalog });
  }

  async begin(): Promise<void> {
    await this.#raw.begin(0);
  }

  /** @returns the frames. */
  async write(...values: readonly string[]): Promise<readonly Buffer[]> {
    const rows = values.map((value) => insert(101, [value, value, `big ${value}`]));
    const frames = [begin(this.#lsn), RELATION, ...rows, commit(this.#lsn, this.#lsn + 1n)];
    this.#lsn += 2n;
    await this.#raw.append(0, batchOf(...frames));
    return frames;
  }

  /** @returns what stops it. */
  transformer(mapping: CompiledMapping): () => Promise<void> {
    const transformer = new Transformer({
      cluster: this.kafka.client(),
      members: { join: (onShare) => Promise.resolve(onShare([0, 1, 2])), leave: () => Promise.resolve() },
      mapping,
      database: 'd',
      format: jsonFormat({ name: 'm' }),
      partitions: PARTITIONS,
      compression: 'none',
      logger: silentLogger,
    });
    const stopping = new AbortController();
    const running = transformer.run(stopping.signal);
    const stop = async (): Promise<void> => {
      stopping.abort();
      await running;
    };
    this.#stops.push(stop);
    return stop;
  }

  gather(mapping: CompiledMapping, patienceMs?: number): GatherTopic {
    const common = { cluster: this.kafka.client(), name: 'm', format: jsonFormat({ name: 'm' }), partitions: PARTITIONS };
    return new GatherTopic({ ...common, mapping, retainBytes: 0, ...(patienceMs !== undefined && { patienceMs }) });
  }

  /** Resolves once the mapping has claimed so many raw records of the partitions together. */
  async claimed(mapping: TableMapping, records: number): Promise<void> {
    await this.#until(() => {
      const offsets = new Map<number, number>();
      for (const { value } of this.#records(claimsTopic('m')))
        for (const entry of (JSON.parse(value!.toString('utf8')) as Claim).entries)
          if (entry.mapping === tableTag(mapping)) offsets.set(entry.partition, entry.offset);
      return [...offsets.values()].reduce((sum, offset) => sum + offset, 0) >= records;
    });
  }

  /** A claim of the raw partition that has records, without outputs. */
  async claim(mapping: TableMapping, from: number, offset: number): Promise<void> {
    const partition = [0, 1, 2].find((number) => this.#records(rawTopic('m', WHOLE.from), number).length > 0)!;
    const claim: Claim = { t: 'claim', entries: [{ topic: 0, partition, mapping: tableTag(mapping), from, offset, ends: {} }] };
    const builder = new RecordsBuilder();
    builder.add(undefined, Buffer.from(JSON.stringify(claim)));
    await this.kafka.client().produce([{ topic: claimsTopic('m'), partition: 0, records: builder.take() }]);
  }

  async mapped(records: number): Promise<void> {
    const topic = mappedTopic('m', WHOLE.to);
    await this.#until(() => [0, 1, 2].reduce((sum, partition) => sum + this.#records(topic, partition).length, 0) >= records);
  }

  #records(topic: string, partition = 0): ReturnType<MemoryKafka['records']> {
    return this.kafka.topics().includes(topic) ? this.kafka.records(topic, partition) : [];
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve));
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) await stop();
  }
}

export async function next(gather: GatherTopic, from: number): Promise<readonly Buffer[] | undefined> {
  const cursor = gather.read(0, from);
  try {
    const batch = await cursor.next(AbortSignal.timeout(30_000));
    return batch && recordsOf(batch);
  } finally {
    await cursor.close();
  }
}

/** What a sink that has read everything lets go of. */
export async function release(gather: GatherTopic, to: number): Promise<Bookmark> {
  const cursor = gather.read(0, 0);
  while ((gather.bookmark()?.offset ?? 0) < to) await cursor.next(AbortSignal.timeout(50));
  const bookmark = gather.bookmark()!;
  await cursor.close();
  await gather.release(bookmark);
  return bookmark;
}
