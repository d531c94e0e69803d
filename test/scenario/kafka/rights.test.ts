/** A user per service with the rights of docs/kafka.md, and no other, against a broker with Kafka's own authorizer. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import kafkajs, { type AclEntry, type AclOperationTypes, type AclResourceTypes } from 'kafkajs';
import { expect, test } from 'vitest';
import { clusterOn } from '#test/support/log-on-kafka.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { startKafka, type Kafka } from '#test/support/kafka/kafka.ts';
import { openServices, type ServicesStage } from '#test/support/kafka/services-stage.ts';
import { explain, runCommand } from '#services/demo/pipeline/command.ts';
import { ROOT } from './compose-project.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';

const LONG_MS = 240_000;
const { AclOperationTypes: MAY, AclPermissionTypes, AclResourceTypes: ON, ResourcePatternTypes } = kafkajs;
const EVERYBODY = [MAY.DESCRIBE, MAY.DESCRIBE_CONFIGS, MAY.CREATE];

interface Rights {
  readonly user: string;
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly groups: readonly string[];
}

/** The table under "Rights". */
function documented(): readonly Rights[] {
  const text = readFileSync(join(ROOT, 'docs', 'kafka.md'), 'utf8');
  const table = text.slice(text.indexOf('## Rights'), text.indexOf('## Start anew')).split('\n');
  return table
    .filter((line) => /^\| [a-z]+ \|/.test(line))
    .map((line) => {
      const [user = '', ...cells] = line.split('|').slice(1, -1);
      const [read, write, groups] = cells.map((cell) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, pattern]) => pattern!));
      return { user: user.trim(), read: read!, write: write!, groups: groups! };
    });
}

function aclsOf(all: readonly Rights[], name: string): AclEntry[] {
  const entry = (
    user: string,
    operation: AclOperationTypes,
    on: { readonly type: AclResourceTypes; readonly pattern: string },
  ): AclEntry => {
    const resource = on.pattern.replace('NAME', name).replace('<schema>', 'public');
    return {
      principal: `User:${user}`,
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
      resourceType: on.type,
      resourceName: resource.replace(/\*$/, ''),
      resourcePatternType: resource.endsWith('*') ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
    };
  };
  return all.flatMap(({ user, read, write, groups }) => [
    ...EVERYBODY.map((operation) => entry(user, operation, { type: ON.TOPIC, pattern: 'NAME.*' })),
    ...read.map((pattern) => entry(user, MAY.READ, { type: ON.TOPIC, pattern })),
    ...write.map((pattern) => entry(user, MAY.WRITE, { type: ON.TOPIC, pattern })),
    ...groups.map((pattern) => entry(user, MAY.READ, { type: ON.GROUP, pattern })),
  ]);
}

async function brokerWith(users: readonly string[]): Promise<Kafka> {
  const known = users.map((user) => `user_${user}="${user}-secret"`).join(' ');
  return startKafka({
    listeners: {
      SASL: {
        protocol: 'SASL_PLAINTEXT',
        properties: {
          'sasl.enabled.mechanisms': 'PLAIN',
          'plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${known};`,
        },
      },
    },
    properties: { 'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer', 'super.users': 'User:ANONYMOUS' },
  });
}

async function allow(kafka: Kafka, acl: AclEntry[]): Promise<void> {
  const cluster = await clusterOn(kafka.brokers);
  try {
    await cluster.admin.createAcls({ acl });
  } finally {
    await cluster.close();
  }
}

const as = (user: string): Record<string, string> => ({ KAFKA_USER: user, KAFKA_PASSWORD: `${user}-secret` });

async function command(stage: ServicesStage, ...args: readonly string[]): Promise<void> {
  const run = await runCommand([...args], { file: stage.file, dataDir: join(stage.directory, 'command'), env: as('control') });
  expect(run.code, explain(run)).toBe(0);
}

describeWithKafka('with the rights that docs/kafka.md names, a user per service', () => {
  test(
    'a migration is copied, followed, repaired, paused and compared',
    async () => {
      const rights = documented();
      const users = rights.map(({ user }) => user);
      expect(users).toEqual(['reader', 'transformer', 'sink', 'control', 'reconciler']);
      await using kafka = await brokerWith(users);
      await using stage = await openServices({
        brokers: [kafka.listener('SASL')],
        kafka: ', sasl: { mechanism: plain, username: "${KAFKA_USER}", password: "${KAFKA_PASSWORD}" }',
        tables: 'CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int);',
        rows: 'INSERT INTO a SELECT g, g FROM generate_series(1, 500) g; INSERT INTO b SELECT g, g FROM generate_series(1, 500) g',
        rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.*\nsink: { onRowError: set-aside }\n',
      });
      await allow(kafka, aclsOf(rights, stage.name));
      await execute(stage.target, 'ALTER TABLE a ADD CONSTRAINT small CHECK (v < 1000)');
      for (const service of ['reader', 'transformer', 'sink', 'control']) stage.start(service, service, [], as(service));
      await stage.untilSame('SELECT * FROM a ORDER BY id');
      await execute(stage.source, 'INSERT INTO a VALUES (1000, 5000)', 'UPDATE b SET v = v + 1', 'DELETE FROM b WHERE id < 10');
      await stage.untilSame('SELECT * FROM b ORDER BY id');
      const told = await clusterOn(kafka.brokers);
      await stage.until(async () => expect((await told.bounds(`${stage.name}.dlq`))[0]!.end).toBeGreaterThan(0));
      const fetcher = await told.fetcher();
      fetcher.seek({ topic: `${stage.name}.dlq`, partition: 0 }, 0);
      const [fetched] = (await fetcher.next(AbortSignal.timeout(20_000)))!;
      expect(Number(recordsIn(fetched!)[0]!.header('__connect.errors.offset'))).toBeGreaterThanOrEqual(0);
      await told.close();
      await execute(stage.target, 'ALTER TABLE a DROP CONSTRAINT small');
      await command(stage, 'dlq', 'retry', '--all');
      for (const action of ['pause', 'resume', 'status', 'verify']) await command(stage, action);
      const reconciler = stage.start('reconciler', 'reconciler', [], as('reconciler'));
      await stage.until(async () => expect(reconciler.logTail(50)).toContain('source and target are equal'));
    },
    LONG_MS,
  );
});
