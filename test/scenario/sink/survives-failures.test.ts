import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { installTestHooks, type Failpoint } from '#schemas/test-hooks.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type SinkHarness } from '#test/support/sink-harness.ts';

const ITEM = 'CREATE TABLE item (id int PRIMARY KEY, n int NOT NULL CHECK (n < 1000))';
const OTHER = 'CREATE TABLE other (id int PRIMARY KEY, n int)';
const ALL = 'SELECT * FROM new.item ORDER BY id';

afterEach(() => installTestHooks({}));

async function started(harness: SinkHarness, ...names: string[]): Promise<void> {
  const tables = names.map((name) => harness.table(name));
  await harness.follow(...tables);
  harness.start();
  await harness.log.transaction(...tables.map((table) => table.relation));
  await harness.applied();
}

async function session(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

/** Until the sink waits for a lock. */
async function waiting(client: pg.Client): Promise<void> {
  const sql = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade sinktest sink' AND wait_event_type = 'Lock'`;
  while ((await client.query(sql)).rowCount !== 1);
}

/** Ends every session of the sink when the failpoint is first met, and says so. */
function strikeAt(point: Failpoint, url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let struck = false;
    installTestHooks({
      onFailpoint: (at) => {
        if (at !== point || struck) return;
        struck = true;
        void (async () => {
          await using killer = await session(url);
          await killer.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crossfade sinktest sink'`);
          resolve();
        })().catch(reject);
      },
    });
  });
}

describe('a row that the target rejects', () => {
  test('holds its table with the key named, while the others go on', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: `${ITEM}; ${OTHER}` });
    await started(harness, 'item', 'other');
    const [item, other] = [harness.table('item'), harness.table('other')];
    const rows = Array.from({ length: 120 }, (_, i) => item.insert(i, i === 77 ? 5000 : i));
    await harness.log.transaction(...rows, other.insert(1, 1));
    await harness.applied();
    await harness.log.transaction(item.insert(900, 1), other.update(1, 2));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([]);
    expect(await harness.rows('SELECT * FROM new.other')).toEqual([['1', '2']]);
    expect(harness.held).toHaveLength(1);
    const status = harness.sink.status().tables.find((table) => table.from.name === 'item');
    expect(status).toMatchObject({ state: 'held', heldKey: '77' });
    expect(status?.error).toMatch(/check constraint/);
    await harness.stop();
    harness.start();
    await harness.applied();
    expect(harness.sink.status().tables.find((table) => table.from.name === 'item')).toMatchObject({ state: 'held', heldKey: '77' });
    expect(
      await harness.rows(`SELECT state, held_key, error LIKE '%check%' FROM crossfade.table_progress WHERE source_table = 'item'`),
    ).toEqual([['held', '77', 't']]);
  });

  test('holds also what was gathered of its table while it was being applied', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await started(harness, 'item');
    const item = harness.table('item');
    await using blocker = await session(database.url);
    await blocker.query('BEGIN');
    await blocker.query('LOCK TABLE new.item IN ACCESS EXCLUSIVE MODE');
    await harness.log.transaction(item.insert(1, 5000));
    await waiting(blocker);
    await harness.log.transaction(item.insert(2, 2));
    const gathered = harness.log.end;
    await expect.poll(() => harness.sink.status().tables[0]?.changesApplied).toBe(2);
    await blocker.query('COMMIT');
    await harness.sink.waitApplied(gathered, AbortSignal.timeout(60_000));
    expect(await harness.rows(ALL)).toEqual([]);
    expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held', heldKey: '1' });
  });

  test('in a chunk is named, too', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    const item = harness.table('item');
    harness.start();
    await harness.log.state(item.table, 'copying');
    const rows = Array.from({ length: 300 }, (_, i) => [i, i === 123 ? 7000 : i]);
    await harness.log.transaction(chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'n'] }, rows));
    await harness.log.state(item.table, 'following');
    await harness.log.copyComplete();
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([]);
    expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held', heldKey: '123' });
  });

  test('is not emptied for a resume where applications write it by a decision', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await started(harness, 'item');
    const item = harness.table('item');
    await harness.log.transaction(item.insert(1, 1), item.insert(2, 2));
    await harness.log.transaction(item.update(1, 5000));
    await harness.applied();
    expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held' });
    await harness.rows(`INSERT INTO crossfade.journal (name, epoch, serves) SELECT name, 7, 'target' FROM crossfade.progress`);
    const resume = harness.sink.resumeTable({ schema: 'old', name: 'item' });
    await expect(resume).rejects.toMatchObject({ code: 'CF-8002', message: expect.stringContaining('the target serves') as string });
    expect(await harness.rows(ALL)).toHaveLength(2);
    expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held' });
    installTestHooks({ disabledGuards: ['resume-serving'] });
    expect(await harness.sink.resumeTable({ schema: 'old', name: 'item' })).toBe(true);
    expect(await harness.rows(ALL), 'what the guard is for').toEqual([]);
  });

  test('is tried again on a resume: its table is emptied and copied anew', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await started(harness, 'item');
    const item = harness.table('item');
    await harness.log.transaction(item.insert(1, 1), item.insert(2, 2));
    await harness.applied();
    await harness.log.transaction(item.update(1, 5000));
    await harness.log.transaction(item.insert(3, 3));
    await harness.applied();
    expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held', heldKey: '1' });
    await harness.rows('ALTER TABLE new.item DROP CONSTRAINT item_n_check');
    expect(await harness.sink.resumeTable({ schema: 'old', name: 'item' })).toBe(true);
    expect(harness.resumed).toEqual(['item']);
    await harness.log.transaction(item.update(2, 20), item.insert(4, 4));
    await harness.log.transaction(
      chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'n'], recopy: true }, [
        [1, 5000],
        [3, 3],
      ]),
    );
    await harness.log.state(item.table, 'following');
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', '5000'],
      ['2', '20'],
      ['3', '3'],
      ['4', '4'],
    ]);
    expect(await harness.rows('SELECT state, error, held_key, held_offset FROM crossfade.table_progress')).toEqual([
      ['following', null, null, null],
    ]);
  });

  test('is named also when only a large unchanged column came with it', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({
      url: database.url,
      ddl: 'CREATE TABLE item (id int PRIMARY KEY, n int CHECK (n < 1000), big text)',
    });
    await started(harness, 'item');
    const item = harness.table('item');
    await harness.log.transaction(item.insert(1, 1, 'x'), item.insert(2, 2, 'y'));
    await harness.applied();
    await harness.log.transaction(item.update(1, 2, undefined), item.update(2, 3000, undefined));
    await harness.applied();
    expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held', heldKey: '2' });
  });
});

