/** The sink's side of Kafka. Guarantee: `kafka` ends with it. */
import { openKafkaDeadLetters } from '#connectors/change-log/kafka/kafka-dead-letters.ts';
import { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import { describeMappedRows, mappedSide } from '#schemas/mapping/mapped-side.ts';
import { openFormat } from './open-format.ts';
import type { OpenKafka } from './open-kafka.ts';
import type { LogOptions } from './open-reader-log.ts';
import type { SinkLog } from './sink-service.ts';

/** @throws PipelineError CF-3001, CF-3002, CF-3006 */
export async function openSinkLog(kafka: OpenKafka, { file, migration, kafka: settings }: LogOptions): Promise<SinkLog> {
  await using stack = new AsyncDisposableStack();
  stack.defer(() => kafka.close());
  const wire = await openFormat(kafka, file.name, settings);
  stack.defer(() => wire.close());
  const { format } = wire;
  let know: Parameters<SinkLog['onRelation']>[0] | undefined;
  const raw = new GatherTopic({
    onRelation: (oid, table) => know?.(oid, table),
    cluster: kafka.cluster,
    name: file.name,
    format,
    mapping: migration.mapping,
    partitions: settings.partitions,
    retainBytes: file.settings.log.retainBytes,
  });
  const [progress, requests] = [await kafka.progress(), await kafka.requests()];
  const { cluster } = kafka;
  const deadLetters = await openKafkaDeadLetters({ cluster, format, mapping: migration.mapping, topics: () => raw.topics });
  const kept = stack.move();
  return {
    raw,
    bookmarks: raw,
    mapping: mappedSide(migration.mapping),
    describeRows: describeMappedRows(migration.mapping),
    progress,
    deadLetters,
    requests,
    onRelation: (told) => void (know = told),
    close: () => kept.disposeAsync(),
  };
}
