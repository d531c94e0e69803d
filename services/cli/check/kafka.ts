/** Kafka before anything is created: do brokers and registry answer, do all topics have names of their own. Guarantee: makes nothing. */
import { openKafkaCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { topicCollisions, type TableName } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import { type Finding, messageOf } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import { silentLogger } from '#services/runtime/service.ts';

const REGISTRY_TIMEOUT_MS = 5_000;

interface MappedTable {
  readonly source: TableName;
  readonly to: TableName;
}

export async function checkKafka(file: MigrationFile, kafka: KafkaSettings, tables: readonly MappedTable[]): Promise<Finding[]> {
  const from = tables.map(({ source }) => source);
  const to = tables.map((table) => table.to);
  const collisions = topicCollisions(file.name, from, to).map(({ topic, tables: users }) =>
    errorFinding(
      'CF-3006',
      `the topic ${topic} would be that of ${users.join(' and ')}`,
      'Give the migration another name, or leave one of them to another migration.',
    ),
  );
  return [...collisions, ...(await checkBrokers(file, kafka)), ...(await checkRegistry(kafka))];
}

async function checkBrokers({ name }: MigrationFile, kafka: KafkaSettings): Promise<Finding[]> {
  try {
    const cluster = await openKafkaCluster(kafka, { clientId: `crossfade-${name}-check`, logger: silentLogger });
    await cluster.close();
    return [];
  } catch (error) {
    return [errorFinding('CF-3006', messageOf(error), `Check log.kafka.brokers (${kafka.brokers.join(', ')}), ssl and sasl.`)];
  }
}

async function checkRegistry({ registry }: KafkaSettings): Promise<Finding[]> {
  if (registry === undefined) return [];
  const { username, password, ...url } = partsOf(registry);
  const authorization = username === '' ? {} : { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
  try {
    const answer = await fetch(`${url.address}/subjects`, { headers: authorization, signal: AbortSignal.timeout(REGISTRY_TIMEOUT_MS) });
    if (answer.ok) return [];
    throw new Error(`it answers ${answer.status}`);
  } catch (error) {
    const message = `the schema registry at ${url.address} cannot be used: ${messageOf(error)}`;
    return [errorFinding('CF-3006', message, 'Check log.kafka.registry; it is the address of Confluent’s API.')];
  }
}

/** An address must not carry its password into a message. */
function partsOf(registry: string): { readonly username: string; readonly password: string; readonly address: string } {
  const url = new URL(registry);
  const [username, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  url.username = '';
  url.password = '';
  return { username, password, address: url.href.replace(/\/$/, '') };
}
