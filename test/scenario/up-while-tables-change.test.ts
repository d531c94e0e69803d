import { rm } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { newDataDir, type RunningInstance, startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 30_000, interval: 50 };
const REST = 'heartbeatSeconds: 1\ntables:\n  - from: public.*\n';

async function following(instance: RunningInstance): Promise<void> {
  await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
}

async function sameRows(source: string, target: string, table: string): Promise<void> {
  const rows = async (url: string): Promise<string> => JSON.stringify(await execute(url, `SELECT * FROM ${table} ORDER BY 1`));
  await vi.waitFor(async () => expect(await rows(target)).toBe(await rows(source)), WAIT);
}

test('a partition made while following is copied, and its later changes arrive', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  const root = 'CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)';
  const leaf = 'CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)';
  await execute(source, root, leaf, `INSERT INTO p SELECT g, 'old' FROM generate_series(1, 50) g`);
  await execute(target, 'CREATE TABLE p (id int PRIMARY KEY, v text)');
  await using instance = await startInstance({ source, target, rest: REST });
  await following(instance);
  await execute(
    source,
    'CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)',
    `INSERT INTO p VALUES (100, 'first'), (101, 'second')`,
  );
  await sameRows(source, target, 'p');
  await execute(source, `UPDATE p SET v = 'later' WHERE id = 100`, 'DELETE FROM p WHERE id = 101', `INSERT INTO p VALUES (102, 'third')`);
  await sameRows(source, target, 'p');
  await execute(source, 'TRUNCATE p', `INSERT INTO p VALUES (7, 'anew'), (150, 'anew')`);
  await sameRows(source, target, 'p');
});

test('a row that the target rejects holds its table only; resume goes on once the cause is mended', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  const tables = ['CREATE TABLE a (id int PRIMARY KEY, v int)', 'CREATE TABLE b (id int PRIMARY KEY, v int)'];
  await execute(source, ...tables, 'INSERT INTO a VALUES (1, 1)', 'INSERT INTO b VALUES (1, 1)');
  await execute(target, ...tables, 'ALTER TABLE a ADD CONSTRAINT small CHECK (v < 10)');
  await using instance = await startInstance({ source, target, rest: REST });
  await following(instance);
  await execute(source, 'INSERT INTO a VALUES (2, 99)', 'INSERT INTO b VALUES (2, 99)', 'INSERT INTO a VALUES (3, 3)');
  await sameRows(source, target, 'b');
  await vi.waitFor(() => {
    const held = instance.status()?.tables.find((table) => table.phase === 'held');
    expect(held).toMatchObject({ from: 'public.a' });
    expect(held?.error).toMatch(/small/);
  }, WAIT);
  expect(instance.status()?.applied.exact).toBe(false);
  await execute(target, 'ALTER TABLE a DROP CONSTRAINT small');
  await instance.post('/v1/resume', {});
  await sameRows(source, target, 'a');
  await vi.waitFor(() => expect(instance.status()?.applied.exact).toBe(true), WAIT);
});

test('a table whose copied row the target rejects is held, on the target’s own record too, whatever the log announces in the same round', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  const tables = ['CREATE TABLE a (id int PRIMARY KEY, v int)', 'CREATE TABLE b (id int PRIMARY KEY, v int)'];
  await execute(source, ...tables, 'INSERT INTO a VALUES (1, 1), (2, 99), (3, 3)', 'INSERT INTO b VALUES (1, 1)');
  await execute(target, ...tables, 'ALTER TABLE a ADD CONSTRAINT small CHECK (v < 10)');
  await using instance = await startInstance({ source, target, rest: REST });
  await following(instance);
  await vi.waitFor(() => expect(instance.status()?.tables.find((table) => table.from === 'public.a')?.phase).toBe('held'), WAIT);
  await sameRows(source, target, 'b');
  await instance.stop();
  const states = await execute(target, 'SELECT source_table, state, held_key FROM crossfade.table_progress ORDER BY 1');
  expect(states).toEqual([
    { source_table: 'a', state: 'held', held_key: '2' },
    { source_table: 'b', state: 'following', held_key: null },
  ]);
});

test('a table that refers to itself arrives under changes although the role may not switch its foreign key off', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const table = 'CREATE TABLE staff (id int PRIMARY KEY, boss int REFERENCES staff, n int NOT NULL DEFAULT 0)';
  await execute(from.url, table, `INSERT INTO staff SELECT g, CASE WHEN g > 1 THEN g / 2 END FROM generate_series(1, 3000) g`);
  const role = `plain_${Date.now()}`;
  await execute(
    to.url,
    table,
    `CREATE ROLE ${role} LOGIN`,
    `GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON staff TO ${role}`,
    `CREATE SCHEMA crossfade AUTHORIZATION ${role}`,
  );
  const target = to.url.replace('//postgres', `//${role}`);
  const closed = new AbortController();
  const writing = (async (): Promise<void> => {
    for (let i = 0; !closed.signal.aborted; i++) await execute(from.url, `UPDATE staff SET n = n + 1 WHERE id = ${2900 + (i % 100)}`);
  })();
  // Slowed, so that many changes fall between the chunk's watermarks.
  const rest = `copy: { maxRowsPerSecond: 1500 }\n${REST}`;
  await using instance = await startInstance({ source: from.url, target, rest });
  await following(instance);
  closed.abort();
  await writing;
  await sameRows(from.url, to.url, 'staff');
  expect(instance.status()?.tables[0]?.phase).toBe('following');
});

test('a table added to the file later is copied while the others are followed', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const tables = ['CREATE TABLE a (id int PRIMARY KEY, v int)', 'CREATE TABLE b (id int PRIMARY KEY, v int)'];
  for (const url of [from.url, to.url]) await execute(url, ...tables);
  await execute(
    from.url,
    'INSERT INTO a SELECT g, g FROM generate_series(1, 500) g',
    'INSERT INTO b SELECT g, g FROM generate_series(1, 500) g',
  );
  const base = { source: from.url, target: to.url };
  const dataDir = await newDataDir();
  {
    await using first = await startInstance({ ...base, rest: 'tables:\n  - from: public.a\n' }, dataDir);
    await following(first);
  }
  await execute(from.url, 'UPDATE b SET v = v + 1 WHERE id < 10', 'INSERT INTO a VALUES (501, 1)');
  await using second = await startInstance({ ...base, rest: 'tables:\n  - from: public.*\n' }, dataDir);
  await sameRows(from.url, to.url, 'b');
  await execute(from.url, 'UPDATE b SET v = -1 WHERE id = 7', 'DELETE FROM b WHERE id = 8');
  await sameRows(from.url, to.url, 'b');
  await sameRows(from.url, to.url, 'a');
  await second.stop();
  await rm(dataDir, { recursive: true, force: true });
});
