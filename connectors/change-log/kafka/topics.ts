/**
 * Topics as the log needs them. Guarantee: after `ensureTopics` each exists with its partition count, is never compacted, keeps what it
 * holds unless the broker was told otherwise by somebody else, and every partition has a leader.
 */
import kafkajs, { type Admin, type ITopicConfig, type ITopicMetadata } from 'kafkajs';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { TopicSettings } from './cluster.ts';
import type { KafkaLog } from './client.ts';
import type { Connections } from './connection.ts';
import { kafkaError, patiently } from './kafka-error.ts';
import { boundsOf } from './offsets.ts';

const CREATE_TIMEOUT_MS = 30_000;
export const RECORD_BYTES_MAX = 10 * 1024 * 1024;
/** Every topic of ours. */
export const KEEP: Readonly<Record<string, string>> = { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' };
/** Left out where a broker's policy refuses them. */
export const WISHED: Readonly<Record<string, string>> = { 'max.message.bytes': String(RECORD_BYTES_MAX) };
export const BROKER_DEFAULT = -1;

export interface TopicsOptions {
  readonly admin: Admin;
  readonly connections: Connections;
  readonly logger: KafkaLog;
  readonly replicationFactor: number | undefined;
}

export async function ensureTopics(topics: ReadonlyMap<string, TopicSettings>, options: TopicsOptions): Promise<void> {
  const existing = new Set(await listTopics(options.admin));
  const missing = [...topics].filter(([name]) => !existing.has(name));
  if (missing.length > 0) await createTopics(missing, options);
  await checkTopics(topics, options);
}

export async function listTopics(admin: Admin): Promise<readonly string[]> {
  return patiently('listing topics', () => admin.listTopics());
}

async function createTopics(missing: readonly (readonly [string, TopicSettings])[], options: TopicsOptions): Promise<void> {
  const { admin, logger, replicationFactor = BROKER_DEFAULT } = options;
  const create = async (config: Readonly<Record<string, string>>): Promise<void> => {
    const topics: ITopicConfig[] = missing.map(([topic, { partitions }]) => ({
      topic,
      numPartitions: partitions,
      replicationFactor,
      configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
    }));
    // False: some of them were there already, made by another process of this migration at the same time. They are checked below.
    // kafkajs's own wait for leaders fails where a broker has not heard of the topic yet; `described` waits for that.
    await admin.createTopics({ topics, timeout: CREATE_TIMEOUT_MS, waitForLeaders: false });
  };
  try {
    await create({ ...KEEP, ...WISHED });
  } catch (error) {
    const failure = kafkaError(error, `creating topics ${missing.map(([name]) => name).join(', ')}`);
    if (!isRefusedSetting(failure)) throw failure;
    logger.warn({ cause: messageOf(error) }, 'kafka: topics are made without max.message.bytes, which the broker refuses');
    try {
      await create(KEEP);
    } catch (again) {
      throw kafkaError(again, `creating topics ${missing.map(([name]) => name).join(', ')}`);
    }
  }
}

function isRefusedSetting(failure: PipelineError): boolean {
  return /config|policy/i.test(failure.message);
}

async function checkTopics(topics: ReadonlyMap<string, TopicSettings>, { admin, connections, logger }: TopicsOptions): Promise<void> {
  const names = [...topics.keys()];
  for (const { name, partitions } of await described(names, admin)) {
    const wanted = topics.get(name)?.partitions;
    if (wanted === undefined || partitions.length === wanted) continue;
    throw new PipelineError('CF-3002', `topic ${name} has ${partitions.length} partitions, not ${wanted}`, {
      remedy:
        'Set log.kafka.partitions to what the topics have, or give the migration another name. Partitions added later would break the order of keys.',
    });
  }
  for (const [name, entries] of await describeTopics(names, { admin, logger })) checkPolicy(name, entries, logger);
  // A leader that was named does not take records before it has heard of that itself; an answer about offsets is its own.
  await boundsOf(names, connections);
}

/** Their partitions, once the broker asked knows them all and each has a leader. */
async function described(names: readonly string[], admin: Admin): Promise<readonly ITopicMetadata[]> {
  return patiently(`describing topics ${names.join(', ')}`, async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [...names] });
    const without = topics.find(({ partitions }) => partitions.some(({ leader }) => leader < 0));
    if (without === undefined) return topics;
    throw new PipelineError('CF-3001', `Kafka: topic ${without.name} has a partition without leader`);
  });
}

type Entries = ReadonlyMap<string, string>;

async function describeTopics(
  names: readonly string[],
  { admin, logger }: Pick<TopicsOptions, 'admin' | 'logger'>,
): Promise<ReadonlyMap<string, Entries>> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: names.map((name) => ({
        type: kafkajs.ConfigResourceTypes.TOPIC,
        name,
        configNames: [...Object.keys(KEEP), ...Object.keys(WISHED)],
      })),
    });
    return new Map(
      resources.map((resource) => [
        resource.resourceName,
        new Map(resource.configEntries.map((entry) => [entry.configName, entry.configValue])),
      ]),
    );
  } catch (error) {
    // The right to describe configurations is often withheld; nothing else depends on it.
    logger.warn({ cause: messageOf(error) }, 'kafka: the settings of the topics cannot be read, so they are not checked');
    return new Map();
  }
}

export async function batchBytesMax(topic: string, asked: Pick<TopicsOptions, 'admin' | 'logger'>): Promise<number> {
  const entries = (await describeTopics([topic], asked)).get(topic);
  return Number(entries?.get('max.message.bytes') ?? Infinity);
}

function checkPolicy(name: string, entries: Entries, logger: KafkaLog): void {
  const alter = (setting: string): string =>
    `kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name ${name} --add-config ${setting}`;
  const policy = entries.get('cleanup.policy') ?? 'delete';
  if (policy.includes('compact')) {
    throw new PipelineError(
      'CF-3002',
      `topic ${name} has cleanup.policy=${policy}: compaction removes changes that are still to be applied`,
      {
        remedy: `Before anything is written: ${alter('cleanup.policy=delete')}`,
      },
    );
  }
  for (const setting of ['retention.ms', 'retention.bytes']) {
    const value = entries.get(setting);
    if (value !== undefined && Number(value) >= 0) {
      logger.warn({ topic: name, [setting]: value, remedy: alter(`${setting}=-1`) }, `kafka: topic ${name} forgets by ${setting}`);
    }
  }
  const largest = entries.get('max.message.bytes');
  if (largest !== undefined && Number(largest) < RECORD_BYTES_MAX) {
    logger.warn(
      { topic: name, remedy: alter(`max.message.bytes=${RECORD_BYTES_MAX}`) },
      `kafka: topic ${name} takes rows of ${largest} bytes at most`,
    );
  }
}
