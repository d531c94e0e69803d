/** What lies between the two snapshots: transactions hidden by a synchronous standby, truncates, rewrites, a target that stands still. */
import { afterEach, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { startPostgres, versions } from '#test/support/postgres.ts';
import { play } from './played-pipeline.ts';

const SQL = `
CREATE TABLE item (id int4 PRIMARY KEY, v text, n int4 NOT NULL DEFAULT 0);
CREATE TABLE other (id int4 PRIMARY KEY, v text);`;
/** Commits with synchronous_commit = on wait for ever; all other sessions are local. */
const NO_STANDBY = { synchronous_standby_names: 'nobody', synchronous_commit: 'local' };
const FILL = `INSERT INTO item SELECT g, 'v' || g FROM generate_series(1, 500) g; INSERT INTO other SELECT g, 'v' FROM generate_series(1, 50) g`;

afterEach(() => installTestHooks({}));

for (const version of versions(14)) {
  test(`a transaction in the WAL but not visible gives no false alarm, on PostgreSQL ${version}`, async () => {
    await using server = await startPostgres({ version, settings: NO_STANDBY });
    await using pipeline = await play({ sourceUrl: await server.createDatabase('app'), sourceSql: SQL });
    await pipeline.source.query(FILL);
    await pipeline.follow();
    expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });

    const stuck = await connect(server.url('app'), {
      applicationName: 'stuck',
      role: 'source',
      settings: { synchronous_commit: 'on', search_path: 'public' },
    });
    const committed = stuck.query(`UPDATE item SET v = 'hidden' WHERE id = 7`);
    await pipeline.target.query(`SET statement_timeout = '20s'`);
    while ((await pipeline.target.query(`SELECT FROM item WHERE v = 'hidden'`)).rowCount === 0)
      await pipeline.source.query('SELECT pg_sleep(0.01)');
    expect((await pipeline.source.query(`SELECT FROM item WHERE v = 'hidden'`)).rowCount).toBe(0);

    const limits = { settleMs: 200, attempts: 1 };
    const found = await pipeline.verify({ limits });
    expect(found).toMatchObject({ differences: 0, inconclusive: 1 });
    expect(found.tables[0]?.inconclusive).toMatchObject({ cause: 'in-flight', message: expect.stringContaining('synchronous standby') });
    expect(found.tables[1]).toMatchObject({ to: 'public.other', rowsSource: 50, rowsTarget: 50 });
    expect(found.tables[1]?.inconclusive).toBeUndefined();

    installTestHooks({ disabledGuards: ['verify-hidden'] });
    expect(await pipeline.verify({ limits })).toMatchObject({ differences: 1, inconclusive: 0 }); // the false alarm
    installTestHooks({});

    await pipeline.source.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
    await committed;
    expect(await pipeline.verify({ limits })).toMatchObject({ differences: 0, inconclusive: 0 });
    await stuck.end();
  });
}

test('a transaction hidden from the snapshot but committed behind the copied slot is taken into account', async () => {
  await using server = await startPostgres({ version: 18, settings: NO_STANDBY });
  await using pipeline = await play({ sourceUrl: await server.createDatabase('app'), sourceSql: SQL });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  await pipeline.verify();
  await pipeline.stopFollowing(); // so that the slot stays where it is
  const stuck = await connect(server.url('app'), { applicationName: 'stuck', role: 'source', settings: { search_path: 'public' } });
  await stuck.query('SET synchronous_commit = on');
  const committed = stuck.query(
    `UPDATE item SET v = 'hidden' WHERE id = 7; DELETE FROM item WHERE id = 8; UPDATE item SET id = 1009 WHERE id = 9`,
  );
  while ((await pipeline.source.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)).rowCount === 0)
    await pipeline.source.query('SELECT pg_sleep(0.01)');
  // The target gets it by hand, as the pipeline would, with the position behind it.
  await pipeline.target.query(
    `UPDATE item SET v = 'hidden' WHERE id = 7; DELETE FROM item WHERE id = 8; UPDATE item SET id = 1009 WHERE id = 9`,
  );
  const { rows } = await pipeline.source.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
  await pipeline.target.query('UPDATE crossfade.progress SET applied_lsn = $1', [rows[0]!.lsn]);
  // It holds its locks since before the copy, and is cleared at the end because the stream brought it.
  const limits = { settleMs: 100, attempts: 1 };
  expect(await pipeline.verify({ limits })).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.target.query(`UPDATE item SET v = 'lost' WHERE id = 7`);
  const found = await pipeline.verify({ limits });
  expect(found).toMatchObject({ differences: 1, inconclusive: 0 });
  expect(found.tables[0]?.sample).toEqual([{ key: { id: '7' }, kind: 'different', columns: ['v'], sourceKey: ['7'] }]);
  installTestHooks({ disabledGuards: ['verify-changes'] });
  expect((await pipeline.verify({ limits })).differences).toBeGreaterThan(1);
  await pipeline.source.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
  await committed;
  await stuck.end();
});

