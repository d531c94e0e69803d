import { Kafka, logLevel, type KafkaMessage } from 'kafkajs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { mendRequestQueue } from '#connectors/change-log/kafka/mend-request-queue.ts';
import { connect } from '#connectors/postgres/session.ts';
import { confluentRegistry } from '#connectors/registry/confluent-registry.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { avroSchema } from '#schemas/wire/avro-schema.ts';
import { envelopeType } from '#schemas/wire/envelope-type.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { rawShape } from '#schemas/wire/shape.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import { execute } from '#test/support/application.ts';
import { startConnect, type Connect, type ConnectorConfig } from '#test/support/kafka/connect.ts';
import { avroConverters, debeziumSink, debeziumSource, JSON_WITH_SCHEMA } from '#test/support/kafka/debezium.ts';
import { describeWithConnect } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka, sharedRegistry } from '#test/support/kafka/shared-servers.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { A_SOURCE, rowOf, textsOf } from '#test/support/wire-rows.ts';

mendRequestQueue();

/** Column type, a value that Debezium carries whole, and the text that its form of it gives where that is another. */
const COLUMNS: readonly (readonly [type: string, value: string, text?: string])[] = [
  ['bigint', '9007199254740993'],
  ['boolean', 't'],
  ['smallint', '-32768'],
  ['integer', '2147483647'],
  ['oid', '4294967295'],
  ['real', '0.1'],
  ['double precision', '1e+100'],
  ['numeric(10,2)', '-1234.50'],
  ['numeric', '1.500', '1.5'],
  ['money', '-$1,234.56', '-1234.56'],
  ['date', '1969-12-31'],
  ['time', '23:59:59.999999'],
  ['timestamp', '2024-02-29 12:00:00.123456'],
  ['timestamp(3)', '2024-02-29 12:00:00.123'],
  ['timestamptz', '2024-10-27 00:30:00.1+00'],
  ['timetz', '12:00:00+00'],
  ['interval', '26:00:00.5'],
  ['uuid', '5ab6d6a1-5d3c-4f6e-8d3a-2f1a2b3c4d5e'],
  ['json', '{ "a": 1.50}'],
  ['jsonb', '{"a": 1.50}'],
  ['xml', '<a/>'],
  ['bytea', '\\x00ff'],
  ['bit(1)', '1', 't'],
  ['bit(10)', '1000000011'],
  ['varchar(20)', 'é\t\\'],
  ['char(5)', 'ab   '],
  ['inet', '10.0.0.1'],
  ['macaddr', '08:00:2b:01:02:03'],
  ['int4range', '[1,5)'],
  ['text[]', '{a,NULL,"b c"}'],
  ['integer[]', '{1,2}'],
  ['tsvector', "'a':1"],
  ['app.mood', 'ok'],
  ['point', '(1.5,-2)'],
  ['text', 'the last'],
];

const DDL = `CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'ok');
  CREATE TABLE app.kinds (id int PRIMARY KEY, ${COLUMNS.map(([type], i) => `c${i} ${type}`).join(', ')})`;
const INSERT = `SET lc_monetary = 'C'; INSERT INTO app.kinds VALUES (1, ${COLUMNS.map(([, value]) => `'${value.replaceAll("'", "''")}'`).join(', ')})`;
const NOTHING = 'INSERT INTO app.kinds (id) VALUES (2)';

const SINK_TYPES = [
  'boolean', 'smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric(10,2)', 'date', 'time', 'timestamp', 'timestamptz',
  'uuid', 'json', 'jsonb', 'bytea', 'varchar(20)', 'text',
]; // prettier-ignore
const SINK_DDL = `CREATE TABLE kinds ("id" bigint PRIMARY KEY, ${SINK_TYPES.map((type, i) => `c${i} ${type}`).join(', ')})`;
const SINK_ROWS = `INSERT INTO kinds VALUES (1, ${SINK_TYPES.map((type) => `'${COLUMNS.find(([one]) => one === type)![1]}'`).join(', ')}); INSERT INTO kinds VALUES (2)`;

/** Seconds when it has the machine alone. */
const TIMEOUT_MS = 180_000;

