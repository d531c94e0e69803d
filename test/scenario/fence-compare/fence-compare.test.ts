/** The comparison at the fence: what changed since the full one is compared, named, and nothing is called equal that was not looked at. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { parseLsn } from '#schemas/lsn.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { execute } from '#test/support/application.ts';
import { fencedPipeline } from './fenced-pipeline.ts';
import { testFence } from './test-fence.ts';
import { versions } from '#test/support/postgres.ts';

afterEach(() => installTestHooks({}));

const SQL = `
CREATE TABLE account (id int4 PRIMARY KEY, owner text, balance numeric(12,2) NOT NULL);
CREATE TABLE tick (what text, n int4);
ALTER TABLE tick REPLICA IDENTITY FULL;
CREATE TABLE part (id int4, region int4, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
INSERT INTO account SELECT i, 'o' || i, i FROM generate_series(1, 500) i;
INSERT INTO part SELECT i, 1 + i % 2, 'v' FROM generate_series(1, 100) i;
INSERT INTO tick SELECT 't', i FROM generate_series(1, 20) i;`;

const of = ({ tables }: { readonly tables: readonly TableVerdict[] }, to: string): TableVerdict | undefined =>
  tables.find((table) => table.to === `public.${to}`);

test.for(versions(18))('from PostgreSQL %s: what changed is compared, and what differs is named', async (version) => {
  await using world = await fencedPipeline({ version, sourceSql: SQL });
  await using compare = await world.begin();
  expect(compare.before).toMatchObject({ differences: 0, inconclusive: 0 });
  expect(compare.beforehand).toEqual([]);
  await world.source.query(`UPDATE account SET balance = 7 WHERE id IN (3, 4)`);
  await world.source.query(`UPDATE account SET id = 1005 WHERE id = 5`);
  await world.source.query(`DELETE FROM account WHERE id = 6`);
  await world.source.query(`UPDATE part SET region = 3 - region WHERE id = 9`);
  await world.source.query(`INSERT INTO tick VALUES ('new', 1)`);
  await using fence = await testFence(world);
  expect(await compare.finish(fence)).toMatchObject({ differences: 0, inconclusive: 0, keys: 7 });
  await using again = await world.begin({ keysPerTable: 10 });
  await using later = await fenceAfter(world, fence, [
    `UPDATE account SET balance = 8 WHERE id IN (3, 4)`,
    `DELETE FROM account WHERE id = 10`,
    `UPDATE part SET v = 'w' WHERE id = 9`,
    `DELETE FROM tick WHERE n = 3`,
  ]);
  await world.target.query(`UPDATE account SET balance = 9 WHERE id = 4`);
  await world.target.query(`DELETE FROM account WHERE id = 3`);
  await world.target.query(`INSERT INTO account VALUES (10, 'x', 1)`);
  await world.target.query(`INSERT INTO tick VALUES ('too many', 1)`);
  const found = await again.finish(later);
  expect(of(found, 'account')).toMatchObject({ different: 1, missing: 1, extra: 1, keys: 3, lsn: found.at.lsn });
  expect(of(found, 'account')!.sample).toEqual(
    expect.arrayContaining([
      { key: { id: '4' }, kind: 'different', columns: ['balance'], sourceKey: ['4'] },
      { key: { id: '3' }, kind: 'missing', columns: [], sourceKey: ['3'] },
      { key: { id: '10' }, kind: 'extra', columns: [], sourceKey: ['10'] },
    ]),
  );
  expect(of(found, 'part')).toMatchObject({ different: 0, keys: 1 });
  expect(of(found, 'tick')).toMatchObject({ extra: 1, missing: 0 });
  expect(found).toMatchObject({ differences: 4, inconclusive: 0 });
});

/** The fence is let go, these are written, and it stands again. */
async function fenceAfter(
  world: Parameters<typeof testFence>[0],
  fence: AsyncDisposable,
  statements: readonly string[],
): ReturnType<typeof testFence> {
  await fence[Symbol.asyncDispose]();
  await execute(world.sourceUrl, ...statements);
  return testFence(world);
}

test('a guard that is off lets a difference pass', async () => {
  installTestHooks({ disabledGuards: ['fence-touched'] });
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin();
  await world.source.query(`UPDATE account SET balance = 7 WHERE id = 4`);
  await using fence = await testFence(world);
  await world.target.query(`UPDATE account SET balance = 8 WHERE id = 4`);
  expect(await compare.finish(fence)).toMatchObject({ differences: 0, inconclusive: 0 });
});

test('what was proved equal is not read again, what differs stays until it is equal', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await world.target.query(`UPDATE account SET owner = 'wrong' WHERE id = 7`);
  await using compare = await world.begin();
  expect(compare.before).toMatchObject({ differences: 1 });
  expect(compare.keys).toBe(1);
  await world.source.query(`UPDATE account SET balance = 1 WHERE id BETWEEN 100 AND 200`);
  await expect
    .poll(
      async () => {
        await compare.refresh();
        return compare.keys;
      },
      { timeout: 20_000 },
    )
    .toBe(1);
  await using fence = await testFence(world);
  expect(await compare.finish(fence)).toMatchObject({ differences: 1, inconclusive: 0, keys: 1 });
  await world.target.query(`UPDATE account SET owner = 'o7' WHERE id = 7`);
  expect(await compare.finish(fence)).toMatchObject({ differences: 0, inconclusive: 0, keys: 1 });
  expect(compare.keys).toBe(0);
});

