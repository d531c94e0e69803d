/** The raw log over Kafka in memory, for sinks under test: scatter, one transformer and gather as in the product. */
import { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { describeMappedRows, mappedSide } from '#schemas/mapping/mapped-side.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { silentLogger } from '#services/runtime/service.ts';
import type { SinkSettings } from '#services/sink/sink.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { MemoryKafka, type MemoryKafkaOptions } from '#test/support/memory-cluster.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';

const PARTITIONS = 3;

export interface GatheredLog {
  /** What the reader appends to. */
  readonly raw: ScatterTopic;
  /** What a sink needs to read it. */
  readonly settings: Pick<SinkSettings, 'raw' | 'bookmarks' | 'describeRows' | 'mapping'>;
  readonly kafka: MemoryKafka;
  /** The same topics, read by another file. */
  readonly gatherFor: (mapping: CompiledMapping) => GatherTopic;
  close(): Promise<void>;
}

export async function gatheredLog(
  mapping: CompiledMapping,
  source: readonly CatalogTable[],
  options: MemoryKafkaOptions = {},
): Promise<GatheredLog> {
  const kafka = new MemoryKafka(options);
  const registry = memoryRegistry();
  const format = (): ReturnType<typeof avroFormat> => avroFormat(registry, { name: mapping.name });
  const common = { name: mapping.name, partitions: PARTITIONS };
  const isMapped = ({ schema, name }: CatalogTable): boolean =>
    mapping.tables.some(({ from }) => from.schema === schema && from.name === name);
  const raw = new ScatterTopic({
    ...common,
    cluster: kafka.client(),
    format: format(),
    database: 'd',
    tableOf: ({ oid, schema, name }) => {
      const isLeaf = (table: CatalogTable): boolean => table.leaves.some((leaf) => leaf.oid === oid);
      return source.find(
        (table) => isMapped(table) && (table.oid === oid || isLeaf(table) || (table.schema === schema && table.name === name)),
      );
    },
  });
  await raw.begin(0);
  const transformer = new Transformer({
    cluster: kafka.client(),
    members: {
      join: (onShare) => Promise.resolve(onShare(Array.from({ length: PARTITIONS }, (_, i) => i))),
      leave: () => Promise.resolve(),
    },
    mapping,
    database: 'd',
    format: format(),
    partitions: PARTITIONS,
    compression: 'none',
    logger: silentLogger,
  });
  const stop = new AbortController();
  const running = transformer.run(stop.signal);
  running.catch(() => undefined);
  const gatherFor = (of: CompiledMapping): GatherTopic =>
    new GatherTopic({ ...common, cluster: kafka.client(), format: format(), mapping: of, retainBytes: 0 });
  const gather = gatherFor(mapping);
  return {
    raw,
    settings: { raw: gather, bookmarks: gather, describeRows: describeMappedRows(mapping), mapping: mappedSide(mapping) },
    kafka,
    gatherFor,
    close: async () => {
      stop.abort();
      await running;
    },
  };
}
