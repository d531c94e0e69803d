/**
 * Kafka before anything is created: may the topics be made, do they keep what they are given, and survive a broker. Guarantee: makes and
 * changes nothing (the broker is asked to validate only); what may not be read is told and hides nothing else.
 */
import kafkajs, { type Admin, type ITopicConfig } from 'kafkajs';
import { type Finding, messageOf } from '#schemas/errors.ts';
import { errorFinding, listNames, warningFinding } from '#schemas/finding.ts';
import type { TopicSettings } from './cluster.ts';
import { kafkaError, typeOf } from './kafka-error.ts';
import { BROKER_DEFAULT, KEEP, listTopics, RECORD_BYTES_MAX, WISHED } from './topics.ts';

/** The largest batch that we send where no single row is larger. */
const BATCH_BYTES_MAX = 1024 * 1024;
const VALIDATE_TIMEOUT_MS = 10_000;

export interface KafkaPreflight {
  readonly admin: Admin;
  /** All that the migration uses. */
  readonly topics: ReadonlyMap<string, TopicSettings>;
  readonly replicationFactor: number | undefined;
}

export interface Replication {
  /** What is replicated so, for the message. */
  readonly what: string;
  readonly factor: number;
  readonly minInSync: number;
}

type Entries = ReadonlyMap<string, string>;

/** @throws PipelineError when the brokers do not answer */
export async function examineKafka(preflight: KafkaPreflight): Promise<Finding[]> {
  const { admin, topics } = preflight;
  const existing = new Set(await listTopics(admin));
  const [made, missing] = [[...topics.keys()].filter((name) => existing.has(name)), [...topics].filter(([name]) => !existing.has(name))];
  const { brokers } = await admin.describeCluster();
  const findings: Finding[] = [];
  const broker = await read(findings, 'the settings of the brokers', () => brokerSettings(admin, brokers[0]?.nodeId ?? 0));
  if (missing.length > 0) findings.push(...(await creationFindings(preflight, missing, broker)));
  if (missing.length > 0 && broker !== undefined) {
    const factor = preflight.replicationFactor ?? numberOf(broker, 'default.replication.factor', 1);
    const replication = { what: 'the topics to be made', factor, minInSync: numberOf(broker, 'min.insync.replicas', 1) };
    findings.push(...replicationFindings(replication, brokers.length));
  }
  if (made.length > 0) findings.push(...(await madeFindings(preflight, made, brokers.length)));
  return findings;
}

/** The right to read settings is often withheld; nothing else depends on it. */
async function read<T>(findings: Finding[], what: string, ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    findings.push(
      warningFinding('CF-3006', `${what} cannot be read, so they are not checked: ${messageOf(error)}`, 'Allow DescribeConfigs.'),
    );
    return undefined;
  }
}

async function brokerSettings(admin: Admin, nodeId: number): Promise<Entries> {
  const configNames = ['default.replication.factor', 'min.insync.replicas', 'message.max.bytes'];
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: kafkajs.ConfigResourceTypes.BROKER, name: String(nodeId), configNames }],
  });
  return entriesOf(resources[0]?.configEntries);
}

function entriesOf(entries: readonly { readonly configName: string; readonly configValue: string }[] | undefined): Entries {
  return new Map(entries?.map(({ configName, configValue }) => [configName, configValue]));
}

function numberOf(entries: Entries, name: string, otherwise: number): number {
  const value = entries.get(name);
  return value === undefined || Number.isNaN(Number(value)) ? otherwise : Number(value);
}

// --- topics to be made ---

type Missing = readonly (readonly [string, TopicSettings])[];

async function creationFindings(preflight: KafkaPreflight, missing: Missing, broker: Entries | undefined): Promise<Finding[]> {
  const refused = await refusals(preflight, missing, { ...KEEP, ...WISHED });
  if (refused.length === 0) return [];
  const plainly = await refusals(preflight, missing, KEEP);
  if (plainly.length > 0) return plainly;
  const largest = broker === undefined ? 0 : numberOf(broker, 'message.max.bytes', BATCH_BYTES_MAX);
  return sizeFindings('the brokers, which refuse max.message.bytes for a topic,', largest, 'Raise message.max.bytes on the brokers.');
}

/** What the broker would answer, one finding a reason. */
async function refusals({ admin, replicationFactor }: KafkaPreflight, missing: Missing, config: typeof KEEP): Promise<Finding[]> {
  const topics = missing.map(([topic, { partitions }]): ITopicConfig => ({
    topic,
    numPartitions: partitions,
    replicationFactor: replicationFactor ?? BROKER_DEFAULT,
    configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
  }));
  try {
    await admin.createTopics({ topics, timeout: VALIDATE_TIMEOUT_MS, waitForLeaders: false, validateOnly: true });
    return [];
  } catch (error) {
    const errors = (error as { readonly errors?: readonly unknown[] }).errors ?? [error];
    const byReason = Map.groupBy(errors, (one) => kafkaError(one, 'making them').message);
    return [...byReason].map(([reason, ones]) => {
      const names = ones.flatMap((one) => (one as { readonly topic?: string }).topic ?? []);
      const which = names.length > 0 ? listNames(names) : listNames(missing.map(([name]) => name));
      return errorFinding('CF-3006', `topics cannot be made (${which}): ${reason}`, remedyFor(ones.map(typeOfInner), missing.length));
    });
  }
}

