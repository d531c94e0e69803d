import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { readLastFindings } from '#connectors/target/postgres/reconcile-record.ts';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import type { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { openServices, type ServicesStage } from '#test/support/kafka/services-stage.ts';

const WAIT = { timeout: 60_000, interval: 100 };
const LONG_MS = 180_000;

const SOURCE_TABLES = `CREATE TABLE item (id int PRIMARY KEY, label text, price numeric(10, 2), at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE note (item int NOT NULL, n int NOT NULL, text text, PRIMARY KEY (item, n));
  CREATE TABLE person (secret text, name text NOT NULL, id bigint PRIMARY KEY, region text, age smallint);
  ALTER TABLE person REPLICA IDENTITY FULL;
  CREATE TABLE event (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
  CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
  CREATE TABLE event_2 (what text, day date NOT NULL, id int NOT NULL, PRIMARY KEY (id, day));
  ALTER TABLE event ATTACH PARTITION event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');`;

const TARGET_TABLES = `CREATE TABLE item (id int PRIMARY KEY, label text, price numeric(10, 2), at timestamptz NOT NULL);
  CREATE TABLE note (item int NOT NULL, n int NOT NULL, text text, PRIMARY KEY (item, n));
  CREATE TABLE people (person_id bigint PRIMARY KEY, full_name text NOT NULL, age smallint, region text);
  CREATE TABLE event (what text, id int NOT NULL, day date NOT NULL, PRIMARY KEY (id, day))`;

const ROWS = `INSERT INTO item (id, label, price) SELECT g, 'label ' || g, g / 7.0 FROM generate_series(1, 3000) g;
  INSERT INTO note SELECT g, 1, repeat('x', g % 100) FROM generate_series(1, 500) g;
  INSERT INTO person SELECT 'pin ' || g, 'name ' || g, g, CASE WHEN g % 4 = 0 THEN 'us' ELSE 'eu' END, g % 90 FROM generate_series(1, 800) g;
  INSERT INTO event SELECT g, date '2026-01-01' + g % 59, 'event ' || g FROM generate_series(1, 400) g`;

const REST = `tables:
  - from: public.*
    exclude: [public.person]
  - from: public.person
    to: public.people
    where: { region: eu }
    columns: { id: { to: person_id }, name: { to: full_name } }
    drop: [secret]
`;

/** The same rows by a query on the target and, where it is another one, on the source. */
const SAME_ROWS: readonly (readonly [target: string, source?: string])[] = [
  [
    'SELECT person_id, full_name, age, region FROM people ORDER BY person_id',
    `SELECT id AS person_id, name AS full_name, age, region FROM person WHERE region = 'eu' ORDER BY id`,
  ],
  ['SELECT id, day, what FROM event ORDER BY id, day'],
  ['SELECT id, label, price, at FROM item ORDER BY id'],
  ['SELECT item, n, text FROM note ORDER BY item, n'],
];

async function openStage(): Promise<ServicesStage> {
  return openServices({ tables: SOURCE_TABLES, targetTables: TARGET_TABLES, rows: ROWS, rest: REST });
}

async function expectEqual({ source, target }: ServicesStage): Promise<void> {
  for (const [query, sourceQuery = query] of SAME_ROWS)
    expect(await execute(target, query), query).toEqual(await execute(source, sourceQuery));
}

async function untilEqual(stage: ServicesStage): Promise<void> {
  await stage.until(async () => expectEqual(stage));
}

function isActive(pipeline: Pipeline): boolean {
  return /is the active one/.test(pipeline.logTail(Infinity));
}

/** Services tell their address in the log only. */
async function metricsOf(pipeline: Pipeline): Promise<string> {
  const url = /"url":"([^"]+)","msg":"health/.exec(pipeline.logTail(Infinity))?.[1];
  if (url === undefined) throw new Error(`no address yet\n${pipeline.logTail()}`);
  expect((await fetch(new URL('/readyz', url))).status).toBe(200);
  return (await fetch(new URL('/metrics', url))).text();
}

