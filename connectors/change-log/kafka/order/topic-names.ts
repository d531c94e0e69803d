/**
 * Names of a migration's topics. Guarantee: each is a name that Kafka takes, made as Debezium makes it; which of them would meet in one
 * topic is told by `topicCollisions`.
 */
import { PipelineError } from '#schemas/errors.ts';

export interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** Kafka's own bound. */
const TOPIC_LENGTH_MAX = 249;

/** Characters that Kafka does not take become `_`. @throws PipelineError CF-3006 when it is too long. */
function topicName(...parts: readonly string[]): string {
  const name = parts.join('.').replaceAll(/[^a-zA-Z0-9._-]/g, '_');
  if (name.length <= TOPIC_LENGTH_MAX) return name;
  throw new PipelineError('CF-3006', `the topic name ${name} has ${name.length} characters; Kafka takes ${TOPIC_LENGTH_MAX}`, {
    remedy: 'Give the migration a shorter name.',
  });
}

/** A table's changes as read. */
export function rawTopic(migration: string, table: TableName): string {
  return topicName(migration, table.schema, table.name);
}

/** A target table's rows as mapped. */
export function mappedTopic(migration: string, to: TableName): string {
  return topicName(migration, 'mapped', to.schema, to.name);
}

/** What the reader says of its progress. */
export function progressTopic(migration: string): string {
  return topicName(migration, 'progress');
}

/** Segments. */
export function orderTopic(migration: string): string {
  return topicName(migration, 'order');
}

/** Claims of the transformers. */
export function claimsTopic(migration: string): string {
  return topicName(migration, 'mapped', 'progress');
}

/** Holds no records: its group's assignment shares out the raw partition numbers. */
export function membersTopic(migration: string): string {
  return topicName(migration, 'members');
}

/**
 * Consumer group of the transformers that map alike (`tag`: mapping/table-tag.ts). Those of another file share out the numbers among
 * themselves, so that while a changed file is rolled out each file has somebody for every number.
 */
export function membersGroup(migration: string, tag: string): string {
  return `${membersTopic(migration)}.${tag}`;
}

/** What the sink asks of the reader. */
export function requestsTopic(migration: string): string {
  return topicName(migration, 'requests');
}

export function deadLetterTopic(migration: string): string {
  return topicName(migration, 'dlq');
}

/** The registry, where there is no other. */
export function schemasTopic(migration: string): string {
  return topicName(migration, 'schemas');
}

/** Those that hold no rows. */
export function ownTopics(migration: string): readonly string[] {
  const names = [progressTopic, orderTopic, claimsTopic, membersTopic, requestsTopic, deadLetterTopic, schemasTopic];
  return names.map((name) => name(migration));
}

export interface TopicCollision {
  readonly topic: string;
  readonly tables: readonly string[];
}

/** What Kafka takes for one name: its metrics know no difference between the two characters, so it refuses the second topic. */
function withoutDots(topic: string): string {
  return topic.replaceAll('.', '_');
}

/** Tables whose topics would be one, or differ in `.` and `_` only, or would be one of the migration's own. */
export function topicCollisions(migration: string, from: readonly TableName[], to: readonly TableName[]): readonly TopicCollision[] {
  const users = new Map<string, { readonly topic: string; readonly tables: Set<string> }>();
  const claim = (topic: string, user: string): void => {
    const known = users.get(withoutDots(topic));
    if (known === undefined) users.set(withoutDots(topic), { topic, tables: new Set([user]) });
    else known.tables.add(user);
  };
  for (const topic of ownTopics(migration)) claim(topic, "the migration's own records");
  for (const table of from) claim(rawTopic(migration, table), `${table.schema}.${table.name} of the source`);
  for (const table of to) claim(mappedTopic(migration, table), `${table.schema}.${table.name} of the target`);
  return [...users.values()].filter(({ tables }) => tables.size > 1).map(({ topic, tables }) => ({ topic, tables: [...tables] }));
}