describe('a session lost', () => {
  test.each(['sink.begin', 'sink.applied', 'sink.commit', 'sink.committed'] as const)(
    'at %s leaves every change applied exactly once',
    async (point) => {
      await using database = await freshDatabase();
      await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
      await started(harness, 'item');
      const item = harness.table('item');
      const struck = strikeAt(point, database.url);
      await harness.log.transaction(item.insert(1, 10), item.insert(2, 20));
      await struck;
      installTestHooks({});
      await harness.log.transaction(item.update(1, 11));
      await harness.applied();
      expect(await harness.rows(ALL)).toEqual([
        ['1', '11'],
        ['2', '20'],
      ]);
      expect(harness.sink.status().restarts).toBeGreaterThan(0);
    },
  );
});

test('a deadlock with a writer on the target is repeated until it passes', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: `${ITEM}; ${OTHER}` });
  await started(harness, 'item', 'other');
  const [item, other] = [harness.table('item'), harness.table('other')];
  await harness.log.transaction(item.insert(1, 1), other.insert(1, 1));
  await harness.applied();
  await using writer = await session(database.url);
  await writer.query('BEGIN');
  await writer.query('UPDATE new.other SET n = 100 WHERE id = 1');
  await harness.log.transaction(item.update(1, 2), other.update(1, 2));
  await waiting(writer);
  await writer.query(`SET deadlock_timeout = '10s'`).catch(() => undefined);
  await writer.query('UPDATE new.item SET n = 100 WHERE id = 1').catch(() => undefined);
  await writer.query('COMMIT').catch(() => undefined);
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([['1', '2']]);
  expect(await harness.rows('SELECT n FROM new.other')).toEqual([['2']]);
});