describeWithConnect("the records of Debezium's own connector", () => {
  let worker: Connect;

  beforeAll(async () => {
    worker = await startConnect(await sharedKafka());
  }, TIMEOUT_MS);

  afterAll(async () => worker[Symbol.asyncDispose]());

  test(
    'are read as the source writes its values, in Avro; and ours have the same types',
    async () => {
      const { url } = await sharedRegistry();
      const registry = confluentRegistry(url);
      const { table, types, first } = await read('records-avro', avroConverters(url), avroFormat(registry, { name: 'x' }));
      const shape = rawShape(table, { name: 'records_avro', database: 'x', relation: relationOf(table), types });
      const theirs = fieldTypes(await registry.schema(first.readUInt32BE(1)));
      const ours = fieldTypes(avroSchema(envelopeType(shape)));
      const differing = [...theirs].filter(([name, type]) => ours.get(name) !== type).map(([name, type]) => [name, type, ours.get(name)]);
      // A point is a structure there and PostgreSQL's text here.
      expect(differing.filter(([name]) => !/^before\.c33(\.|$)/.test(name!))).toEqual([]);
      expect(COLUMNS[33]![0]).toBe('point');
      await registry.close();
    },
    TIMEOUT_MS,
  );

  test(
    'are read as the source writes its values, in JSON',
    async () => {
      await read('records-json', JSON_WITH_SCHEMA, jsonFormat({ name: 'x' }));
    },
    TIMEOUT_MS,
  );

  test(
    'ours are applied by its JDBC sink, in Avro and in JSON',
    async () => {
      const { url } = await sharedRegistry();
      const registry = confluentRegistry(url);
      await write('ours-avro', avroConverters(url), avroFormat(registry, { name: 'ours' }));
      await write('ours-json', JSON_WITH_SCHEMA, jsonFormat({ name: 'ours' }));
      await registry.close();
    },
    TIMEOUT_MS,
  );

  /** Rows of the source as our events, by the sink into a table like it. */
  async function write(prefix: string, converters: ConnectorConfig, format: WireFormat): Promise<void> {
    await using stack = new AsyncDisposableStack();
    const [source, target] = [stack.use(await freshDatabase()), stack.use(await freshDatabase())];
    await execute(source.url, SINK_DDL, SINK_ROWS);
    await execute(target.url, SINK_DDL);
    const client = await connect(source.url, { applicationName: 'debezium-records-test', role: 'source' });
    stack.defer(async () => client.end());
    const { tables, types } = await readCatalog(client);
    const shape = rawShape(tables[0]!, { name: prefix, database: 'x', relation: relationOf(tables[0]!), types });
    const encoder = await format.encoder(shape);
    const rows = await client.query<(string | null)[]>({ text: 'SELECT * FROM public.kinds ORDER BY id', rowMode: 'array' });
    const events = rows.rows.map((row) => encoder.encode({ op: 'c', before: undefined, after: rowOf(row), source: A_SOURCE }));
    const [first] = rows.rows;
    const keyOnly = first!.map((value, i) => (i === 0 ? value : undefined));
    const again = encoder.encode({ op: 'u', before: undefined, after: rowOf(['2', ...first!.slice(1)]), source: A_SOURCE });
    const gone = encoder.encode({ op: 'd', before: rowOf(keyOnly), after: undefined, source: A_SOURCE });

    const kafka = new Kafka({ clientId: prefix, brokers: (await sharedKafka()).brokers, logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: shape.topic, numPartitions: 1 }], waitForLeaders: true });
    await admin.disconnect();
    const producer = kafka.producer();
    await producer.connect();
    stack.defer(async () => producer.disconnect());
    const send = async (...records: readonly { readonly key: Buffer | undefined; readonly value: Buffer | null }[]): Promise<unknown> =>
      producer.send({ topic: shape.topic, messages: records.map(({ key, value }) => ({ key: key!, value })) });
    await send(...events);
    await worker.create(prefix, debeziumSink(target.url, { topics: [shape.topic], config: converters }));
    stack.defer(async () => worker.delete(prefix));
    await worker.waitRunning(prefix);
    const targetClient = await connect(target.url, { applicationName: 'debezium-records-test', role: 'target' });
    stack.defer(async () => targetClient.end());
    const written = async (): Promise<unknown> =>
      (await targetClient.query<(string | null)[]>({ text: 'SELECT * FROM public.kinds ORDER BY id', rowMode: 'array' })).rows;
    await expect.poll(written, { timeout: 30_000 }).toEqual(rows.rows);
    await send(again, gone, { key: gone.key, value: null });
    await expect.poll(written, { timeout: 30_000 }).toEqual([['2', ...first!.slice(1)]]);
  }

  async function read(
    prefix: string,
    converters: ConnectorConfig,
    format: WireFormat,
  ): Promise<{ readonly table: CatalogTable; readonly types: Awaited<ReturnType<typeof readCatalog>>['types']; readonly first: Buffer }> {
    await using stack = new AsyncDisposableStack();
    const source = stack.use(await freshDatabase());
    await execute(source.url, DDL, INSERT, NOTHING);
    const client = await connect(source.url, { applicationName: 'debezium-records-test', role: 'source' });
    stack.defer(async () => client.end());
    const { tables, types } = await readCatalog(client);
    await worker.create(prefix, debeziumSource(source.url, { prefix, tables: ['app.kinds'], config: converters }));
    stack.defer(async () => worker.delete(prefix));
    await worker.waitRunning(prefix);
    const [full, empty] = await firstRecords((await sharedKafka()).brokers, `${prefix}.app.kinds`, 2);
    for (const bytes of [full!.value!, full!.key!]) if (!format.knows(bytes)) await format.learn(bytes);
    const none = { absent: Buffer.alloc(0), exact: undefined };
    const event = format.decode(full!.value!, none);
    expect(event.op).toBe('r');
    expect(event.columns).toEqual(['id', ...COLUMNS.map((_, i) => `c${i}`)]);
    expect(textsOf(event.after, event.columns.length)).toEqual(['1', ...COLUMNS.map(([, value, text]) => text ?? value)]);
    expect(textsOf(format.decode(empty!.value!, none).after, event.columns.length)).toEqual(['2', ...COLUMNS.map(() => null)]);
    expect(textsOf(format.decodeKey(full!.key!).row, 1)).toEqual(['1']);
    return { table: tables[0]!, types, first: full!.value! };
  }
});

