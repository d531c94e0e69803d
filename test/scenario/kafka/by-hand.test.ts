/** What docs/kafka.md tells an operator to do. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type KafkaJsCluster, openKafkaCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import { migrationJsonSchema } from '#schemas/config/migration-schema.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { openServices, type ServicesStage } from '#test/support/kafka/services-stage.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';

const DOC = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'kafka.md'), 'utf8');
const TABLES = `CREATE TYPE mood AS ENUM ('calm', 'cross'); CREATE TABLE note (id int PRIMARY KEY, mood mood)`;
const ROWS = `INSERT INTO note SELECT g, 'calm' FROM generate_series(1, 500) g`;
const SAME = 'SELECT id, mood::text FROM note ORDER BY id';

interface Properties {
  readonly properties: Readonly<Record<string, Properties>>;
}

test('docs/kafka.md names every entry of log.kafka', () => {
  const { log } = (migrationJsonSchema() as unknown as Properties).properties;
  const entries = Object.keys(log!.properties['kafka']!.properties);
  expect(entries.length).toBeGreaterThan(5);
  expect(entries.filter((entry) => !DOC.includes(`| \`${entry}\` |`))).toEqual([]);
});

function startAll(stage: ServicesStage): void {
  // One data directory, as three commands typed in one place have.
  for (const command of ['reader', 'transformer', 'sink']) stage.start(command, 'shared');
}

async function stopAll(stage: ServicesStage): Promise<void> {
  for (const service of stage.running.splice(0)) expect(await service.stop(), service.logTail()).toEqual({ code: 0, signal: null });
}

async function withCluster<T>(act: (cluster: KafkaJsCluster) => Promise<T>): Promise<T> {
  const { brokers } = await sharedKafka();
  const settings = { brokers, partitions: 3, format: 'avro', compression: 'none' } as const;
  const cluster = await openKafkaCluster(settings, { clientId: 'by-hand', logger: silentLogger });
  try {
    return await act(cluster);
  } finally {
    await cluster.close();
  }
}

describeWithKafka('services that an operator starts by hand', () => {
  test('share a data directory, and start anew once slot, schema, rows and topics are gone', { timeout: 180_000 }, async () => {
    await using stage = await openServices({ tables: TABLES, rows: ROWS, rest: 'tables: [{ from: public.* }]\n' });
    startAll(stage);
    await stage.untilSame(SAME);
    await stopAll(stage);
    await execute(stage.source, `SELECT pg_drop_replication_slot('${stage.name}'); UPDATE note SET mood = 'cross' WHERE id % 2 = 0`);
    await execute(stage.target, 'DROP SCHEMA crossfade CASCADE; TRUNCATE note');
    await withCluster(async (cluster) => {
      const topics = await cluster.topics(`${stage.name}.`);
      expect(topics.length).toBeGreaterThan(5);
      await cluster.admin.deleteTopics({ topics: [...topics] });
      // The broker tells of them for a moment longer.
      await expect.poll(async () => cluster.topics(`${stage.name}.`), { timeout: 30_000 }).toEqual([]);
    });
    startAll(stage);
    await stage.untilSame(SAME);
    await execute(stage.source, `UPDATE note SET mood = 'calm' WHERE id < 10`);
    await stage.untilSame(SAME);
    await stopAll(stage);
  });

  test("tell the labels of an enum in the raw topic's schema", { timeout: 120_000 }, async () => {
    await using stage = await openServices({ tables: TABLES, rows: ROWS, rest: 'tables: [{ from: public.* }]\n' });
    stage.start('reader');
    await stage.until(async () => expect(await schemasOf(stage.name)).toContain('"allowed":"calm,cross"'));
  });
});

/** What the topic of schemas holds, when the reader has made it. */
async function schemasOf(name: string): Promise<string> {
  return withCluster(async (cluster) => {
    const place = { topic: `${name}.schemas`, partition: 0 };
    if (!(await cluster.topics(place.topic)).includes(place.topic)) return '';
    const fetcher = await cluster.fetcher();
    fetcher.seek(place, 0);
    const fetched = (await fetcher.next(AbortSignal.timeout(2_000))) ?? [];
    const records = fetched.flatMap((part) => recordsIn(part).map(({ value }) => JSON.parse(String(value)) as { readonly schema: string }));
    return records.map(({ schema }) => schema).join('\n');
  });
}
