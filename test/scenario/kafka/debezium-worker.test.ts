/** The Debezium that the interoperability tests run against really works: rows pass from one database to another through it. */
import { SchemaRegistry } from '@kafkajs/confluent-schema-registry';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openKafkaClient } from '#connectors/change-log/kafka/client.ts';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { execute } from '#test/support/application.ts';
import { type Connect, type ConnectorConfig, startConnect } from '#test/support/kafka/connect.ts';
import { avroConverters, debeziumSink, debeziumSource, JSON_WITH_SCHEMA } from '#test/support/kafka/debezium.ts';
import { sharedKafka, sharedRegistry } from '#test/support/kafka/shared-servers.ts';
import { describeWithConnect } from '#test/support/kafka/describe-with-kafka.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const TABLE = `CREATE TABLE pets (id int PRIMARY KEY, name text NOT NULL, weight numeric(8,3), born timestamptz, tags jsonb)`;
const ROWS = `INSERT INTO pets VALUES (1, 'Zoë', 4.250, '2019-02-03 04:05:06.789+00', '{"a": [1, 2]}'), (2, 'Bo', NULL, NULL, NULL)`;

describeWithConnect('Debezium from one database to another', () => {
  let worker: Connect;

  beforeAll(async () => {
    worker = await startConnect(await sharedKafka());
  });

  afterAll(async () => worker[Symbol.asyncDispose]());

  test('as JSON with schemas: a snapshot, then inserts, updates and deletes', async () => {
    await copyThrough('worker-json', JSON_WITH_SCHEMA);
  });

  test("as Avro in Confluent's wire format, with a schema registry", async () => {
    const { url } = await sharedRegistry();
    await copyThrough('worker-avro', avroConverters(url));
    // What Confluent's clients make of it, without Apicurio's own API.
    const first = await firstRecord((await sharedKafka()).brokers, 'worker-avro.public.pets');
    const registry = new SchemaRegistry({ host: url });
    expect(await registry.decode(first.key)).toEqual({ id: 1 });
    const byId = await fetch(`${url}/schemas/ids/${first.value.readUInt32BE(1)}`);
    const { schema } = (await byId.json()) as { readonly schema: string };
    expect(first.value[0]).toBe(0);
    expect(JSON.parse(schema)).toMatchObject({ type: 'record', name: 'Envelope', namespace: 'worker_avro.public.pets' });
    const subjects = (await (await fetch(`${url}/subjects`)).json()) as string[];
    expect(subjects).toEqual(expect.arrayContaining(['worker-avro.public.pets-key', 'worker-avro.public.pets-value']));
  });

  async function copyThrough(prefix: string, converters: ConnectorConfig): Promise<void> {
    await using stack = new AsyncDisposableStack();
    const source = stack.use(await freshDatabase());
    const target = stack.use(await freshDatabase());
    await execute(source.url, TABLE, ROWS);
    await execute(target.url, TABLE);

    await worker.create(prefix, debeziumSource(source.url, { prefix, tables: ['public.pets'], config: converters }));
    stack.defer(async () => worker.delete(prefix));
    await worker.waitRunning(prefix);
    await worker.create(`${prefix}-sink`, debeziumSink(target.url, { topics: [`${prefix}.public.pets`], config: converters }));
    stack.defer(async () => worker.delete(`${prefix}-sink`));
    await worker.waitRunning(`${prefix}-sink`);
    await expect.poll(async () => petsOf(target.url), { timeout: 30_000 }).toEqual(await petsOf(source.url));

    await execute(source.url, `INSERT INTO pets VALUES (3, 'Kit', 0.5, now(), '[]')`, `UPDATE pets SET weight = 5 WHERE id = 1`);
    await execute(source.url, `DELETE FROM pets WHERE id = 2`);
    await expect.poll(async () => petsOf(target.url), { timeout: 30_000 }).toEqual(await petsOf(source.url));
  }
});

async function firstRecord(brokers: string[], topic: string): Promise<{ readonly key: Buffer; readonly value: Buffer }> {
  const settings = { brokers, partitions: 1, format: 'avro', compression: 'none' } as const;
  const { kafka } = await openKafkaClient(settings, { clientId: topic, logger: silentLogger });
  const consumer = kafka.consumer({ groupId: `${topic}-first` });
  const first = Promise.withResolvers<{ key: Buffer; value: Buffer }>();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message: { key, value } }) => {
      if (key !== null && value !== null) first.resolve({ key, value });
    },
  });
  const record = await first.promise;
  await consumer.disconnect();
  return record;
}

async function petsOf(url: string): Promise<readonly unknown[]> {
  const client = await connect(url, { applicationName: 'debezium-worker-test', role: 'target' });
  try {
    return await queryRows(client, 'SELECT * FROM public.pets ORDER BY id');
  } finally {
    await client.end();
  }
}
