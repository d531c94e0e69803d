/** Topics that are removed, or written in another format, between two starts: said loudly, and never taken for what was there before. */
import kafkajs from 'kafkajs';
import { expect, test } from 'vitest';
import { readFile, writeFile } from 'node:fs/promises';
import { mendRequestQueue } from '#connectors/change-log/kafka/mend-request-queue.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { openServices, type ServicesStage } from '#test/support/kafka/services-stage.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';

mendRequestQueue();

const LONG_MS = 180_000;
const A = 'SELECT id, v FROM a ORDER BY id';
const SERVICES = ['reader', 'transformer', 'sink'];

/** Copied, then stopped. */
async function stopped(): Promise<ServicesStage> {
  const stage = await openServices({
    tables: 'CREATE TABLE a (id int PRIMARY KEY, v int)',
    rows: 'INSERT INTO a SELECT g, g FROM generate_series(1, 300) g',
    rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.*\n',
  });
  for (const command of SERVICES) stage.start(command);
  await stage.untilSame(A);
  await execute(stage.source, 'UPDATE a SET v = -v');
  await stage.untilSame(A);
  for (const service of stage.running.splice(0)) expect(await service.stop()).toEqual({ code: 0, signal: null });
  return stage;
}

async function adminOf({ name }: ServicesStage): Promise<kafkajs.Admin> {
  const { brokers } = await sharedKafka();
  const admin = new kafkajs.Kafka({ clientId: name, brokers, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  return admin;
}

async function recordsIn(stage: ServicesStage, topic: string): Promise<number> {
  const admin = await adminOf(stage);
  const offsets = await admin.fetchTopicOffsets(`${stage.name}.${topic}`);
  await admin.disconnect();
  return offsets.reduce((sum, { high }) => sum + Number(high), 0);
}

async function removeTopics(stage: ServicesStage, isLost: (topic: string) => boolean): Promise<readonly string[]> {
  const { name } = stage;
  const admin = await adminOf(stage);
  const ours = async (): Promise<readonly string[]> => (await admin.listTopics()).filter((topic) => topic.startsWith(`${name}.`));
  const topics = (await ours()).filter((topic) => isLost(topic.slice(name.length + 1)));
  await admin.deleteTopics({ topics: [...topics] });
  await expect.poll(async () => (await ours()).filter((topic) => topics.includes(topic)), { timeout: 30_000 }).toEqual([]);
  await admin.disconnect();
  return topics;
}

/** What the service says when it ends by itself. */
async function endOf(stage: ServicesStage, command: string): Promise<string> {
  const service = stage.start(command, `${command}-again`);
  const { code } = await service.ended();
  expect(code, service.logTail(10)).not.toBe(0);
  return service.logTail(10);
}

describeWithKafka('topics that are lost between two starts', () => {
  test(
    'end the reader before it writes behind a raw topic that was made anew',
    async () => {
      await using stage = await stopped();
      expect(await removeTopics(stage, (topic) => topic === 'public.a')).toHaveLength(1);
      await execute(stage.source, 'INSERT INTO a SELECT g, g FROM generate_series(1001, 3000) g');
      expect(await endOf(stage, 'reader')).toMatch(/CF-3002 .*public\.a goes on with offset 0.*made anew/);
    },
    LONG_MS,
  );

  test(
    'end sink and transformer where claims name more than a mapped topic holds',
    async () => {
      await using stage = await stopped();
      expect(await removeTopics(stage, (topic) => topic === 'mapped.public.a')).toHaveLength(1);
      await execute(stage.source, 'INSERT INTO a SELECT g, g FROM generate_series(1001, 3000) g');
      stage.start('reader', 'reader-again');
      expect(await endOf(stage, 'transformer')).toMatch(/CF-3002 .*mapped\.public\.a goes on with offset 0.*made anew/);
      // What it would have written could be taken for what is lost.
      expect(await recordsIn(stage, 'mapped.public.a')).toBe(0);
      expect(await endOf(stage, 'sink')).toMatch(/CF-300[23] .*mapped\.public\.a/);
      expect(await execute(stage.target, 'SELECT count(*) FROM a')).toEqual([{ count: '300' }]);
    },
    LONG_MS,
  );

  test(
    'end the reader before it begins a new log, where the target has applied the old one',
    async () => {
      await using stage = await stopped();
      await removeTopics(stage, () => true);
      expect(await endOf(stage, 'reader')).toMatch(/CF-5006 .*its topics are gone/);
      expect(await endOf(stage, 'reader')).toMatch(/CF-5006 .*its topics are gone/);
    },
    LONG_MS,
  );

  test(
    'end the sink where they were written in another format than the file says',
    async () => {
      await using stage = await stopped();
      await execute(stage.target, 'DELETE FROM crossfade.bookmark');
      await writeFile(stage.file, (await readFile(stage.file, 'utf8')).replace('partitions: 3', 'partitions: 3, format: json'));
      expect(await endOf(stage, 'sink')).toMatch(/CF-3006 .*not JSON[^]*log\.kafka\.format/);
    },
    LONG_MS,
  );
});
