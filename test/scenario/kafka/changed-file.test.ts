/** The migration file changes while the services run over Kafka, and they are started anew one by one. */
import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { mappedTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { clusterOn } from '#test/support/log-on-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { openServices } from '#test/support/kafka/services-stage.ts';

const LONG_MS = 180_000;
const A = 'SELECT id, v, note FROM a WHERE id > 300 ORDER BY id';
const B = 'SELECT id, v FROM b ORDER BY id';

async function recordsIn(topic: string): Promise<number> {
  const cluster = await clusterOn((await sharedKafka()).brokers);
  try {
    return (await cluster.bounds(topic)).reduce((sum, { start, end }) => sum + end - start, 0);
  } finally {
    await cluster.close();
  }
}

describeWithKafka('a file that changes over Kafka', () => {
  test(
    'a table and a column more: nothing is lost of what came while a transformer of the old file still ran',
    async () => {
      await using stage = await openServices({
        tables: 'CREATE TABLE a (id int PRIMARY KEY, v int, note text); CREATE TABLE b (id int PRIMARY KEY, v int);',
        rows: `INSERT INTO a SELECT g, g, 'n' FROM generate_series(1, 300) g; INSERT INTO b SELECT g, g FROM generate_series(1, 300) g`,
        rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.a\n    drop: [note]\n',
      });
      for (const command of ['reader', 'transformer', 'sink']) stage.start(command);
      await stage.untilSame('SELECT id, v FROM a ORDER BY id');
      const [reader, transformer, sink] = stage.running.splice(0);
      const file = await readFile(stage.file, 'utf8');
      await writeFile(stage.file, file.replace('    drop: [note]\n', '  - from: public.b\n'));
      await Promise.all([reader!.stop(), sink!.stop()]);
      stage.start('reader', 'reader-2');
      stage.start('sink', 'sink-2');
      await execute(
        stage.source,
        `INSERT INTO a SELECT g, g, 'n' || g FROM generate_series(301, 600) g`,
        'INSERT INTO b SELECT g, g FROM generate_series(301, 600) g',
      );
      // The old transformer has mapped them by the old file, which the new sink does not take.
      await stage.until(async () => expect(await recordsIn(mappedTopic(stage.name, { schema: 'public', name: 'a' }))).toBe(600));
      await transformer!.stop();
      stage.start('transformer', 'transformer-2');
      await stage.untilSame(A);
      await stage.untilSame(B);
      await execute(stage.source, `INSERT INTO a VALUES (1000, 1, 'last')`, 'INSERT INTO b VALUES (1000, 1)');
      await stage.untilSame(A);
      await stage.untilSame(B);
    },
    LONG_MS,
  );

  test(
    'a new transformer takes nothing from one of the old file that runs on, and each sink gets all rows of its own',
    async () => {
      await using stage = await openServices({
        tables: 'CREATE TABLE a (id int PRIMARY KEY, v int, note text)',
        rows: `INSERT INTO a SELECT g, g, 'n' || g FROM generate_series(1, 300) g`,
        rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.a\n    drop: [note]\n',
      });
      for (const command of ['reader', 'transformer', 'sink']) stage.start(command);
      await stage.untilSame('SELECT id, v FROM a ORDER BY id');
      const file = await readFile(stage.file, 'utf8');
      await writeFile(stage.file, file.replace('    drop: [note]\n', ''));
      const next = stage.start('transformer', 'transformer-2');
      await stage.until(async () => expect(next.logTail(50)).toContain('mapping these partitions'));
      // The old sink has its rows from the old transformer still, and the new one its own from the new one.
      await execute(stage.source, `INSERT INTO a SELECT g, g, 'n' || g FROM generate_series(301, 600) g`);
      await stage.untilSame('SELECT id, v FROM a ORDER BY id');
      const sink = stage.running.findIndex(({ command }) => command === 'sink');
      await stage.running.splice(sink, 1)[0]!.stop();
      stage.start('sink', 'sink-2');
      await execute(stage.source, `INSERT INTO a SELECT g, g, 'n' || g FROM generate_series(601, 900) g`);
      await stage.untilSame('SELECT id, v, note FROM a WHERE id > 600 ORDER BY id');
      await stage.untilSame('SELECT id, v FROM a ORDER BY id');
    },
    LONG_MS,
  );
});
