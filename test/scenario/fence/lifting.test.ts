/** A fence is lifted, raised again, overtaken and taken away; two of them on one table; readers all the while. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { FenceOptions } from '#connectors/fence/fence.ts';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { settleEpoch } from '#connectors/postgres/journal.ts';
import { connect } from '#connectors/postgres/session.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { fenceWorld, outcomeOf, raiseFence, type FenceWorld } from '#test/support/fence-world.ts';
import { versions } from '#test/support/postgres.ts';

const { prepare, open, lift, drop, state, endSessions } = postgresFences;

afterEach(() => installTestHooks({}));

const INSERT = `INSERT INTO shop.customer (name) VALUES ('new')`;

async function write(world: FenceWorld, sql = INSERT): Promise<string> {
  const session = await world.session();
  return outcomeOf(session.query(sql));
}

describe.each(versions(14))('on PostgreSQL %i', (version) => {
  test('lifted, any number of times, and raised again', async () => {
    await using world = await fenceWorld(version);
    expect(await state(world.options)).toMatchObject({ state: 'none' });
    await raiseFence(world.options, 1n);
    expect([await write(world), await lift(world.options, 1n), await lift(world.options, 1n), await write(world)]).toEqual([
      '25006',
      true,
      true,
      'ok',
    ]);
    expect(await state(world.options)).toMatchObject({ state: 'down' });
    await raiseFence(world.options, 2n);
    expect(await write(world)).toBe('25006');
    expect(await state(world.options)).toEqual({ state: 'up', open: [] });
  });

  test('somebody who enables all triggers of a table wakes none that sleeps, and none that stands lets anybody in', async () => {
    await using world = await fenceWorld(version);
    const role = `writer_${process.pid}_${version}`;
    await world.query(`CREATE ROLE ${role}; GRANT USAGE ON SCHEMA shop TO ${role}; GRANT ALL ON ALL TABLES IN SCHEMA shop TO ${role};
      GRANT ALL ON ALL SEQUENCES IN SCHEMA shop TO ${role}`);
    const writer = await world.session(world.url);
    await writer.query(`SET ROLE ${role}`);
    const writes = ['INSERT INTO shop.bill (day) VALUES (12)', 'UPDATE shop.bill SET day = 13 WHERE day = 12', 'DELETE FROM shop.bill WHERE day = 13', INSERT, 'TRUNCATE shop.bill']; // prettier-ignore
    const outcomes = async (): Promise<string> => {
      // As pg_restore --disable-triggers does behind its rows.
      await world.query('ALTER TABLE shop.customer ENABLE TRIGGER ALL; ALTER TABLE shop.bill ENABLE TRIGGER ALL');
      let said = '';
      for (const sql of writes) said += `${await outcomeOf(writer.query(sql))} `;
      return said.trim();
    };
    await prepare(world.options);
    expect(await outcomes()).toBe('ok ok ok ok ok');
    expect(await world.query('SELECT count(*) AS n FROM shop.customer')).toEqual([{ n: '6' }]);
    // A snapshot of before the fence has the trigger as somebody woke it, and no decision.
    const old = await world.session();
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class LIMIT 1');
    await raiseFence(world.options, 1n);
    expect(await outcomeOf(old.query(INSERT))).toBe('25006');
    await old.query('ROLLBACK');
    expect(await outcomes()).toBe('25006 25006 25006 25006 25006');
    expect(await state(world.options)).toMatchObject({ state: 'partly' });
    expect(await lift(world.options, 2n)).toBe(true);
    expect(await outcomes()).toBe('ok ok ok ok ok');
  });

  test('what it says may change from one time to the next', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    await raiseFence({ ...world.options, servesElsewhere: `the target ('it''s' \\ moved)` }, 2n);
    const session = await world.session();
    await expect(session.query(INSERT)).rejects.toThrow(`moved to the target ('it''s' \\ moved) (migration shop)`);
  });

  test('nobody is refused while it is prepared, in whatever partition', async () => {
    await using world = await fenceWorld(version);
    const owner = await world.session();
    for (let day = 30; day < 60; day++)
      await owner.query(`CREATE TABLE shop.bill_${day} PARTITION OF shop.bill FOR VALUES FROM (${day}) TO (${day + 1})`);
    const over = new AbortController();
    const prepared = prepare(world.options).finally(() => over.abort());
    const outcomes: string[] = [];
    while (!over.signal.aborted) outcomes.push(await outcomeOf(owner.query('INSERT INTO shop.bill (day) VALUES (59)')));
    await prepared;
    expect(new Set(outcomes)).toEqual(new Set(['ok']));
  });

  test('partitions that came later are lifted with the rest, and one that takes writes is named', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    const owner = await world.session();
    await owner.query('CREATE TABLE shop.bill_c PARTITION OF shop.bill FOR VALUES FROM (30) TO (40)');
    expect(await state(world.options)).toEqual({ state: 'partly', open: [{ schema: 'shop', name: 'bill_c' }] });
    await lift(world.options, 1n);
    expect(await write(world, 'INSERT INTO shop.bill_c (id, day) VALUES (1, 33)')).toBe('ok');
    await raiseFence(world.options, 2n);
    expect(await state(world.options)).toEqual({ state: 'up', open: [] });
    expect(await write(world, 'TRUNCATE shop.bill_c')).toBe('25006');
  });

  test('an autovacuum that works on a fenced table gives way to the lift', async () => {
    await using world = await fenceWorld(version);
    const admin = await world.session(world.url);
    await raiseFence(world.options, 1n);
    // Slow enough to be there all the while; from now on all of the table is due.
    await admin.query(
      'ALTER TABLE shop.customer SET (autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0)',
    );
    await admin.query(`SET crossfade.pipeline = 'shop'`);
    await admin.query(`INSERT INTO shop.customer (name) SELECT repeat('x', 500) FROM generate_series(1, 20000)`);
    await admin.query(`UPDATE shop.customer SET name = name || 'y'`);
    await admin.query('ALTER SYSTEM SET autovacuum_naptime = 1');
    await admin.query('SELECT pg_reload_conf()');
    const working = `SELECT pid FROM pg_stat_progress_vacuum WHERE relid = 'shop.customer'::regclass AND datname = current_database()`;
    await vi.waitFor(
      async () => {
        if ((await world.query(working)).length === 1) return;
        // What a session reports of its work may be lost on a busy machine (PostgreSQL 14 sends it by UDP): then nothing is due.
        await admin.query('UPDATE shop.customer SET name = name WHERE id <= 10');
        throw new Error('autovacuum has not come yet');
      },
      { timeout: 60_000, interval: 200 },
    );
    await admin.query('ALTER SYSTEM RESET autovacuum_naptime');
    await admin.query('SELECT pg_reload_conf()');
    const [{ pid }] = (await world.query(working)) as [{ pid: string }];
    expect(await lift(world.options, 1n)).toBe(true);
    expect(await write(world)).toBe('ok');
    expect(await world.query(`${working} AND pid = ${pid}`)).toEqual([]);
  });

  test('a lift writes down the decision that it is of, once, and does nothing where that was made void', async () => {
    await using world = await fenceWorld(version);
    const journal = `SELECT epoch, serves, (details ->> 'echo') AS echo, (details ->> 'void') AS void FROM crossfade.journal ORDER BY epoch`;
    await raiseFence(world.options, 1n);
    await Promise.all([lift(world.options, 2n), lift(world.options, 2n)]);
    const opened = { epoch: '2', serves: 'source', echo: 'true', void: null };
    expect(await world.query(journal)).toEqual([{ epoch: '1', serves: 'target', echo: null, void: null }, opened]);
    await raiseFence(world.options, 3n);
    const client = await connect(world.ownerUrl, { applicationName: 'test', role: 'source' });
    expect(await settleEpoch(client, { name: 'shop', epoch: 4n, serves: 'target' })).toMatchObject({ isVoid: true, isEcho: false });
    expect(await settleEpoch(client, { name: 'shop', epoch: 2n, serves: 'target' })).toMatchObject({ isVoid: false, isEcho: true });
    await client.end();
    expect([await lift(world.options, 4n), await write(world)]).toEqual([false, '25006']);
    expect([await lift(world.options, 5n), await write(world)]).toEqual([true, 'ok']);
  });

  test('a lift that comes too late leaves the fence of a later epoch alone', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    await raiseFence(world.options, 3n);
    expect([await lift(world.options, 2n), await write(world)]).toEqual([false, '25006']);
    expect([await lift(world.options, 3n), await write(world)]).toEqual([true, 'ok']);
  });

  test('guard fence-overtaken: without it the late lift lets writers in', async () => {
    installTestHooks({ disabledGuards: ['fence-overtaken'] });
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 3n);
    expect([await lift(world.options, 2n), await write(world)]).toEqual([true, 'ok']);
  });

  test('two migrations of one table do not disturb each other', async () => {
    await using world = await fenceWorld(version);
    const other: FenceOptions = { ...world.options, name: 'shop_row', tables: world.options.tables.slice(0, 1) };
    await raiseFence(world.options, 1n);
    await raiseFence(other, 1n);
    await lift(world.options, 1n);
    expect([await write(world), await write(world, 'INSERT INTO shop.bill (day) VALUES (4)')]).toEqual(['25006', 'ok']);
    await drop(world.options);
    expect([await state(world.options), await state(other)]).toMatchObject([{ state: 'none' }, { state: 'up' }]);
    await lift(other, 1n);
    expect(await write(world)).toBe('ok');
  });

  test('dropped, it leaves nothing on the tables', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    await drop(world.options);
    await drop(world.options);
    expect(await write(world)).toBe('ok');
    const left = `SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crossfade%') AS triggers,
      (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'crossfade') AS functions`;
    expect(await world.query(left)).toEqual([{ triggers: '0', functions: '0' }]);
  });

  test('the catalogue does not count it as a trigger of the table', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    const client = await connect(world.url, { applicationName: 'test', role: 'source' });
    const { tables } = await readCatalog(client);
    await client.end();
    expect(tables.flatMap(({ triggers }) => triggers)).toEqual([]);
  });

  test('readers are never blocked: neither a long query nor short ones, from the first preparation to the last lift', async () => {
    await using world = await fenceWorld(version);
    const long = await world.session();
    await long.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await long.query('DECLARE reading CURSOR FOR SELECT id FROM shop.customer');
    const tables = ['customer', 'bill', 'bill_a', 'bill_b1'];
    const reader = await world.session();
    await reader.query(`SET lock_timeout = '1ms'`); // whoever would have to wait fails
    let reads = 0;
    const read = async (): Promise<void> => {
      for (const table of tables) await reader.query(`SELECT count(*) FROM shop.${table}`);
      await reader.query('SELECT id FROM shop.customer ORDER BY id LIMIT 1 FOR KEY SHARE');
      await long.query('FETCH 1 FROM reading');
      reads++;
    };
    const done = new AbortController();
    const reading = (async () => {
      while (!done.signal.aborted) await read();
    })();
    for (const epoch of [1n, 2n, 3n]) {
      await prepare(world.options);
      const fence = await open(world.options, epoch);
      await read2(world);
      await fence.sequences();
      await (epoch === 2n ? fence.rollback() : fence.commit());
      await lift(world.options, epoch);
      await state(world.options);
    }
    done.abort();
    await reading;
    expect(reads).toBeGreaterThan(3);
    expect(await outcomeOf(long.query('COMMIT'))).toBe('ok');
    await endSessions(world.options);
  });
});

/** Under the lock. */
async function read2(world: FenceWorld): Promise<void> {
  const session = await world.session();
  await session.query(`SET lock_timeout = '1ms'`);
  expect(await session.query('SELECT count(*) AS n FROM shop.customer')).toEqual([{ n: '5' }]);
}
