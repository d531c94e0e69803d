/** Topics of a migration are cut while it runs: nothing is lost by it, whoever is killed and whatever file is read by. */
import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { claimsTopic, mappedTopic, orderTopic, rawTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { openServices, type ServicesStage } from '#test/support/kafka/services-stage.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { clusterOn } from '#test/support/log-on-kafka.ts';

const LONG_MS = 300_000;
const SERVICES = ['reader', 'transformer', 'sink'];
const TABLE = { schema: 'public', name: 'a' };
const ALL = 'SELECT id, v, note FROM a ORDER BY id';
const RETAIN_BYTES = 256 * 1024;

interface Kept {
  readonly starts: number;
  readonly records: number;
}

/** What the topics hold, by what they are for. */
async function kept({ name }: ServicesStage): Promise<Record<'order' | 'claims' | 'raw' | 'mapped', Kept>> {
  const cluster = await clusterOn((await sharedKafka()).brokers);
  const of = async (topic: string): Promise<Kept> => {
    const bounds = await cluster.bounds(topic);
    return {
      starts: bounds.reduce((sum, { start }) => sum + start, 0),
      records: bounds.reduce((sum, { start, end }) => sum + end - start, 0),
    };
  };
  try {
    return {
      order: await of(orderTopic(name)),
      claims: await of(claimsTopic(name)),
      raw: await of(rawTopic(name, TABLE)),
      mapped: await of(mappedTopic(name, TABLE)),
    };
  } finally {
    await cluster.close();
  }
}

/** Changes until stopped: each row of a thousand again and again. */
function load(stage: ServicesStage): () => Promise<void> {
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    for (let round = 1; !stop.signal.aborted; round++) {
      await execute(stage.source, `UPDATE a SET v = v + 1, note = repeat(md5('${round}' || id), 4) WHERE id % 20 = ${round % 20}`);
    }
  };
  const running = run();
  return async () => {
    stop.abort();
    await running;
  };
}

async function cutFurther(stage: ServicesStage, than: Record<string, Kept>): Promise<void> {
  await stage.until(async () => {
    for (const [what, { starts }] of Object.entries(await kept(stage))) expect(starts, what).toBeGreaterThan(than[what]!.starts);
  });
}

function replace(stage: ServicesStage, old: Pipeline, command: string, name: string): Pipeline {
  stage.running.splice(stage.running.indexOf(old), 1);
  return stage.start(command, name);
}

describeWithKafka('topics that are cut', () => {
  test(
    'go on through kills, restarts and a changed file, and both databases are equal in the end',
    async () => {
      await using stage = await openServices({
        tables: 'CREATE TABLE a (id int PRIMARY KEY, v int, note text)',
        rows: `INSERT INTO a SELECT g, g, 'n' FROM generate_series(1, 1000) g`,
        rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.*\n',
      });
      const text = await readFile(stage.file, 'utf8');
      const withRetention = text.replace('log: {', `log: { retainBytes: ${RETAIN_BYTES},`);
      await writeFile(stage.file, withRetention);
      let [reader, transformer, sink] = SERVICES.map((command) => stage.start(command)) as [Pipeline, Pipeline, Pipeline];
      await stage.untilSame(ALL);
      const stop = load(stage);
      await cutFurther(stage, await kept(stage));

      for (const service of [reader, transformer, sink]) await service.kill();
      reader = replace(stage, reader, 'reader', 'reader-again');
      transformer = replace(stage, transformer, 'transformer', 'transformer-again');
      sink = replace(stage, sink, 'sink', 'sink-again');
      await cutFurther(stage, await kept(stage));

      // By another file, the transformer first: the sink goes on where the other one's bookmark is.
      await writeFile(stage.file, `${withRetention}    drop: [note]\n`);
      stage.running.splice(0);
      expect(await transformer.stop()).toEqual({ code: 0, signal: null });
      transformer = stage.start('transformer', 'transformer-other');
      expect(await sink.stop()).toEqual({ code: 0, signal: null });
      sink = stage.start('sink', 'sink-other');
      stage.running.push(reader);
      await cutFurther(stage, await kept(stage));

      // And back: what was not moved meanwhile comes with the next change of its row.
      await writeFile(stage.file, withRetention);
      stage.running.splice(0);
      expect(await sink.stop()).toEqual({ code: 0, signal: null });
      expect(await transformer.stop()).toEqual({ code: 0, signal: null });
      stage.running.push(reader);
      stage.start('sink', 'sink-back');
      stage.start('transformer', 'transformer-back');
      await cutFurther(stage, await kept(stage));
      await stop();
      await execute(stage.source, `UPDATE a SET note = 'last ' || id`);
      await stage.untilSame(ALL);
      const end = await kept(stage);
      expect(end.raw.records, 'of all ever written').toBeLessThan(end.raw.starts);
    },
    LONG_MS,
  );

  test(
    'by somebody else, are refused by the reader, with what to do',
    async () => {
      await using stage = await openServices({
        tables: 'CREATE TABLE a (id int PRIMARY KEY, v int, note text)',
        rows: `INSERT INTO a SELECT g, g, 'n' FROM generate_series(1, 100) g`,
        rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.*\n',
      });
      for (const command of SERVICES) stage.start(command);
      await stage.untilSame(ALL);
      for (const service of stage.running.splice(0)) await service.stop();
      const cluster = await clusterOn((await sharedKafka()).brokers);
      try {
        await cluster.trim({ topic: orderTopic(stage.name), partition: 0 }, 3);
      } finally {
        await cluster.close();
      }
      const reader = stage.start('reader', 'reader-again');
      expect((await reader.ended()).code).not.toBe(0);
      expect(reader.logTail(10)).toMatch(/CF-3003 .*order topic is kept from offset 3 on[^]*retention\.ms/);
    },
    LONG_MS,
  );
});
