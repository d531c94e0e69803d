/** Transactions that are open while verify starts: those that cannot have a commit record do not stand in its way. */
import { expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { startPostgres, versions } from '#test/support/postgres.ts';
import { play } from './played-pipeline.ts';

const SQL = 'CREATE TABLE item (id int4 PRIMARY KEY, v text)';

for (const version of versions(18)) {
  test(`open, sleeping and prepared writers are told from hidden ones, on PostgreSQL ${version}`, async () => {
    await using server = await startPostgres({ version, settings: { max_prepared_transactions: '5' } });
    const url = await server.createDatabase('app');
    await using pipeline = await play({ sourceUrl: url, sourceSql: SQL });
    await pipeline.source.query(`INSERT INTO item SELECT g, 'v' FROM generate_series(1, 100) g`);
    await pipeline.follow();
    const session = async (): Promise<Awaited<ReturnType<typeof connect>>> =>
      connect(url, { applicationName: 'app', role: 'source', settings: { search_path: 'public' } });
    const [idle, prepared, asleep] = [await session(), await session(), await session()];
    await idle.query('BEGIN');
    await idle.query(`UPDATE item SET v = 'idle' WHERE id = 1`);
    await prepared.query(`BEGIN; UPDATE item SET v = 'prepared' WHERE id = 2; PREPARE TRANSACTION 'two'`);
    await asleep.query('BEGIN');
    await asleep.query(`UPDATE item SET v = 'asleep' WHERE id = 3`);
    const slept = asleep.query('SELECT pg_sleep(20)').catch(() => undefined);
    expect(await pipeline.verify({ limits: { attempts: 1, settleMs: 2_000 } })).toMatchObject({ differences: 0, inconclusive: 0 });
    await pipeline.source.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`);
    await slept;
    await asleep.query('ROLLBACK');
    await prepared.query(`COMMIT PREPARED 'two'`);
    await idle.query('COMMIT');
    expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
    for (const client of [idle, prepared, asleep]) await client.end();
  });
}

test('a role with LOGIN, REPLICATION and SELECT is enough on the source, SELECT on the target', async () => {
  await using server = await startPostgres({ version: 18 });
  await using pipeline = await play({ sourceUrl: await server.createDatabase('app'), sourceSql: SQL });
  await pipeline.source.query(
    `INSERT INTO item SELECT g, 'v' FROM generate_series(1, 100) g; CREATE ROLE reader LOGIN REPLICATION; GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON item TO reader`,
  );
  await pipeline.target.query(
    `DO $$ BEGIN CREATE ROLE judge LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT USAGE ON SCHEMA crossfade, public TO judge; GRANT SELECT ON ALL TABLES IN SCHEMA crossfade, public TO judge`,
  );
  await pipeline.follow();
  const as = (url: string, user: string): string => Object.assign(new URL(url), { username: user }).href;
  const options = { sourceUrl: as(pipeline.sourceUrl, 'reader'), targetUrl: as(pipeline.targetUrl, 'judge') };
  expect(await pipeline.verify(options)).toMatchObject({ differences: 0, inconclusive: 0, tables: [{ rowsSource: 100 }] });
  await pipeline.source.query('REVOKE SELECT ON item FROM reader');
  const refused = await pipeline.verify(options);
  expect(refused).toMatchObject({ differences: 0, inconclusive: 1 });
  expect(refused.tables[0]?.inconclusive).toMatchObject({ cause: 'unreadable', message: expect.stringContaining('SELECT') });
  await pipeline.target.query('DROP OWNED BY judge; DROP ROLE judge');
});

test('a source that restarts under verify makes it inconclusive at worst', async () => {
  await using server = await startPostgres({ version: 18 });
  await using pipeline = await play({ sourceUrl: await server.createDatabase('app'), sourceSql: SQL });
  await pipeline.source.query(`INSERT INTO item SELECT g, 'v' FROM generate_series(1, 100) g`);
  const holder = await connect(pipeline.sourceUrl, { applicationName: 'holder', role: 'source', settings: { search_path: 'public' } });
  await holder.query('BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE');
  const verified = pipeline.verify({ limits: { attempts: 1 } });
  while ((await pipeline.source.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = 'item'::regclass`)).rowCount === 0)
    await pipeline.source.query('SELECT pg_sleep(0.01)');
  await server.restart();
  expect(await verified).toMatchObject({ differences: 0, inconclusive: 1, at: { lsn: null } });
});