test('a table that was emptied, written anew, or has no key and is large is compared whole or said to be open', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin({ wholeRows: 50 });
  expect(compare.beforehand).toEqual([]);
  await world.source.query(`TRUNCATE tick`);
  await world.source.query(`INSERT INTO tick SELECT 'again', i FROM generate_series(1, 30) i`);
  await world.target.query('TRUNCATE account');
  await using fence = await testFence(world);
  const found = await compare.finish(fence);
  expect(of(found, 'tick')).toMatchObject({ rowsSource: 30, rowsTarget: 30, missing: 0 });
  expect(of(found, 'account')!.inconclusive).toMatchObject({
    cause: 'volume',
    message: expect.stringMatching(/500 rows are too many/) as unknown,
  });
  expect(found.inconclusive).toBe(1);
  await fence[Symbol.asyncDispose]();
  await compare.refresh();
  await using later = await testFence(world);
  expect(of(await compare.finish(later), 'account')).toMatchObject({ missing: 500 });
});

test('too many changes for their keys, and a table that was altered', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin({ keysPerTable: 100, wholeRows: 10 });
  expect(compare.beforehand.map(({ to }) => to)).toEqual(['public.tick']);
  await world.source.query(`UPDATE account SET balance = 1 WHERE id <= 101`);
  await world.source.query(`ALTER TABLE part ADD COLUMN more text`);
  await using fence = await testFence(world);
  const found = await compare.finish(fence);
  expect(of(found, 'account')!.inconclusive).toMatchObject({ cause: 'volume', message: expect.stringMatching(/more than 100/) as unknown });
  expect(of(found, 'part')!.inconclusive).toMatchObject({ cause: 'changed', message: expect.stringMatching(/altered/) as unknown });
  await fence[Symbol.asyncDispose]();
  // A whole comparison before the fence takes the place of the keys.
  await expect
    .poll(
      async () => {
        await compare.refresh();
        await using next = await testFence(world);
        return of(await compare.finish(next), 'account')?.inconclusive;
      },
      { timeout: 20_000 },
    )
    .toBe(undefined);
});

test('a session that is lost says nothing, and the slot ends with it', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin();
  await world.source.query(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name LIKE '%\\_fence\\_%'`);
  await using fence = await testFence(world);
  const found = await compare.finish(fence);
  expect(found).toMatchObject({ differences: 0, inconclusive: 3 });
  expect(of(found, 'account')!.inconclusive!.message).toMatch(/not known any more/);
  await expect(compare.refresh()).rejects.toMatchObject({ code: 'CF-6030' });
  await slotsGone(world.sourceUrl);
});

test('a target that has not applied the marker is behind, not equal', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin();
  await world.stopFollowing();
  await world.source.query(`UPDATE account SET balance = 7 WHERE id = 4`);
  const [row] = await execute(world.sourceUrl, `SELECT pg_logical_emit_message(true, 'x', '')::text AS lsn`);
  const found = await compare.finish({ marker: parseLsn(row!['lsn']!) });
  expect(found).toMatchObject({ differences: 0, inconclusive: 3 });
  expect(found.tables[0]!.inconclusive).toMatchObject({ cause: 'lag' });
});

test('equal rows prove nothing of a change that the target has not applied', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await using compare = await world.begin();
  await world.stopFollowing();
  await world.source.query(`UPDATE account SET balance = balance WHERE id = 4`);
  await expect.poll(() => compare.keys).toBe(1);
  await compare.refresh();
  expect(compare.keys).toBe(1);
});

test('rows of the target that the way there leaves out are held against nothing', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  await world.target.query(`INSERT INTO account VALUES (9001, 'elsewhere', 1), (9002, 'elsewhere', 1)`);
  await using all = await world.begin();
  expect(all.before).toMatchObject({ differences: 2 });
  const filter = { conditions: [{ column: 'owner', op: 'not-in', values: ['elsewhere'] }] } as const;
  await using compare = await world.begin({}, ({ to }) => (to.name === 'account' ? filter : undefined));
  expect(compare.before).toMatchObject({ differences: 0, inconclusive: 0 });
  await world.source.query(`INSERT INTO account VALUES (9003, 'o', 1)`);
  await using fence = await testFence(world);
  expect(await compare.finish(fence)).toMatchObject({ differences: 0, keys: 1 });
  await world.target.query(`UPDATE account SET owner = 'elsewhere' WHERE id = 9003`);
  expect(of(await all.finish(fence), 'account')).toMatchObject({ different: 1, extra: 2 });
});

test('a process that is killed leaves no slot behind', async () => {
  await using world = await fencedPipeline({ sourceSql: SQL });
  const child: ChildProcess = fork(join(import.meta.dirname, 'hold-compare.ts'), [world.sourceUrl, world.targetUrl], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(child, 'message');
  const slots = `SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE '%\\_fence\\_%' AND database = current_database()`;
  expect(await execute(world.sourceUrl, slots)).toHaveLength(1);
  child.kill('SIGKILL');
  await slotsGone(world.sourceUrl);
});

async function slotsGone(url: string): Promise<void> {
  await expect
    .poll(
      async () =>
        (await execute(url, `SELECT FROM pg_replication_slots WHERE slot_name LIKE '%\\_fence\\_%' AND database = current_database()`))
          .length,
      { timeout: 20_000 },
    )
    .toBe(0);
}