let changes = 0;

async function changeRows(source: string): Promise<void> {
  const at = 1000 * ++changes;
  await execute(
    source,
    `BEGIN; UPDATE item SET label = label || '!' WHERE id % 3 = 0; DELETE FROM item WHERE id % 50 = 0;
     INSERT INTO item (id, label) SELECT g, NULL FROM generate_series(${500_000 + at}, ${500_100 + at}) g;
     UPDATE item SET id = id + ${100_000 + at} WHERE id BETWEEN 1 AND 20 + ${at} / 100; COMMIT`,
  );
  await execute(
    source,
    `UPDATE person SET age = age + 1 WHERE id % 7 = 0; DELETE FROM person WHERE id % 40 = 1; UPDATE person SET id = id + ${at} * 10 WHERE id BETWEEN 30 AND 40;
     UPDATE event SET what = what || '!' WHERE id % 5 = 0; DELETE FROM event WHERE id % 31 = 0; UPDATE event SET day = day + 20 WHERE id BETWEEN 50 AND 60 AND day < '2026-02-01';
     INSERT INTO person SELECT 's', 'new ' || g, g, 'eu', 1 FROM generate_series(${1_000_000 + at}, ${1_000_020 + at}) g`,
  );
  await execute(source, `DELETE FROM note WHERE item < 50; INSERT INTO note SELECT g, ${at}, 'später' FROM generate_series(1, 40) g`);
}

