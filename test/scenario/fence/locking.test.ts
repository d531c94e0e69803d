/** What keeps a fence from being raised: sessions in the way, and rights that are missing. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import type { PipelineError } from '#schemas/errors.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { execute } from '#test/support/application.ts';
import { type FenceWorld, fenceWorld, outcomeOf, pidOf, WAIT } from '#test/support/fence-world.ts';
import { versions } from '#test/support/postgres.ts';

const { prepare, open, lift, state } = postgresFences;

afterEach(() => installTestHooks({}));

async function waitedFor(world: FenceWorld, pid: number, interval: string): Promise<void> {
  await vi.waitFor(async () => {
    const rows = await world.query(`SELECT FROM pg_locks WHERE pid = ${pid} AND clock_timestamp() - waitstart > '${interval}'`);
    expect(rows).toHaveLength(1);
  }, WAIT);
}

async function refusalOf(work: Promise<unknown>): Promise<PipelineError> {
  try {
    await work;
  } catch (error) {
    return error as PipelineError;
  }
  throw new Error('it was not refused');
}

describe.each(versions(18))('on PostgreSQL %i', (version) => {
  test('a lock that is not had in time names who is in the way, without their query; writers then go on', async () => {
    await using world = await fenceWorld(version, { lockTimeoutMs: 400 });
    await prepare(world.options);
    const writer = await world.session();
    await writer.query('BEGIN');
    await writer.query(`UPDATE shop.customer SET name = 'a secret' WHERE id = 1`);
    const refusal = await refusalOf(open(world.options, 1n));
    expect(refusal).toMatchObject({ code: 'CF-8101', retry: 'timed' });
    expect(refusal.message).toMatch(
      new RegExp(
        `within 400 ms: blocked by pid ${pidOf(writer.client)} \\(test application, role owner_.*, idle in transaction, .*last query at 20`,
      ),
    );
    expect(refusal.message).not.toMatch(/secret|UPDATE/);
    expect(await outcomeOf((await world.session()).query(`INSERT INTO shop.customer (name) VALUES ('x')`))).toBe('ok');
    await writer.query('COMMIT');
    await (await open(world.options, 1n)).commit();
  });

  test('a writer that has one table and waits for the other goes on, and the fence is raised behind it', async () => {
    await using world = await fenceWorld(version, { lockTimeoutMs: 5_000 });
    // The fence gives up within a share of it: what is done below has to come before, also on a busy machine.
    await world.query(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''5s''', current_database()); END $$`);
    await prepare(world.options);
    const [writer, inTheWay] = [await world.session(), await world.session()];
    await writer.query('BEGIN');
    await writer.query(`UPDATE shop.customer SET name = 'first'`);
    await inTheWay.query('BEGIN');
    await inTheWay.query(`INSERT INTO shop.bill (day) VALUES (9)`);
    // The fence waits for bill, the writer behind it. When the fence has bill it waits for customer: its second wait, the writer's first.
    const fence = open(world.options, 1n);
    await world.waiting('crossfade shop fence');
    const queued = await world.queued(writer, `INSERT INTO shop.bill (day) VALUES (9)`);
    await waitedFor(world, pidOf(writer.client), '300 ms');
    await inTheWay.query('COMMIT');
    expect(await queued.outcome).toBe('ok');
    expect(await outcomeOf(writer.query('COMMIT'))).toBe('ok');
    await (await fence).rollback();
  });

  test('guard lock-circle: without it the fence gives way only when its time is over, and still before the writer is the victim', async () => {
    installTestHooks({ disabledGuards: ['lock-circle'] });
    await using world = await fenceWorld(version, { lockTimeoutMs: 5_000 });
    await prepare(world.options);
    const writer = await world.session();
    await writer.query('BEGIN');
    await writer.query(`UPDATE shop.customer SET name = 'first'`);
    const refused = outcomeOf(open(world.options, 1n));
    await world.waiting('crossfade shop fence');
    const queued = await world.queued(writer, `INSERT INTO shop.bill (day) VALUES (9)`);
    expect(await refused).toBe('CF-8101');
    expect(await queued.outcome).toBe('ok');
    expect(await outcomeOf(writer.query('COMMIT'))).toBe('ok');
  });

  test('under writers that take the tables in another order it is raised and lifted, and none of them fails', async () => {
    await using world = await fenceWorld(version, { lockTimeoutMs: 5_000 });
    await prepare(world.options);
    const over = new AbortController();
    const outcomes = new Map<string, number>();
    const writers = await Promise.all(Array.from({ length: 6 }, async () => world.session()));
    const working = writers.map(async (writer) => {
      while (!over.signal.aborted) {
        // Each its own row: they do not wait for one another.
        const sql = `INSERT INTO shop.customer (name) VALUES ('mine'); INSERT INTO shop.bill (day) VALUES (9)`;
        const outcome = await outcomeOf(writer.query(`BEGIN; ${sql}; COMMIT`));
        if (outcome !== 'ok') await writer.query('ROLLBACK');
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    });
    for (let epoch = 1n; epoch <= 10n; epoch++) {
      await (await open(world.options, epoch)).commit();
      await lift(world.options, epoch);
    }
    over.abort();
    await Promise.all(working);
    expect([...outcomes.keys()].toSorted()).toEqual(['25006', 'ok']);
  });

  test('a writer that has called nextval and waits for the table is waited for by nobody', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    const writer = await world.session();
    await writer.query('BEGIN');
    const [id] = await writer.query(`SELECT nextval('shop.customer_id_seq') AS id`);
    const fence = await open(world.options, 1n);
    const queued = await world.queued(writer, `INSERT INTO shop.customer (id, name) VALUES (${id!['id']}, 'x')`);
    const values = await fence.sequences();
    expect(values.map(({ sequence, isHeld }) => `${sequence.name} ${isHeld}`)).toEqual(['bill_id_seq true', 'customer_id_seq false']);
    await fence.rollback();
    expect(await queued.outcome).toBe('ok');
  });

  test('partitions neither come nor go while it is raised', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    const fence = await open(world.options, 1n);
    const attach = await world.queued(
      await world.session(),
      'CREATE TABLE shop.bill_c PARTITION OF shop.bill FOR VALUES FROM (30) TO (40)',
    );
    await fence.rollback();
    expect(await attach.outcome).toBe('ok');
  });

  test('a role that does not own the tables is told so at once, with the GRANT that helps', async () => {
    await using world = await fenceWorld(version);
    const role = `mover_${process.pid}_${version}`;
    const owner = new URL(world.ownerUrl).username;
    await execute(world.url, `CREATE ROLE ${role} LOGIN; CREATE SCHEMA crossfade AUTHORIZATION ${role}`);
    const options = { ...world.options, url: world.ownerUrl.replace(/\/\/[^@/]*@/, `//${role}@`) };
    const refusal = await refusalOf(prepare(options));
    expect(refusal).toMatchObject({ code: 'CF-8102', remedy: `GRANT "${owner}" TO "${role}";` });
    expect(refusal.message).toContain('"shop"."bill", "shop"."bill_a", "shop"."bill_b", "shop"."bill_b1", "shop"."customer"');
    await execute(world.url, refusal.remedy);
    await prepare(options);
    await (await open(options, 1n)).commit();
    expect(await state(options)).toMatchObject({ state: 'up' });
    await execute(world.url, `DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
  });

  test('a sequence of somebody else is read, not held; one that may not even be read is told with the GRANT', async () => {
    await using world = await fenceWorld(version);
    await execute(
      world.url,
      `CREATE SEQUENCE shop.number START 50; ALTER TABLE shop.customer ADD number int DEFAULT nextval('shop.number')`,
    );
    const refusal = await refusalOf(prepare(world.options));
    expect(refusal).toMatchObject({
      code: 'CF-8102',
      remedy: expect.stringContaining('GRANT SELECT ON SEQUENCE "shop"."number" TO ') as string,
    });
    await execute(world.url, refusal.remedy);
    expect(await prepare(world.options)).toEqual({ unheld: [{ schema: 'shop', name: 'number' }] });
    const fence = await open(world.options, 1n);
    const value = (await fence.sequences()).find(({ sequence }) => sequence.name === 'number');
    await fence.rollback();
    expect(value).toMatchObject({ isHeld: false, columns: [{ schema: 'shop', name: 'customer', column: 'number' }], lastValue: 54n });
  });

  test('a table that is not there is named', async () => {
    await using world = await fenceWorld(version);
    const refusal = await refusalOf(prepare({ ...world.options, tables: [{ schema: 'shop', name: 'nowhere' }] }));
    expect(refusal).toMatchObject({ code: 'CF-1008', message: 'the source has no table "shop"."nowhere"' });
  });
});
