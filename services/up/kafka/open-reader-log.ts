/** The reader's side of Kafka. Guarantee: leaves of a partitioned table go to its topic from when they are known; `kafka` ends with it. */
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { Migration } from '../read-migration.ts';
import { openFormat } from './open-format.ts';
import type { OpenKafka } from './open-kafka.ts';
import type { ReaderLog } from './reader-service.ts';

export interface LogOptions {
  readonly file: MigrationFile;
  readonly kafka: KafkaSettings;
  readonly migration: Migration;
}

/** @throws PipelineError CF-3001, CF-3002, CF-3006 */
export async function openReaderLog(kafka: OpenKafka, options: LogOptions): Promise<ReaderLog> {
  const { file, migration } = options;
  const { partitions, compression } = options.kafka;
  await using stack = new AsyncDisposableStack();
  stack.defer(() => kafka.close());
  const wire = await openFormat(kafka, file.name, options.kafka);
  stack.defer(() => wire.close());
  const { format } = wire;
  const byName = new Map(migration.sourceTables.map((table) => [tableId(table), table]));
  const byOid = new Map(
    migration.sourceTables.flatMap((table) => [table, ...table.leaves].map(({ oid }): [number, CatalogTable] => [oid, table])),
  );
  const raw = new ScatterTopic({
    cluster: kafka.cluster,
    name: file.name,
    format,
    database: migration.database,
    types: migration.types,
    partitions,
    compression,
    tableOf: (relation) => byOid.get(relation.oid) ?? byName.get(tableId(relation)),
  });
  const [progress, requests] = [await kafka.progress(), await kafka.requests()];
  const kept = stack.move();
  return {
    raw,
    progress,
    requests,
    learn: (name, leaves) => {
      const table = byName.get(tableId(name));
      if (table === undefined) return;
      for (const oid of leaves) byOid.set(oid, table);
      raw.learnLeaves(leaves);
    },
    close: () => kept.disposeAsync(),
  };
}
