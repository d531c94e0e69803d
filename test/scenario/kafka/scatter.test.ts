/** The reader's raw log over a real broker: what is read back is what was appended, also when the broker dies in the middle. */
import { randomUUID } from 'node:crypto';
import kafkajs from 'kafkajs';
import { afterEach, expect, test } from 'vitest';
import type { FetchedRecord, KafkaCluster } from '#connectors/change-log/kafka/cluster.ts';
import type { KafkaJsCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import { decodeCommit, TAG } from '#schemas/pgoutput/message.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import * as frames from '#test/support/frames.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { startKafka } from '#test/support/kafka/kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { clusterOn } from '#test/support/log-on-kafka.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { catalogTable, readScattered, type ScatteredLog, type StoredRecords } from '#test/support/scattered-log.ts';

const TABLE = catalogTable({ oid: 100, name: 'orders', columns: ['id', 'body'], key: ['id'] });
const RELATION = frames.relation({ oid: 100, name: 'orders', columns: [{ name: 'id', key: true }, { name: 'body' }] });
const OTHER_OID = 200;
const OTHER_RELATION = frames.relation({ oid: OTHER_OID, name: 'audit', columns: [{ name: 'id', key: true }, { name: 'body' }] });
const PARTITIONS = 3;
/** More than a topic of ours takes. */
const ROW_BYTES = 11 * 1024 * 1024;

function transaction(lsn: number, rows: number): readonly Buffer[] {
  const inserts = Array.from({ length: rows }, (_, i) => frames.insert(100, [`${lsn}-${i}`, 'some text '.repeat(5)]));
  return [frames.begin(BigInt(lsn)), RELATION, ...inserts, frames.commit(BigInt(lsn), BigInt(lsn + 5))];
}

function append(topic: ScatterTopic, of: readonly Buffer[]): Promise<unknown> {
  return topic.append(0, { count: of.length, parts: [frames.records(of)] });
}

/** All that a real cluster keeps. */
function storedIn(cluster: KafkaCluster): StoredRecords {
  return {
    async records(topic, partition) {
      const { end, start } = (await cluster.bounds(topic))[partition]!;
      const records: FetchedRecord[] = [];
      const fetcher = await cluster.fetcher();
      fetcher.seek({ topic, partition }, start);
      for (let next = start; next < end;) {
        for (const fetched of (await fetcher.next(AbortSignal.timeout(20_000))) ?? []) {
          records.push(...recordsIn(fetched));
          next = fetched.next;
        }
      }
      await fetcher.close();
      return records;
    },
  };
}

class Migration {
  readonly name = `scatter-${randomUUID()}`;
  readonly registry = memoryRegistry();
  readonly cluster: KafkaJsCluster;

  constructor(cluster: KafkaJsCluster) {
    this.cluster = cluster;
  }

  reader(): ScatterTopic {
    const { name, cluster, registry } = this;
    return new ScatterTopic({
      cluster,
      name,
      format: avroFormat(registry, { name }),
      database: 'db',
      partitions: PARTITIONS,
      tableOf: ({ oid }) => (oid === OTHER_OID ? undefined : TABLE),
    });
  }

  read(): Promise<ScatteredLog> {
    return readScattered(storedIn(this.cluster), this.name, avroFormat(this.registry, { name: this.name }));
  }
}

const open: KafkaJsCluster[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((cluster) => cluster.close()));
});

async function migrationOn(brokers: readonly string[]): Promise<Migration> {
  const cluster = await clusterOn(brokers);
  open.push(cluster);
  return new Migration(cluster);
}

function idsOf(lsns: readonly number[], rows: number): string[] {
  return lsns.flatMap((lsn) => Array.from({ length: rows }, (_, i) => `${lsn}-${i}`));
}

