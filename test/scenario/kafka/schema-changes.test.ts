/** The source's tables change while the services run over Kafka. */
import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { openServices, type ServicesStage } from '#test/support/kafka/services-stage.ts';

const LONG_MS = 240_000;
const TABLES = 'CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int);';
const ROWS = 'INSERT INTO a SELECT g, g FROM generate_series(1, 300) g; INSERT INTO b SELECT g, g FROM generate_series(1, 300) g';
const A = 'SELECT id, v FROM a ORDER BY id';
const B = 'SELECT id, v FROM b ORDER BY id';

async function following({ unmapped = 'error', kafka = '' } = {}): Promise<ServicesStage> {
  const rest = `heartbeatSeconds: 1\ntables:\n  - from: public.*\n    unmapped: ${unmapped}\n`;
  const stage = await openServices({ tables: TABLES, rows: ROWS, rest, kafka });
  for (const command of ['reader', 'transformer', 'sink']) stage.start(command);
  await stage.untilSame(A);
  await stage.untilSame(B);
  return stage;
}

async function phaseOf(stage: ServicesStage, table: string): Promise<{ readonly phase: string; readonly error?: string | undefined }> {
  const { tables } = await stage.status();
  return tables.find(({ from }) => from === table)!;
}

describeWithKafka('a table that changes its shape over Kafka', () => {
  test(
    'is held when a column comes that the file does not map, and the others go on',
    async () => {
      await using stage = await following();
      await execute(
        stage.source,
        'ALTER TABLE a ADD COLUMN extra text',
        `INSERT INTO a VALUES (1000, 1, 'x')`,
        'INSERT INTO b VALUES (1000, 1)',
      );
      await stage.untilSame(B);
      await stage.until(async () =>
        expect(await phaseOf(stage, 'public.a')).toMatchObject({ phase: 'held', error: expect.stringMatching(/extra was added/) }),
      );
      expect((await stage.status()).applied.exact).toBe(false);
      expect(await execute(stage.target, 'SELECT count(*) FROM a')).toEqual([{ count: '300' }]);
    },
    LONG_MS,
  );

  test(
    'goes on when a column comes that the file ignores, in avro too, whose schema gets a version',
    async () => {
      await using stage = await following({ unmapped: 'ignore', kafka: ', format: avro' });
      await execute(
        stage.source,
        'ALTER TABLE a ADD COLUMN extra text',
        `INSERT INTO a VALUES (1000, 1, 'x')`,
        `UPDATE a SET extra = 'y', v = -1 WHERE id = 5`,
      );
      await stage.untilSame(A);
      expect(await phaseOf(stage, 'public.a')).toMatchObject({ phase: 'following' });
    },
    LONG_MS,
  );

  test(
    'is copied again when a type changes, which rewrites rows without a message',
    async () => {
      await using stage = await following();
      await execute(stage.target, 'ALTER TABLE a ALTER v TYPE bigint');
      await execute(
        stage.source,
        'ALTER TABLE a ALTER v TYPE bigint USING v * 2',
        'INSERT INTO a VALUES (1000, 10000000000)',
        'INSERT INTO b VALUES (1000, 1)',
      );
      await stage.untilSame(B);
      await stage.untilSame(A);
      await stage.until(async () => expect(await phaseOf(stage, 'public.a')).toMatchObject({ phase: 'following' }));
    },
    LONG_MS,
  );

  test(
    'is held when a mapped column goes away, and goes on with the services’ next start once it is back',
    async () => {
      await using stage = await following();
      await execute(stage.source, 'ALTER TABLE a DROP COLUMN v', 'INSERT INTO a VALUES (1000)', 'INSERT INTO b VALUES (1000, 1)');
      await stage.untilSame(B);
      await stage.until(async () =>
        expect(await phaseOf(stage, 'public.a')).toMatchObject({ phase: 'held', error: expect.stringMatching(/v is gone or was renamed/) }),
      );
      await execute(stage.source, 'ALTER TABLE a ADD COLUMN v int', 'UPDATE a SET v = id + 1');
      for (const service of stage.running.splice(0)) expect(await service.stop()).toEqual({ code: 0, signal: null });
      for (const command of ['reader', 'transformer', 'sink']) stage.start(command, `${command}-again`);
      await stage.untilSame(A);
      await execute(stage.source, 'UPDATE a SET v = 0 WHERE id < 7');
      await stage.untilSame(A);
    },
    LONG_MS,
  );
});