describeWithKafka('the services over Kafka', () => {
  test(
    'copy two tables over three partitions, follow, answer verify, status and repair, and drain on SIGTERM',
    async () => {
      await using stage = await openStage();
      const running = ['reader', 'transformer', 'sink'].map((command) => stage.start(command));
      await untilEqual(stage);
      await changeRows(stage.source);
      await untilEqual(stage);
      const dataDir = join(stage.directory, 'command');
      const verified = await runCommand<VerifyResult>(['verify'], { file: stage.file, dataDir });
      expect(verified.code, explain(verified)).toBe(0);
      const status = await runCommand<{ readonly phase: string }>(['status'], { file: stage.file, dataDir });
      expect(status.envelope?.result).toMatchObject({ phase: 'verified', deadLetters: 0, drift: 0 });
      await execute(stage.target, `UPDATE item SET label = 'drifted' WHERE id = 777; DELETE FROM note WHERE item = 300`);
      const drifted = await runCommand<VerifyResult>(['verify'], { file: stage.file, dataDir });
      expect(drifted.code, explain(drifted)).toBe(11);
      const repaired = await runCommand(['repair'], { file: stage.file, dataDir });
      expect(repaired.code, explain(repaired)).toBe(0);
      for (const pipeline of running) expect(await pipeline.stop()).toEqual({ code: 0, signal: null });
    },
    LONG_MS,
  );

  test(
    'go on when the active one of two readers, sinks and transformers is killed while rows are written',
    async () => {
      await using stage = await openStage();
      const names = ['reader', 'transformer', 'sink'].flatMap((command) => [1, 2].map((n) => [command, `${command}-${n}`] as const));
      const running = new Map(names.map(([command, name]) => [name, stage.start(command, name)]));
      await untilEqual(stage);
      for (const command of ['reader', 'transformer', 'sink']) {
        const active =
          [...running].find(([name, one]) => name.startsWith(command) && isActive(one)) ??
          [...running].find(([name]) => name.startsWith(command))!;
        running.delete(active[0]);
        stage.running.splice(stage.running.indexOf(active[1]), 1);
        const writing = execute(
          stage.source,
          `INSERT INTO item (id, label) SELECT g, '${command}' FROM generate_series((SELECT max(id) + 1 FROM item), (SELECT max(id) + 500 FROM item)) g`,
        );
        await active[1].kill();
        await writing;
        await changeRows(stage.source);
        await untilEqual(stage);
      }
      for (const pipeline of running.values()) expect(await pipeline.stop()).toEqual({ code: 0, signal: null });
    },
    LONG_MS,
  );

  test(
    'run in one process with up, which ends by itself when caught up, and goes on at the next start',
    async () => {
      await using stage = await openStage();
      const first = stage.start('up', 'up', ['--until', 'caught-up']);
      expect(await first.ended(), first.logTail(30)).toEqual({ code: 0, signal: null });
      await expectEqual(stage);
      await changeRows(stage.source);
      const second = stage.start('up', 'up', ['--until', 'caught-up']);
      expect(await second.ended(), second.logTail(30)).toEqual({ code: 0, signal: null });
      await expectEqual(stage);
    },
    LONG_MS,
  );

  test(
    'bring a partition that is attached while they run, and its later changes',
    async () => {
      await using stage = await openStage();
      for (const command of ['reader', 'transformer', 'sink']) stage.start(command);
      await untilEqual(stage);
      await execute(
        stage.source,
        `CREATE TABLE event_3 (day date NOT NULL, what text, id int NOT NULL, PRIMARY KEY (id, day));
         INSERT INTO event_3 SELECT date '2026-03-01' + g % 28, 'before ' || g, g FROM generate_series(1, 100) g;
         ALTER TABLE event ATTACH PARTITION event_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
         INSERT INTO event SELECT g, date '2026-03-05', 'after ' || g FROM generate_series(101, 120) g`,
      );
      await untilEqual(stage);
      await execute(
        stage.source,
        `UPDATE event SET what = what || '?' WHERE day >= '2026-03-01'; DELETE FROM event WHERE id < 20 AND day >= '2026-03-01'`,
      );
      await untilEqual(stage);
    },
    LONG_MS,
  );

  test(
    'answer over HTTP through control, obey pause and throttle, and are compared by the reconciler, which follows a difference until it is repaired',
    async () => {
      await using stage = await openStage();
      const running = ['reader', 'transformer', 'sink', 'control'].map((command) => stage.start(command));
      const control = running.at(-1)!;
      await untilEqual(stage);
      await control.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
      for (const args of [['pause'], ['throttle', '--rows', '5000'], ['resume']]) {
        const answer = await runCommand(args, { file: stage.file, dataDir: join(stage.directory, 'control') });
        expect(answer.code, explain(answer)).toBe(0);
      }
      await vi.waitFor(
        async () => expect(await control.request('POST', '/v1/marker', { waitMs: 4_000 })).toMatchObject({ applied: true }),
        WAIT,
      );
      const reconciler = stage.start('reconciler', 'reconciler', ['--interval', '1']);
      await vi.waitFor(async () => expect(await metricsOf(reconciler)).toMatch(/^crossfade_drift_rows 0$/m), WAIT);
      await execute(stage.target, `DELETE FROM note WHERE item = 400`);
      await vi.waitFor(async () => expect(await metricsOf(reconciler)).toMatch(/^crossfade_drift_rows 1$/m), WAIT);
      const steps = async (): Promise<string[]> =>
        (await readLastFindings(stage.target, stage.name, 9)).flatMap((one) => one.steps.map(({ state }) => state));
      await vi.waitFor(async () => expect(await steps()).toEqual(['suspected', 'confirmed']), WAIT);
      const repaired = await runCommand(['repair'], { file: stage.file, dataDir: join(stage.directory, 'reconciler') });
      expect(repaired.code, explain(repaired)).toBe(0);
      await vi.waitFor(async () => expect(await steps()).toEqual(['suspected', 'confirmed', 'repairing', 'verified']), WAIT);
      // As a cut-over leaves it: what the target's writers do is no difference of the pipeline's.
      await execute(stage.target, `INSERT INTO crossfade.journal (name, epoch, serves) VALUES ('${stage.name}', 1, 'target')`);
      await vi.waitFor(async () => expect(await metricsOf(reconciler)).not.toMatch(/^crossfade_drift_rows \d/m), WAIT);
      for (const pipeline of [...running, reconciler]) expect(await pipeline.stop()).toEqual({ code: 0, signal: null });
    },
    LONG_MS,
  );
});