function relationOf(table: CatalogTable): Relation {
  return { ...table, replicaIdentity: 'd', columns: table.columns.map((column) => ({ ...column, isKey: false })) };
}

/** Each field of the envelope, its source and its row, as name → type without what is of no matter to a reader. */
function fieldTypes(schema: string): Map<string, string> {
  type Json = { readonly [name: string]: unknown };
  const found = new Map<string, string>();
  const plain = (type: unknown): unknown => {
    if (Array.isArray(type)) return type.map(plain);
    if (typeof type !== 'object' || type === null) return JSON.stringify([type, null, null]);
    const { name, fields, type: base } = type as Json;
    if (fields !== undefined) return name;
    const [semantic, items] = [(type as Json)['connect.name'], (type as Json)['items']];
    return JSON.stringify([base, semantic ?? null, items === undefined ? null : plain(items)]);
  };
  const walk = (record: Json, path: string): void => {
    for (const field of record['fields'] as readonly Json[]) {
      const name = `${path}${String(field['name'])}`;
      found.set(name, JSON.stringify(plain(field['type'])));
      const branches = Array.isArray(field['type']) ? (field['type'] as unknown[]) : [field['type']];
      for (const branch of branches) if ((branch as Json | null)?.['fields'] !== undefined) walk(branch as Json, `${name}.`);
    }
  };
  walk(JSON.parse(schema) as Json, '');
  return found;
}

async function firstRecords(brokers: string[], topic: string, count: number): Promise<readonly KafkaMessage[]> {
  const kafka = new Kafka({ clientId: topic, brokers, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  await expect.poll(async () => admin.listTopics(), { timeout: 30_000 }).toContain(topic);
  await admin.disconnect();
  const consumer = kafka.consumer({ groupId: `${topic}-first` });
  const records: KafkaMessage[] = [];
  const all = Promise.withResolvers<void>();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      if (records.push(message) === count) all.resolve();
    },
  });
  await all.promise;
  await consumer.disconnect();
  return records;
}