function typeOfInner(error: unknown): string | undefined {
  return typeOf(error) ?? typeOf((error as { readonly cause?: unknown }).cause);
}

function remedyFor(types: readonly (string | undefined)[], count: number): string {
  if (types.some((type) => type?.endsWith('AUTHORIZATION_FAILED')))
    return `Allow Create, Describe, Read, Write, Alter and Delete on topics that begin with the migration's name (kafka-acls.sh --add --resource-pattern-type prefixed …), or make the ${count} topics yourself.`;
  if (types.includes('INVALID_REPLICATION_FACTOR')) return 'Set log.kafka.replicationFactor to at most the number of brokers.';
  if (types.includes('INVALID_TOPIC_EXCEPTION'))
    return "A topic of another one's exists whose name differs in '.' and '_' only: give the migration another name.";
  return 'Mend the setting named, or what the brokers demand of new topics.';
}

// --- topics that are there ---

async function madeFindings({ admin, topics }: KafkaPreflight, made: readonly string[], brokers: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  const metadata = await admin.fetchTopicMetadata({ topics: [...made] });
  for (const { name, partitions } of metadata.topics) {
    const wanted = topics.get(name)?.partitions;
    if (wanted === undefined || partitions.length === wanted) continue;
    const remedy = 'Set log.kafka.partitions to what the topics have, or give the migration another name.';
    findings.push(errorFinding('CF-3002', `topic ${name} has ${partitions.length} partitions, not ${wanted}`, remedy));
  }
  const settings = await read(findings, 'the settings of the topics', () => topicSettings(admin, made));
  const [alike, order] = [new Map<string, Replication>(), metadata.topics.toSorted((a, b) => (a.name < b.name ? -1 : 1))];
  for (const { name, partitions } of order) {
    const entries = settings?.get(name);
    if (entries === undefined) continue;
    findings.push(...keptFindings(name, entries));
    const factor = Math.min(...partitions.map(({ replicas }) => replicas.length));
    const minInSync = numberOf(entries, 'min.insync.replicas', 1);
    const seen = alike.get(`${factor} ${minInSync}`);
    alike.set(`${factor} ${minInSync}`, { what: seen === undefined ? `topic ${name}` : 'the topics that are there', factor, minInSync });
  }
  for (const replication of alike.values()) findings.push(...replicationFindings(replication, brokers));
  return findings;
}

async function topicSettings(admin: Admin, names: readonly string[]): Promise<ReadonlyMap<string, Entries>> {
  const configNames = [...Object.keys(KEEP), ...Object.keys(WISHED), 'min.insync.replicas'];
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: names.map((name) => ({ type: kafkajs.ConfigResourceTypes.TOPIC, name, configNames })),
  });
  return new Map(resources.map(({ resourceName, configEntries }) => [resourceName, entriesOf(configEntries)]));
}

function keptFindings(name: string, entries: Entries): Finding[] {
  const alter = (setting: string): string =>
    `kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name ${name} --add-config ${setting}`;
  const findings: Finding[] = [];
  const policy = entries.get('cleanup.policy') ?? 'delete';
  if (policy.includes('compact'))
    findings.push(
      errorFinding('CF-3002', `topic ${name} has cleanup.policy=${policy}, which removes changes`, alter('cleanup.policy=delete')),
    );
  for (const setting of ['retention.ms', 'retention.bytes']) {
    const value = numberOf(entries, setting, -1);
    if (value >= 0) findings.push(warningFinding('CF-3006', `topic ${name} forgets by ${setting}=${value}`, alter(`${setting}=-1`)));
  }
  const largest = numberOf(entries, 'max.message.bytes', RECORD_BYTES_MAX);
  return [...findings, ...sizeFindings(`topic ${name}`, largest, alter(`max.message.bytes=${RECORD_BYTES_MAX}`))];
}

// --- what holds for both ---

function sizeFindings(what: string, largest: number, remedy: string): Finding[] {
  if (largest < BATCH_BYTES_MAX)
    return [errorFinding('CF-3005', `${what} takes batches of ${largest} bytes at most; ours have up to ${BATCH_BYTES_MAX}`, remedy)];
  if (largest < RECORD_BYTES_MAX) return [warningFinding('CF-3005', `${what} takes rows of ${largest} bytes at most`, remedy)];
  return [];
}

/** What the loss of a broker would do. */
export function replicationFindings({ what, factor, minInSync }: Replication, brokers: number): Finding[] {
  const has = `${what}: replication factor ${factor}, min.insync.replicas ${minInSync}, ${brokers} brokers`;
  if (minInSync > factor)
    return [errorFinding('CF-3006', `${has}: nothing can ever be written`, 'Set min.insync.replicas below the replication factor.')];
  if (brokers < 2) return [];
  if (factor < 2) {
    const remedy = 'Set log.kafka.replicationFactor: 3, before the topics are made, and min.insync.replicas=2.';
    return [warningFinding('CF-3006', `${has}: the loss of one broker loses changes`, remedy)];
  }
  if (minInSync === factor)
    return [
      warningFinding('CF-3006', `${has}: while one broker is away nothing is written`, 'Set min.insync.replicas one below the factor.'),
    ];
  if (minInSync < 2)
    return [
      warningFinding('CF-3006', `${has}: what is acknowledged may lie on one broker only`, 'Set min.insync.replicas=2 on the topics.'),
    ];
  return [];
}
