/** Writers at a fence: every kind of them, on the oldest and the newest server. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import { afterEach, describe, expect, test } from 'vitest';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { connect } from '#connectors/postgres/session.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { fenceWorld, outcomeOf, raiseFence } from '#test/support/fence-world.ts';
import { versions } from '#test/support/postgres.ts';

const { prepare, open } = postgresFences;

afterEach(() => installTestHooks({}));

const WRITES = [
  `INSERT INTO shop.customer (name) VALUES ('late')`,
  `UPDATE shop.customer SET name = 'late' WHERE id = 1`,
  `DELETE FROM shop.customer WHERE id = 2`,
  `TRUNCATE shop.customer`,
  // Its row may be where the writes are now.
  `UPDATE shop.customer SET name = 'late' WHERE id = 4711`,
  `INSERT INTO shop.customer (id, name) VALUES (1, 'late') ON CONFLICT DO NOTHING`,
  `WITH gone AS (DELETE FROM shop.customer RETURNING id) SELECT count(*) FROM gone`,
  `INSERT INTO shop.bill (day) VALUES (3)`,
  `INSERT INTO shop.bill_a (id, day) VALUES (70, 3)`,
  `UPDATE shop.bill SET day = 12 WHERE day = 1`,
  `DELETE FROM shop.bill_b1`,
  `TRUNCATE shop.bill`,
  `TRUNCATE shop.bill_a`,
  `TRUNCATE shop.bill_b`,
  `SET session_replication_role = replica; INSERT INTO shop.customer (name) VALUES ('replicated')`,
  `SET session_replication_role = replica; TRUNCATE shop.bill_b1`,
];

describe.each(versions(14))('on PostgreSQL %i', (version) => {
  test('ROLLBACK: whoever queued goes on, and nothing is left but triggers that sleep', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    const fence = await open(world.options, 1n);
    const writers = await Promise.all(
      [`INSERT INTO shop.customer (name) VALUES ('queued')`, `UPDATE shop.bill SET day = 15 WHERE day = 11`, `DELETE FROM shop.bill_a`].map(
        async (sql) => world.queued(await world.session(), sql),
      ),
    );
    await fence.rollback();
    expect(await Promise.all(writers.map(({ outcome }) => outcome))).toEqual(['ok', 'ok', 'ok']);
    expect(await postgresFences.state(world.options)).toMatchObject({ state: 'down' });
    expect(await world.query('SELECT epoch FROM crossfade.journal')).toEqual([]);
  });

  test('COMMIT: whoever queued, and whoever comes, is refused; nothing of theirs is kept, and reading goes on', async () => {
    await using world = await fenceWorld(version);
    const before = await world.query('SELECT count(*) AS n, max(id) AS last FROM shop.customer');
    await prepare(world.options);
    const fence = await open(world.options, 1n);
    const queued = await Promise.all(
      WRITES.map(async (sql) => {
        const session = await world.session(world.url);
        return world.queued(session, sql);
      }),
    );
    await fence.commit({ marker: 'marker 1', details: { by: 'a test' } });
    const refused = WRITES.map((sql) => `25006: ${sql}`);
    expect(await Promise.all(queued.map(async ({ outcome }, i) => `${await outcome}: ${WRITES[i]}`))).toEqual(refused);
    const later = WRITES.map(async (sql) => {
      const session = await world.session(world.url);
      return `${await outcomeOf(session.query(sql))}: ${sql}`;
    });
    expect(await Promise.all(later)).toEqual(refused);
    expect(await world.query('SELECT count(*) AS n, max(id) AS last FROM shop.customer')).toEqual(before);
    expect(await world.query('SELECT count(*) AS n FROM shop.bill')).toEqual([{ n: '3' }]);
    expect(await world.query(`SELECT name, epoch, serves, marker, details ->> 'by' AS by FROM crossfade.journal`)).toEqual([
      { name: 'shop', epoch: '1', serves: 'target', marker: 'marker 1', by: 'a test' },
    ]);
    const session = await world.session();
    await expect(session.query(WRITES[0]!)).rejects.toMatchObject({
      code: '25006',
      message: `Crossfade: INSERT on shop.customer is refused here, because its writes have moved to the target (new.example:5432/shop) (migration shop)`,
      schema: 'shop',
      table: 'customer',
    });
  });

  test('sessions that were there before: cached plans, prepared statements, old snapshots, COPY', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    const prepared = await world.session();
    const insert = { name: 'put', text: 'INSERT INTO shop.customer (name) VALUES ($1)', values: ['prepared'] };
    for (let i = 0; i < 7; i++) await prepared.client.query(insert); // from the sixth on with a generic plan
    const cached = await world.session();
    await cached.query(
      `CREATE FUNCTION shop.put() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO shop.customer (name) VALUES (''cached''); END'`,
    );
    for (let i = 0; i < 7; i++) await cached.query('SELECT shop.put()');
    const old = await world.session();
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const seen = await old.query('SELECT count(*) AS n FROM shop.customer');
    const strict = await world.session();
    await strict.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
    await strict.query('SELECT count(*) AS n FROM shop.bill');
    const fence = await open(world.options, 1n);
    const queued = prepared.client.query(insert);
    const outcome = outcomeOf(queued);
    await fence.commit();
    expect(await outcome).toBe('25006');
    expect(await outcomeOf(prepared.client.query(insert))).toBe('25006');
    expect(await outcomeOf(cached.query('SELECT shop.put()'))).toBe('25006');
    expect(await old.query('SELECT count(*) AS n FROM shop.customer')).toEqual(seen);
    expect(await outcomeOf(old.query(`UPDATE shop.customer SET name = 'old'`))).toBe('25006');
    expect(await outcomeOf(strict.query(`INSERT INTO shop.bill (day) VALUES (5)`))).toBe('25006');
    const copying = await world.session();
    expect(
      await outcomeOf(pipeline(Readable.from(['copied\n']), copying.client.query(copyFrom('COPY shop.customer (name) FROM STDIN')))),
    ).toBe('25006');
    expect(await world.query(`SELECT count(*) AS n FROM shop.customer WHERE name IN ('prepared', 'cached', 'copied')`)).toEqual([
      { n: '14' },
    ]);
  });

  test('a partition that comes later is fenced, too, and so is one that was attached with its rows', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    const owner = await world.session();
    await owner.query('CREATE TABLE shop.bill_c PARTITION OF shop.bill FOR VALUES FROM (30) TO (40)');
    await owner.query(
      'CREATE TABLE shop.bill_d (id bigint NOT NULL, day int NOT NULL, PRIMARY KEY (id, day)); INSERT INTO shop.bill_d VALUES (900, 41)',
    );
    await owner.query('ALTER TABLE shop.bill ATTACH PARTITION shop.bill_d FOR VALUES FROM (40) TO (50)');
    const writes = [
      'INSERT INTO shop.bill (day) VALUES (33)',
      'INSERT INTO shop.bill_c (id, day) VALUES (901, 33)',
      'INSERT INTO shop.bill (id, day) VALUES (902, 42)',
      'INSERT INTO shop.bill_d (id, day) VALUES (903, 42)',
      'DELETE FROM shop.bill_d',
    ];
    for (const sql of writes) expect(`${await outcomeOf(owner.query(sql))}: ${sql}`).toBe(`25006: ${sql}`);
    const replica = await world.session(world.url);
    await replica.query('SET session_replication_role = replica');
    expect(await outcomeOf(replica.query('INSERT INTO shop.bill_c (id, day) VALUES (904, 33)'))).toBe('25006');
  });

  test('a delete that would cascade from a table that is not fenced is refused whole', async () => {
    await using world = await fenceWorld(version);
    const owner = await world.session();
    await owner.query(`CREATE TABLE shop.tenant (id int PRIMARY KEY); INSERT INTO shop.tenant VALUES (1);
      ALTER TABLE shop.customer ADD tenant int REFERENCES shop.tenant ON DELETE CASCADE; UPDATE shop.customer SET tenant = 1`);
    await raiseFence(world.options, 1n);
    expect(await outcomeOf(owner.query('DELETE FROM shop.tenant'))).toBe('25006');
    expect(await outcomeOf(owner.query('INSERT INTO shop.tenant VALUES (2)'))).toBe('ok');
  });

  test('our own sinks of either direction pass, and nobody else who says something', async () => {
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    const outcomes: string[] = [];
    for (const pipelineName of ['shop', 'shop_reverse', 'shop2', '']) {
      const client = await connect(world.ownerUrl, {
        applicationName: 'sink',
        role: 'source',
        settings: { 'crossfade.pipeline': pipelineName },
      });
      outcomes.push(`${pipelineName}: ${await outcomeOf(client.query(`INSERT INTO shop.customer (name) VALUES ('by a sink')`))}`);
      outcomes.push(`${pipelineName}: ${await outcomeOf(client.query('TRUNCATE shop.bill_a'))}`);
      await client.end();
    }
    expect(outcomes).toEqual([
      'shop: ok',
      'shop: ok',
      'shop_reverse: ok',
      'shop_reverse: ok',
      'shop2: 25006',
      'shop2: 25006',
      ': 25006',
      ': 25006',
    ]);
  });

  test('the lock is had only once every writer that was under way has ended, and what they wrote stays', async () => {
    await using world = await fenceWorld(version);
    await world.query(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''30s''', current_database()); END $$`);
    const options = { ...world.options, lockTimeoutMs: 20_000 };
    await prepare(options);
    const [writer, another] = [await world.session(), await world.session()];
    await writer.query('BEGIN');
    await writer.query(`INSERT INTO shop.bill_a (id, day) VALUES (500, 3)`);
    const opening = open(options, 1n);
    await world.waiting('crossfade shop fence');
    const late = await world.queued(another, `INSERT INTO shop.bill_a (id, day) VALUES (501, 3)`);
    expect(await outcomeOf(writer.query('COMMIT'))).toBe('ok');
    await (await opening).commit();
    expect(await late.outcome).toBe('25006');
    expect(await world.query('SELECT id FROM shop.bill WHERE id >= 500')).toEqual([{ id: '500' }]);
  });

  test('guard fence-always: without it a session of a replica writes through the fence', async () => {
    installTestHooks({ disabledGuards: ['fence-always'] });
    await using world = await fenceWorld(version);
    await raiseFence(world.options, 1n);
    const replica = await world.session(world.url);
    expect(await outcomeOf(replica.query(WRITES[0]!))).toBe('25006');
    await replica.query('SET session_replication_role = replica');
    expect(await outcomeOf(replica.query(WRITES[0]!))).toBe('ok');
  });
});