test('a target that stands still is compared through the changes it lacks', async () => {
  await using pipeline = await play({ sourceSql: SQL });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  await pipeline.verify();
  await pipeline.stopFollowing();
  await pipeline.source.query(
    `UPDATE item SET n = 1 WHERE id <= 20; DELETE FROM item WHERE id = 21; INSERT INTO item VALUES (1000, 'new'); UPDATE item SET id = 1001 WHERE id = 22`,
  );
  const found = await pipeline.verify();
  expect(found).toMatchObject({ differences: 0, inconclusive: 0 });
  expect(found.tables[0]).toMatchObject({ rowsSource: 500, rowsTarget: 500 }); // at the applied LSN
  await pipeline.source.query('TRUNCATE item');
  const truncated = await pipeline.verify({ limits: { attempts: 2 } });
  expect(truncated).toMatchObject({ differences: 0, inconclusive: 1 });
  expect(truncated.tables[0]?.inconclusive?.cause).toBe('changed');
});

test('more changes than are compared one by one, a held table and one still copying are inconclusive, each with its cause', async () => {
  await using pipeline = await play({ sourceSql: `${SQL}; CREATE TABLE third (id int4 PRIMARY KEY)` });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  await pipeline.verify();
  await pipeline.stopFollowing();
  await pipeline.source.query('UPDATE item SET n = 1');
  const state = `INSERT INTO crossfade.table_progress (name, source_schema, source_table, target_schema, target_table, state, error) VALUES ('played', 'public', $1, 'public', $1, $2, $3)`;
  await pipeline.target.query(state, ['item', 'following', null]);
  await pipeline.target.query(state, ['other', 'held', 'null value in column "v" of key 5']);
  await pipeline.target.query(state, ['third', 'copying', null]);
  const found = await pipeline.verify({ limits: { changesPerTable: 100, attempts: 1 } });
  expect(found).toMatchObject({ differences: 0, inconclusive: 3 });
  expect(found.tables.map((table) => table.inconclusive?.cause)).toEqual(['volume', 'held', 'copying']);
});

test('a truncate between the snapshot and the scan is not taken for missing rows', async () => {
  await using pipeline = await play({ sourceSql: SQL });
  await pipeline.source.query(FILL);
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0 });
  const holder = await connect(pipeline.sourceUrl, { applicationName: 'holder', role: 'source', settings: { search_path: 'public' } });
  /** Verify has its snapshots and waits for the table when it is emptied. */
  const truncateBehind = async (): Promise<Awaited<ReturnType<typeof pipeline.verify>>> => {
    await pipeline.stopFollowing(); // or the target would be emptied too
    await holder.query('BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE');
    const verified = pipeline.verify({ limits: { attempts: 1 } });
    while ((await pipeline.source.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'item'::regclass`)).rowCount === 0)
      await pipeline.source.query('SELECT pg_sleep(0.01)');
    await holder.query('TRUNCATE item; COMMIT');
    const found = await verified;
    await pipeline.follow();
    return found;
  };
  const found = await truncateBehind();
  expect(found).toMatchObject({ differences: 0, inconclusive: 1 });
  expect(found.tables[0]?.inconclusive?.cause).toBe('changed');
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.source.query('INSERT INTO item SELECT g FROM generate_series(1, 9) g');
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  installTestHooks({ disabledGuards: ['verify-shape'] });
  expect(await truncateBehind()).toMatchObject({ differences: 9 }); // the false alarm
  await holder.end();
});
