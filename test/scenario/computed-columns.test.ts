import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import {
  changes,
  EXPECTED,
  EXPECTED_PAGES,
  FILL,
  FILL_PAGES,
  FOUND,
  FOUND_PAGES,
  FUNCTIONS,
  SOURCE,
  TABLES,
  TARGET,
  TOKEN_KEY,
} from '#test/support/computed-tables.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { startInstance, type RunningInstance } from '#test/support/running-instance.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';

const LONG_MS = 180_000;
const WAIT = { timeout: 30_000, interval: 50 };

test(
  'computed columns are copied, followed and verified clean under load, through a SIGKILL and unchanged TOAST',
  { timeout: LONG_MS },
  async () => {
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-set-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
    const head = `crossfade: 1\nname: computed\nsource: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\nheartbeatSeconds: 1\n`;
    await writeFile(file, head + TABLES);
    await writeFile(join(directory, 'functions.ts'), FUNCTIONS);
    await execute(from.url, SOURCE, FILL, FILL_PAGES);
    await execute(to.url, TARGET);
    const key = { TOKEN_KEY };
    const start = (env: Record<string, string>): Pipeline =>
      stack.use(Pipeline.start({ file, dataDir, logFile: join(directory, 'up.log'), env: { ...key, ...env } }));
    const first = start({ CROSSFADE_TEST_FAILPOINT: 'sink.applied:3' });
    let round = 0;
    const write = (): Promise<unknown> => execute(from.url, ...changes(round++));
    const writing = (async () => {
      while (first.result === undefined) await write();
    })();
    expect(await first.ended(), first.logTail(20)).toMatchObject({ signal: 'SIGKILL' });
    await writing;
    const second = start({});
    await second.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
    for (let i = 0; i < 20; i++) await write();
    const verifying = runCommand<VerifyResult>(['verify'], { file, dataDir, env: key });
    for (let i = 0; i < 20; i++) await write();
    const verified = await verifying;
    expect(verified.code, explain(verified)).toBe(0);
    // What was compared may be a state of before the last writes.
    await vi.waitFor(async () => {
      expect(await execute(to.url, FOUND)).toEqual(await execute(from.url, EXPECTED));
      expect(await execute(to.url, FOUND_PAGES)).toEqual(await execute(from.url, EXPECTED_PAGES));
    }, WAIT);
    const [pages, customers] = verified.envelope!.result!.tables;
    expect(customers?.sharedFunctionOnly).toHaveLength(12);
    expect(pages?.sharedFunctionOnly).toEqual(['title', 'body_md5', 'area', 'popularity']);
    const [drift] = await execute(
      to.url,
      `UPDATE customer SET name = name || '!' WHERE customer_id = (SELECT min(customer_id) FROM customer) RETURNING customer_id`,
    );
    const id = drift!['customer_id'];
    const drifted = await runCommand<VerifyResult>(['verify'], { file, dataDir, env: key });
    expect(drifted.code, explain(drifted)).toBe(11);
    expect(drifted.envelope?.result?.tables.flatMap((table) => table.sample)).toEqual([
      { key: { customer_id: id }, kind: 'different', columns: ['name'], sourceKey: [id] },
    ]);
    expect(await second.stop()).toEqual({ code: 0, signal: null });
  },
);

test('a row that a step refuses holds its table, copied or changed, with table, key and column named and no value; resume goes on', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  const tables = [
    'CREATE TABLE a (id int PRIMARY KEY, v text)',
    'CREATE TABLE b (id int PRIMARY KEY, v text)',
    'CREATE TABLE c (id int PRIMARY KEY, v text)',
  ];
  await execute(source, ...tables, `INSERT INTO a VALUES (1, 'x')`, `INSERT INTO b VALUES (7, 'hunter2')`);
  await execute(target, ...tables);
  const rest = `heartbeatSeconds: 1\ntables:\n  - from: public.*\n  - { from: public.a, set: { v: { from: v, steps: [{ map: { values: { x: y } } }] } } }
  - { from: public.b, set: { v: { from: v, steps: [trim, { cast: { to: integer } }] } } }\n`;
  await using instance = await startInstance({ source, target, rest });
  const held = (): readonly (string | undefined)[] =>
    instance.status()?.tables.flatMap(({ phase, error }) => (phase === 'held' ? [error] : [])) ?? [];
  const copied = 'CF-4002: column "v", step 2 (cast): the value is no integer';
  await vi.waitFor(() => expect(held()).toEqual([copied]), WAIT);
  await execute(source, `INSERT INTO a VALUES (2, 'x'), (3, 'secret'), (4, 'x')`, `INSERT INTO c VALUES (1, 'on')`);
  const changed = 'CF-4002: column "v", step 1 (map): the value is none of the 1 that are listed';
  await vi.waitFor(() => expect(held()).toEqual([changed, copied]), WAIT);
  const keys = `SELECT source_table, held_key FROM crossfade.table_progress WHERE state = 'held' ORDER BY 1`;
  await vi.waitFor(
    async () =>
      expect(await execute(target, keys)).toEqual([
        { source_table: 'a', held_key: '3' },
        { source_table: 'b', held_key: '7' },
      ]),
    WAIT,
  );
  await vi.waitFor(async () => expect(await execute(target, 'SELECT id FROM c')).toEqual([{ id: '1' }]), WAIT);
  await execute(source, `UPDATE a SET v = 'x' WHERE id = 3`, `UPDATE b SET v = ' 8 '`);
  await instance.post('/v1/resume', {});
  await vi.waitFor(() => expect(held()).toEqual([]), WAIT);
  await vi.waitFor(
    async () => expect(await execute(target, 'SELECT count(*) AS n, min(v) AS v FROM a')).toEqual([{ n: '4', v: 'y' }]),
    WAIT,
  );
  await vi.waitFor(async () => expect(await execute(target, 'SELECT id, v FROM b')).toEqual([{ id: '7', v: '8' }]), WAIT);
});

