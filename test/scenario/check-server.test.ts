/** Findings that need a server of their own: settings, recovery, encodings, prepared transactions. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { checkReplicationConnection } from '#connectors/source/postgres/preflight/server.ts';
import { readSourceFacts } from '#connectors/source/postgres/preflight/source-check.ts';
import { checkStage, errorsOf, findingLike } from '#test/support/check-stage.ts';
import { freshDatabase, startPostgres } from '#test/support/postgres.ts';

const TABLE = 'CREATE TABLE public.a (id int PRIMARY KEY)';

async function execute(url: string, ...statements: readonly string[]): Promise<void> {
  const client = await connect(url, { applicationName: 'test', role: 'source' });
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

test.for([14, 18] as const)(
  'a server that is not set up for logical replication: exit 3, every setting with its ALTER SYSTEM (%s)',
  async (version) => {
    const settings = {
      wal_level: 'replica',
      max_wal_senders: '0',
      max_replication_slots: '0',
      max_slot_wal_keep_size: '1GB',
      wal_sender_timeout: '0',
    };
    await using server = await startPostgres({
      version,
      settings: { ...settings, ...(version === 18 && { idle_replication_slot_timeout: '1d' }) },
    });
    const target = await server.createDatabase('other');
    for (const url of [server.url(), target]) await execute(url, TABLE);
    const tables = version === 18 ? '  - from: public.*\nslot: { failover: true }' : undefined;
    await using stage = await checkStage({
      source: TABLE,
      sourceUrl: server.url(),
      targetUrl: target,
      ...(tables !== undefined && { tables }),
    });
    const { exitCode, envelope } = await stage.check();
    expect(exitCode).toBe(3);
    // The target is set up no better, which only a cut-over would need.
    for (const lack of [
      'wal_level of the target is replica',
      'no replication slot is free on the target',
      'no walsender is free on the target',
    ])
      expect(findingLike(envelope, new RegExp(`^for the way back: ${lack}`))).toMatchObject({ severity: 'warning', code: 'CF-8205' });
    expect(findingLike(envelope, /wal_level of the source is replica/)).toMatchObject({
      severity: 'error',
      code: 'CF-2002',
      remedy: expect.stringContaining('ALTER SYSTEM SET wal_level = logical;') as string,
    });
    expect(findingLike(envelope, /no replication slot is free/).remedy).toContain('ALTER SYSTEM SET max_replication_slots');
    expect(findingLike(envelope, /no walsender is free/).remedy).toContain('ALTER SYSTEM SET max_wal_senders');
    expect(findingLike(envelope, /max_slot_wal_keep_size is 1GB/).severity).toBe('warning');
    expect(findingLike(envelope, /wal_sender_timeout is 0/).severity).toBe('info');
    if (version === 18) {
      expect(findingLike(envelope, /idle_replication_slot_timeout is/).severity).toBe('warning');
      expect(findingLike(envelope, /^synchronized_standby_slots is empty on the source/).remedy).toContain('sync_replication_slots = on');
    }
  },
);

test('a standby is refused on both sides', async () => {
  await using server = await startPostgres({ version: 18 });
  await execute(server.url(), TABLE);
  await server.stop();
  writeFileSync(join(server.dataDir, 'standby.signal'), '');
  await server.start();
  await using stage = await checkStage({ source: TABLE, sourceUrl: server.url(), targetUrl: server.url() });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  expect(findingLike(envelope, /the source is a standby/).code).toBe('CF-2002');
  expect(findingLike(envelope, /the target is a standby/).code).toBe('CF-5008');
});

test('a prepared transaction is told, because creating the slot waits for it', async () => {
  await using server = await startPostgres({ version: 14, settings: { max_prepared_transactions: '2' } });
  await execute(server.url(), TABLE, 'BEGIN', 'INSERT INTO public.a VALUES (1)', "PREPARE TRANSACTION 'left over'");
  await using stage = await checkStage({ source: TABLE, sourceUrl: server.url() });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(0);
  expect(findingLike(envelope, /prepared transactions are open.*left over/)).toMatchObject({ severity: 'warning', code: 'CF-2010' });
});

test('a replication connection that does not get through (a pooler in between) is found before the start', async () => {
  await using database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  try {
    const [facts, catalog] = [await readSourceFacts(client), await readCatalog(client)];
    const settings = { createSlot: true, failoverSlot: false, createPublication: true, sessions: 1 };
    const input = { client, facts, catalog, tables: [], untargeted: [], name: 'x', settings, resumed: false };
    expect(await checkReplicationConnection({ ...input, url: database.url })).toEqual([]);
    const refused = await checkReplicationConnection({ ...input, url: 'postgres://me@127.0.0.1:1/x' });
    expect(refused).toMatchObject([{ severity: 'error', code: 'CF-2002', remedy: expect.stringContaining('pg_hba.conf') as string }]);
  } finally {
    await client.end();
  }
});

test('encodings: SQL_ASCII is refused as a source, and a narrower target is a warning', async () => {
  await using server = await startPostgres({ version: 18 });
  await execute(
    server.url(),
    "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0",
    "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
  );
  await execute(server.url('ascii'), TABLE);
  await execute(server.url('latin'), TABLE);
  await using stage = await checkStage({ source: TABLE, sourceUrl: server.url('ascii') });
  const refused = await stage.check();
  expect(refused.exitCode).toBe(3);
  expect(findingLike(refused.envelope, /source database is encoded SQL_ASCII/).code).toBe('CF-2002');
  await using narrower = await checkStage({ source: TABLE, targetUrl: server.url('latin') });
  const warned = await narrower.check();
  expect(errorsOf(warned.envelope)).toEqual([]);
  expect(findingLike(warned.envelope, /the target is encoded LATIN1/).severity).toBe('warning');
});