test('a restart applies nothing twice, and does when the duplicate rule is off', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({
    url: database.url,
    ddl: ITEM,
  });
  await harness.rows(`CREATE TABLE public.ledger (id int)`);
  await harness.rows(
    `CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.ledger VALUES (NEW.id); RETURN NULL; END'`,
  );
  await harness.rows(`CREATE TRIGGER note AFTER INSERT OR UPDATE ON new.item FOR EACH ROW EXECUTE FUNCTION public.note()`);
  await harness.rows(`ALTER TABLE new.item ENABLE ALWAYS TRIGGER note`);
  await started(harness, 'item');
  const item = harness.table('item');
  await harness.log.transaction(item.insert(1, 1));
  await harness.applied();
  const writes = async (): Promise<string | null | undefined> => (await harness.rows('SELECT count(*) FROM public.ledger'))[0]![0];
  expect(await writes()).toBe('1');
  await harness.stop();
  harness.start();
  await harness.log.transaction(item.insert(2, 1));
  await harness.applied();
  expect(await writes()).toBe('2');
  await harness.stop();
  const progress = await harness.rows('SELECT applied_lsn, log_offset FROM crossfade.progress');
  harness.start();
  await expect.poll(() => harness.sink.status().connected).toBe(true);
  await harness.stop();
  expect(await harness.rows('SELECT applied_lsn, log_offset FROM crossfade.progress')).toEqual(progress);
  installTestHooks({ disabledGuards: ['duplicate'] });
  harness.start();
  await harness.applied();
  expect(Number(await writes())).toBeGreaterThan(2);
});

test('a restart that begins to read within a chunk applies nothing of it again', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await started(harness, 'item');
  const item = harness.table('item');
  // More records than a restart reads again, each its own batch: reading begins where it wants to.
  const chunk = Array.from({ length: 400 }, (_, i) =>
    chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'n'], recopy: true, last: i === 399 }, [[i, 0]]),
  );
  for (const frame of harness.log.frames(chunk)) await harness.log.append([frame]);
  await harness.log.transaction(item.update(399, 1), item.delete(398, null));
  await harness.applied();
  await harness.stop();
  harness.start();
  await harness.applied();
  expect(await harness.rows('SELECT id, n FROM new.item WHERE id > 396 ORDER BY id')).toEqual([
    ['397', '0'],
    ['399', '1'],
  ]);
});

test('a stale sink cannot commit once another has taken over', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await started(harness, 'item');
  const item = harness.table('item');
  await harness.rows('UPDATE crossfade.progress SET epoch = epoch + 1');
  await harness.log.transaction(item.insert(1, 1));
  await expect(harness.running).rejects.toMatchObject({ code: 'CF-5005' });
  expect(await harness.rows(ALL)).toEqual([]);
});

test('a second instance is refused and the first goes on', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await started(harness, 'item');
  const first = harness.sink;
  const running = harness.running;
  harness.start({}, 'elsewhere');
  await expect(harness.running).rejects.toMatchObject({ code: 'CF-7003' });
  const item = harness.table('item');
  const end = await harness.log.transaction(item.insert(1, 1));
  await first.waitApplied(end, AbortSignal.timeout(60_000));
  expect(await harness.rows(ALL)).toEqual([['1', '1']]);
  await (await session(database.url)).end();
  void running;
});

test('a filled target table is refused unless the file says what to do with it', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM, targetDdl: 'INSERT INTO new.item VALUES (1, 1)' });
  harness.start();
  await expect(harness.running).rejects.toMatchObject({ code: 'CF-5004' });
  expect(await harness.rows(ALL)).toEqual([['1', '1']]);
});

test('existing: truncate empties the table first', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({
    url: database.url,
    ddl: ITEM,
    targetDdl: 'INSERT INTO new.item VALUES (1, 1)',
    existing: 'truncate',
  });
  await started(harness, 'item');
  expect(await harness.rows(ALL)).toEqual([]);
});
