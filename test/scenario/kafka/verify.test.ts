/** `crossfade verify` over Kafka while some of the services, or Kafka itself, are away. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { startKafka, type Kafka } from '#test/support/kafka/kafka.ts';
import { startPostgres } from '#test/support/postgres.ts';

const WAIT = { timeout: 60_000, interval: 100 };
const NAME = `verify_${process.pid}`;

interface Stage extends AsyncDisposable {
  readonly kafka: Kafka;
  readonly source: string;
  readonly target: string;
  start(command: string): Pipeline;
  /** Exit code, how many tables were not judged, and what was said. */
  verify(): Promise<{ readonly code: number | null; readonly inconclusive: number | undefined; readonly said: string }>;
}

async function openStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const kafka = stack.use(await startKafka());
  const server = stack.use(await startPostgres({ version: 18 }));
  const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
  const item = 'CREATE TABLE item (id int PRIMARY KEY, label text)';
  await execute(target, item);
  await execute(source, item, `INSERT INTO item SELECT g, 'label ' || g FROM generate_series(1, 200) g`);
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-verify-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'migration.yaml');
  const ends = `source: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\ntables:\n  - from: public.*`;
  const log = `log: { kafka: { brokers: ["${kafka.brokers[0]}"], partitions: 2 } }\nheartbeatSeconds: 1`;
  await writeFile(file, `crossfade: 1\nname: ${NAME}\n${ends}\n${log}\n`);
  const kept = stack.move();
  let started = 0;
  return {
    kafka,
    source,
    target,
    start: (command) => {
      const as = join(directory, `${command}-${++started}`);
      return kept.use(Pipeline.start({ command, file, dataDir: as, logFile: `${as}.log` }));
    },
    verify: async () => {
      const run = await runCommand<VerifyResult & { readonly inconclusive: number }>(['verify'], { file, dataDir: join(directory, 'cli') });
      return { code: run.code, inconclusive: run.envelope?.result?.inconclusive, said: JSON.stringify(run.envelope?.result) };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function value(url: string, sql: string): Promise<unknown> {
  const [row] = (await execute(url, sql)) as unknown as Record<string, unknown>[];
  return Object.values(row ?? {})[0];
}

describeWithKafka('verify over Kafka', () => {
  test('says equal only where it is so, whoever is away, and why it cannot say where it cannot', async () => {
    await using stage = await openStage();
    const { source, target, kafka } = stage;
    const untilEqual = (): Promise<void> =>
      vi.waitFor(async () => {
        const sum = 'SELECT count(*) || md5(string_agg(i::text, $$,$$ ORDER BY id)) FROM item i';
        expect(await value(target, sum)).toBe(await value(source, sum));
      }, WAIT);
    let reader = stage.start('reader');
    stage.start('transformer');
    let sink = stage.start('sink');
    await untilEqual();
    await vi.waitFor(async () => expect((await stage.verify()).code).toBe(0), WAIT);

    // Nobody reads: the slot has moved over idle stretches that the target does not show, and changes wait on the source.
    await reader.stop();
    await execute(source, `UPDATE item SET label = 'waits' WHERE id < 10; DELETE FROM item WHERE id = 20`);
    const waiting = await stage.verify();
    expect(waiting, waiting.said).toMatchObject({ code: 0, inconclusive: 0 });
    await execute(target, `UPDATE item SET label = 'drifted' WHERE id = 100`);
    expect(await stage.verify()).toMatchObject({ code: 11 });
    await execute(target, `UPDATE item SET label = 'label 100' WHERE id = 100`);

    // The log has what the target has not: nobody applies, and then nobody reads either.
    await sink.stop();
    reader = stage.start('reader');
    await execute(source, `INSERT INTO item SELECT g, 'in the log' FROM generate_series(1000, 1200) g`);
    const written = await value(source, 'SELECT pg_current_wal_lsn()');
    const passed = `SELECT confirmed_flush_lsn >= '${String(written)}' FROM pg_replication_slots WHERE slot_name = '${NAME}'`;
    await vi.waitFor(async () => expect(await value(source, passed), reader.logTail(5)).toBe('t'), WAIT);
    await reader.stop();
    const behind = await stage.verify();
    expect(behind, behind.said).toMatchObject({ code: 1, inconclusive: 1, said: expect.stringContaining('behind the change log') });

    await kafka.stop();
    const away = await stage.verify();
    expect(away, away.said).toMatchObject({ code: 1, inconclusive: 1, said: expect.stringContaining('verify again when Kafka answers') });
    await kafka.start();

    // A sink that lags is waited for.
    sink = stage.start('sink');
    await vi.waitFor(() => expect(sink.logTail(20)).toContain('is the active one'), WAIT);
    const caught = await stage.verify();
    expect(caught, caught.said).toMatchObject({ code: 0, inconclusive: 0 });
    stage.start('reader');
    await untilEqual();
  }, 240_000);
});
