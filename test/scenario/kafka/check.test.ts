/** `crossfade check` of Kafka: everything that would stop a migration later, told at once and before anything is made. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { replicationFindings } from '#connectors/change-log/kafka/preflight.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { startKafka, type Kafka } from '#test/support/kafka/kafka.ts';
import { kafkaProvider } from '#test/support/kafka/provider.ts';
import { clusterOn } from '#test/support/log-on-kafka.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule';
const sasl = {
  'sasl.enabled.mechanisms': 'PLAIN',
  'plain.sasl.jaas.config': `${LOGIN} required user_alice="alice-secret" user_dave="dave-secret";`,
};

const told = (findings: readonly { readonly severity: string; readonly code: string; readonly message: string }[]): string[] =>
  findings.map(({ severity, code, message }) => `${severity} ${code} ${message}`);

test('what the loss of a broker would do is told where there are several', () => {
  const of = (factor: number, minInSync: number, brokers: number): string[] =>
    told(replicationFindings({ what: 'topics', factor, minInSync }, brokers)).map((line) => line.replace(/topics.*: /, ''));
  expect(of(1, 1, 1)).toEqual([]);
  expect(of(3, 2, 3)).toEqual([]);
  expect(of(1, 1, 3)).toEqual(['warning CF-3006 the loss of one broker loses changes']);
  expect(of(3, 1, 3)).toEqual(['warning CF-3006 what is acknowledged may lie on one broker only']);
  expect(of(3, 3, 3)).toEqual(['warning CF-3006 while one broker is away nothing is written']);
  expect(of(1, 2, 1)).toEqual(['error CF-3006 nothing can ever be written']);
});

describe.runIf((await kafkaProvider()) !== undefined)('check of Kafka', () => {
  let kafka: Kafka;

  beforeAll(async () => {
    kafka = await startKafka({
      listeners: { SASL: { protocol: 'SASL_PLAINTEXT', properties: sasl } },
      properties: {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS;User:alice',
      },
    });
  });
  afterAll(() => kafka[Symbol.asyncDispose]());

  async function check(name: string, log: string): Promise<{ readonly found: string[]; readonly remedies: string; readonly exit: number }> {
    const { url, ...database } = await freshDatabase();
    onTestFinished(() => database[Symbol.asyncDispose]());
    await execute(url, 'CREATE TABLE item (id int PRIMARY KEY)');
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-check-kafka-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const path = join(directory, 'migration.yaml');
    const ends = `source: { postgres: "${url}" }\ntarget: { postgres: "${url}" }`;
    await writeFile(path, `crossfade: 1\nname: ${name}\n${ends}\ntables:\n  - from: public.*\nlog: { kafka: { ${log} } }\n`);
    const run = await runInProcess(['check', '--json', '-f', path]);
    const findings = envelopeOf(run).findings.filter(({ code }) => code.startsWith('CF-3'));
    return { found: told(findings), remedies: findings.map(({ remedy }) => remedy).join('\n'), exit: run.exitCode };
  }

  test('a broker of several that does not answer is a warning; a replication factor that cannot be had an error', async () => {
    const brokers = `brokers: ["127.0.0.1:1", "${kafka.brokers[0]}"]`;
    const { found } = await check('one_away', brokers);
    expect(found).toEqual([expect.stringMatching(/^warning CF-3006 .*127\.0\.0\.1:1/)]);
    const { found: wide } = await check('wide', `${brokers}, replicationFactor: 3`);
    expect(wide).toEqual([
      expect.stringMatching(/^error CF-3006 topics cannot be made \(wide\..*[Rr]eplication/),
      expect.stringMatching(/^warning CF-3006 .*127\.0\.0\.1:1/),
    ]);
  });

  test('a user who may not make topics is told so, with the right that is lacking', async () => {
    const user = 'sasl: { mechanism: plain, username: dave, password: dave-secret }';
    const { found, remedies, exit } = await check('dave', `brokers: ["${kafka.listener('SASL')}"], ${user}`);
    expect(found[0]).toMatch(/^error CF-3006 topics cannot be made \(dave\./);
    expect(remedies).toContain('kafka-acls.sh');
    expect(exit).not.toBe(0);
    const { found: wrong } = await check('dave', `brokers: ["${kafka.listener('SASL')}"], ${user.replace('dave-secret', 'nothing')}`);
    expect(wrong).toEqual([expect.stringMatching(/^error CF-3006/)]);
  });

  test('topics that are there and lose, refuse or misplace what they are given are all told', async () => {
    const cluster = await clusterOn(kafka.brokers);
    const make = (topic: string, numPartitions: number, settings: Record<string, string>): Promise<boolean> => {
      const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
      return cluster.admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }] });
    };
    await make('made.order', 1, { 'max.message.bytes': '300000' });
    await make('made.progress', 1, { 'cleanup.policy': 'compact', 'retention.ms': '-1' });
    await make('made.public.item', 2, { 'retention.ms': '1000', 'max.message.bytes': '20000000', 'min.insync.replicas': '2' });
    // Somebody else's, which Kafka does not tell from ours.
    await make('made_requests', 1, {});
    await cluster.close();
    const { found } = await check('made', `brokers: ["${kafka.brokers[0]}"]`);
    const expected = [
      /^error CF-3006 topics cannot be made \(made\.requests\)/,
      /^error CF-3002 topic made\.public\.item has 2 partitions, not 3/,
      /^error CF-3005 topic made\.order takes batches of 300000 bytes at most/,
      /^error CF-3002 topic made\.progress has cleanup\.policy=compact/,
      /^error CF-3006 topic made\.public\.item: replication factor 1, min\.insync\.replicas 2, 1 brokers: nothing can ever be written/,
      /^warning CF-3006 topic made\.public\.item forgets by retention\.ms=1000/,
    ];
    for (const each of expected) expect(found).toContainEqual(expect.stringMatching(each));
  });
});
