/**
 * Kafka before anything is created: do brokers and registry answer, have all topics names of their own, may they be made, will they keep
 * what they are given. Guarantee: makes nothing, and all is told at once: what one cannot answer hides nothing of the others.
 */
import type { TopicSettings } from '#connectors/change-log/kafka/cluster.ts';
import { openKafkaCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import {
  mappedTopic,
  membersTopic,
  ownTopics,
  rawTopic,
  schemasTopic,
  topicCollisions,
  type TableName,
} from '#connectors/change-log/kafka/order/topic-names.ts';
import { examineKafka } from '#connectors/change-log/kafka/preflight.ts';
import { probeRegistry } from '#connectors/registry/probe-registry.ts';
import { registryAgent } from '#connectors/registry/registry-agent.ts';
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import { findingOf, toPipelineError } from '#schemas/envelope.ts';
import { type Finding, messageOf } from '#schemas/errors.ts';
import { errorFinding, warningFinding } from '#schemas/finding.ts';
import { silentLogger } from '#services/runtime/service.ts';

interface MappedTable {
  readonly source: TableName;
  readonly to: TableName;
}

export async function checkKafka(file: MigrationFile, kafka: KafkaSettings, tables: readonly MappedTable[]): Promise<Finding[]> {
  const [named, answered, registry] = await Promise.all([
    findings(async () => checkNames(file, kafka, tables)),
    checkBrokers(file, kafka),
    findings(() => checkRegistry(kafka)),
  ]);
  const reachable = answered.length < kafka.brokers.length;
  const topics = reachable ? await findings(() => checkTopics(file, kafka, tables)) : [];
  const unreachable = reachable ? answered.map(asWarning) : answered;
  return [...named, ...unreachable, ...topics, ...registry];
}

async function findings(check: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  return check().catch((error: unknown) => [findingOf(toPipelineError(error))]);
}

async function checkNames(file: MigrationFile, kafka: KafkaSettings, tables: readonly MappedTable[]): Promise<Finding[]> {
  const from = kafka.input === undefined ? tables.map(({ source }) => source) : [];
  const to = tables.map((table) => table.to);
  return topicCollisions(file.name, from, to).map(({ topic, tables: users }) =>
    errorFinding(
      'CF-3006',
      `the topic ${topic} would be that of ${users.join(' and ')}`,
      'Kafka tells . and _ not apart. Give the migration another name, or leave one of them to another migration.',
    ),
  );
}

/** One finding for each that cannot be used; those that can are enough for us. */
async function checkBrokers({ name }: MigrationFile, kafka: KafkaSettings): Promise<Finding[]> {
  const found = kafka.brokers.map(async (broker) => {
    try {
      const cluster = await openKafkaCluster(
        { ...kafka, brokers: [broker] },
        { clientId: `crossfade-${name}-check`, logger: silentLogger },
      );
      await cluster.close();
      return [];
    } catch (error) {
      return [errorFinding('CF-3006', messageOf(error), `Check log.kafka.brokers (${broker}), ssl and sasl.`)];
    }
  });
  return (await Promise.all(found)).flat();
}

function asWarning({ code, message, remedy }: Finding): Finding {
  return warningFinding(code, message, remedy);
}

async function checkTopics(file: MigrationFile, kafka: KafkaSettings, tables: readonly MappedTable[]): Promise<Finding[]> {
  const cluster = await openKafkaCluster(kafka, { clientId: `crossfade-${file.name}-check`, logger: silentLogger });
  try {
    const { replicationFactor } = kafka;
    return await examineKafka({ admin: cluster.admin, topics: topicsOf(file.name, kafka, tables), replicationFactor });
  } finally {
    await cluster.close();
  }
}

/** With their partitions. A connector's own topics are not ours to make. */
function topicsOf(name: string, kafka: KafkaSettings, tables: readonly MappedTable[]): ReadonlyMap<string, TopicSettings> {
  const many = { partitions: kafka.partitions };
  const keepsSchemas = kafka.format === 'avro' && kafka.registry === undefined;
  const own = ownTopics(name).filter((topic) => keepsSchemas || topic !== schemasTopic(name));
  const all: readonly (readonly [string, TopicSettings])[] = [
    ...own.map((topic) => [topic, topic === membersTopic(name) ? many : { partitions: 1 }] as const),
    ...tables.map(({ to }) => [mappedTopic(name, to), many] as const),
    ...(kafka.input === undefined ? tables.map(({ source }) => [rawTopic(name, source), many] as const) : []),
  ];
  // Of names that collide one: the other is told already.
  return new Map(new Map(all.map((entry) => [entry[0].replaceAll('.', '_'), entry])).values());
}

async function checkRegistry(kafka: KafkaSettings): Promise<Finding[]> {
  if (kafka.registry !== undefined) await probeRegistry(kafka.registry, await registryAgent(kafka));
  return [];
}