test('a table without a key counts computed rows one by one', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  await execute(
    source,
    'CREATE TABLE k (v text, n int)',
    'ALTER TABLE k REPLICA IDENTITY FULL',
    `INSERT INTO k VALUES ('A', 1), ('A', 1), (NULL, 2)`,
  );
  await execute(target, 'CREATE TABLE k (v text, n int, w text)');
  const rest = `heartbeatSeconds: 1\ntables:\n  - { from: public.k, set: { v: { from: v, steps: [lower] }, w: { from: [v, n], steps: [{ concat: { sep: "-", nulls: empty } }] } } }\n`;
  await using instance = await startInstance({ source, target, rest });
  await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
  await execute(
    source,
    `INSERT INTO k VALUES ('B', 3)`,
    `UPDATE k SET n = 9 WHERE n = 2`,
    'DELETE FROM k WHERE ctid = (SELECT min(ctid) FROM k WHERE n = 1)',
  );
  const rows = [
    { v: 'a', n: '1', w: 'A-1' },
    { v: 'b', n: '3', w: 'B-3' },
    { v: null, n: '9', w: '-9' },
  ];
  await vi.waitFor(async () => expect(await execute(target, 'SELECT v, n, w FROM k ORDER BY n')).toEqual(rows), WAIT);
});

test('a row that a step refuses is set aside where the file says so, and verify counts it as held; a retry brings it under the mended mapping', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  const table = 'CREATE TABLE a (id int PRIMARY KEY, v text, n int NOT NULL DEFAULT 0)';
  await execute(source, table, `INSERT INTO a SELECT g, CASE WHEN g = 7 THEN 'secret' ELSE 'x' END FROM generate_series(1, 50) g`);
  await execute(target, table);
  const restOf = (values: string): string =>
    `heartbeatSeconds: 1\ntables:\n  - { from: public.a, onRowError: set-aside, set: { v: { from: v, steps: [{ map: { values: ${values} } }] } } }\n`;
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-set-aside-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
  const start = async (values: string): Promise<RunningInstance> => {
    const head = `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\n`;
    await writeFile(file, head + restOf(values));
    return stack.use(await startInstance({ source, target, rest: restOf(values) }, dataDir));
  };
  const run = async (...args: readonly string[]): Promise<{ readonly exitCode: number; readonly result: unknown }> => {
    const done = await runInProcess([...args, '--json', '-f', file, '--data', dataDir]);
    return { exitCode: done.exitCode, result: envelopeOf(done).result };
  };
  const first = await start('{ x: y }');
  await vi.waitFor(() => expect(first.status()?.phase).toBe('following'), WAIT);
  await execute(source, `INSERT INTO a VALUES (100, 'odd')`, 'UPDATE a SET n = 1', `UPDATE a SET v = 'odd' WHERE id = 3`);
  const blocked = `SELECT key::text AS key, message FROM crossfade.blocked ORDER BY (key->>0)::int`;
  const message = 'column "v", step 1 (map): the value is none of the 1 that are listed';
  const wanted = ['["3"]', '["7"]', '["100"]'].map((key) => ({ key, message }));
  await vi.waitFor(async () => expect(await execute(target, blocked)).toEqual(wanted), WAIT);
  const arrived = 'SELECT count(*) AS n FROM a WHERE n = 1 AND id <> 3';
  await vi.waitFor(async () => expect(await execute(target, arrived)).toEqual([{ n: '48' }]), WAIT);
  expect(await run('verify')).toMatchObject({ exitCode: 11, result: { tables: [{ missing: 2, different: 1, held: 3 }] } });
  await first.stop();
  const second = await start('{ x: y, odd: z, secret: z }');
  await vi.waitFor(() => expect(second.status()?.phase).toBe('following'), WAIT);
  expect(await run('dlq', 'retry', '--all')).toMatchObject({ exitCode: 0 });
  expect(await run('verify')).toMatchObject({ exitCode: 0 });
  expect(await execute(target, `SELECT id FROM a WHERE v = 'z' ORDER BY id`)).toEqual([{ id: '3' }, { id: '7' }, { id: '100' }]);
});