describeWithKafka('the raw log over Kafka', () => {
  test('holds what was appended side by side, in order, and tells a successor so', async () => {
    const migration = await migrationOn((await sharedKafka()).brokers);
    const topic = migration.reader();
    await topic.begin(1);
    const lsns = Array.from({ length: 20 }, (_, i) => 10 * (i + 1));
    await Promise.all(lsns.map((lsn) => append(topic, transaction(lsn, 500))));
    const { rows, end } = await migration.read();
    expect(end).toBe(20 * 503);
    expect(rows.map((row) => row.key?.['id'])).toEqual(idsOf(lsns, 500));
    const successor = migration.reader();
    await successor.begin(2);
    expect([successor.end(), successor.lastCommit()?.commitLsn]).toEqual([20 * 503, 200n]);
    await expect(append(topic, transaction(210, 1))).rejects.toMatchObject({ code: 'CF-3007' });
    await append(successor, transaction(220, 1));
    expect((await migration.read()).rows.slice(-1)).toMatchObject([{ key: { id: '220-0' } }]);
  });

  test('tells of a row that the topic does not take, and what to set, in its place; all others of its transaction count', async () => {
    const migration = await migrationOn((await sharedKafka()).brokers);
    const topic = migration.reader();
    await topic.begin(1);
    const large = frames.insert(100, ['1', 'x'.repeat(ROW_BYTES)]);
    await append(topic, [frames.begin(10n), RELATION, large, frames.insert(100, ['2', 'x']), frames.commit(10n, 15n)]);
    const { rows, end } = await migration.read();
    expect(end).toBe(5);
    expect(rows.filter(({ fault }) => fault === undefined)).toMatchObject([{ key: { id: '2' } }]);
    const fault = rows.find((row) => row.fault !== undefined)?.fault;
    expect(fault).toMatchObject({ code: 'CF-3005', op: 'c', row: { id: '1' } });
    expect(fault?.message).toContain(`topic ${migration.name}.public.orders: raise max.message.bytes (now ${10 * 1024 * 1024})`);
  });

  test('tells of a change of a table that is not mapped and that the order does not take, and takes it once that is raised', async () => {
    const migration = await migrationOn((await sharedKafka()).brokers);
    const { cluster, name } = migration;
    const [order, setting] = [`${name}.order`, 'max.message.bytes'];
    const limited = { topic: order, numPartitions: 1, configEntries: [{ name: setting, value: String(1024 * 1024) }] };
    await cluster.admin.createTopics({ topics: [limited], waitForLeaders: true });
    const topic = migration.reader();
    await topic.begin(1);
    await append(topic, transaction(10, 1));
    const large = frames.insert(OTHER_OID, ['1', 'x'.repeat(3 * 1024 * 1024)]);
    const changes = [frames.begin(20n), RELATION, OTHER_RELATION, large, frames.insert(100, ['2', 'x']), frames.commit(20n, 25n)];
    const refused = append(topic, changes);
    await expect(refused).rejects.toMatchObject({ code: 'CF-3005', message: expect.stringContaining(`topic ${order}`) as string });
    await expect(refused).rejects.toThrow(/row of public\.audit of 3145\d+ bytes.*raise max\.message\.bytes/);
    expect((await migration.read()).end).toBe(4);
    const resources = [
      { type: kafkajs.ConfigResourceTypes.TOPIC, name: order, configEntries: [{ name: setting, value: String(8 * 1024 * 1024) }] },
    ];
    await cluster.admin.alterConfigs({ validateOnly: false, resources });
    const next = migration.reader();
    await next.begin(2);
    await append(next, changes);
    const { rows, end } = await migration.read();
    expect([end, rows.map((row) => row.key?.['id'])]).toEqual([10, ['10-0', '2']]);
  });

  test('goes on where it is whole after the broker was killed in the middle of appends', async () => {
    await using kafka = await startKafka();
    const migration = await migrationOn(kafka.brokers);
    const topic = migration.reader();
    await topic.begin(1);
    await append(topic, transaction(10, 100));
    const durable = new Set([10]);
    const lsns = Array.from({ length: 40 }, (_, i) => 10 * (i + 2));
    const under = lsns.map(async (lsn) => {
      await append(topic, transaction(lsn, 300));
      durable.add(lsn);
    });
    const settled = Promise.allSettled(under); // from here on: appends fail while the kill is still awaited
    await under[0];
    await kafka.kill();
    await settled;
    await kafka.start();
    await expect.poll(() => topic.begin(2).then(() => 'begun', String), { timeout: 60_000 }).toBe('begun');
    const last = Number(topic.lastCommit()!.commitLsn);
    expect(last).toBeGreaterThanOrEqual(Math.max(...durable));
    for (const lsn of lsns.filter((each) => each > last)) await append(topic, transaction(lsn, 300));
    const { rows, skeleton } = await migration.read();
    expect(rows.map((row) => row.key?.['id'])).toEqual([...idsOf([10], 100), ...idsOf(lsns, 300)]);
    const commits = [...skeleton.values()].filter((frame) => frame[0] === TAG.commit).map((frame) => Number(decodeCommit(frame).commitLsn));
    expect(commits).toEqual([10, ...lsns]);
  }, 120_000);
});
