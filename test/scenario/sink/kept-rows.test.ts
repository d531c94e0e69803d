import { afterEach, describe, expect, test } from 'vitest';
import { FRAME, encodeJsonFrame } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { DeletesEntry } from '#schemas/config/migration-file.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { byText, interrupt, RandomSource, SOURCE_DDL, type Row } from '#test/support/random-source.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';
import { randomOf } from '#test/support/random.ts';

const SEEDS = (process.env['SINK_SEEDS'] ?? '21,22,23,24,25,26').split(',').map(Number);
const TRANSACTIONS = 120;

const place = { line: 1, column: 1 };
const SOFT: DeletesEntry = { mode: 'soft', flag: { column: 'deleted', value: 'true' }, at: 'deleted_at', ...place };
const MARKS = 'ADD deleted boolean NOT NULL DEFAULT false, ADD deleted_at timestamptz';

/** Microseconds since 2000, which is what the log's transactions have as commit time. */
const TIME = `(extract(epoch FROM deleted_at - '2000-01-01 00:00+00') * 1000000)::bigint::text`;

afterEach(() => installTestHooks({}));

test.each(SEEDS)('a random history leaves the living rows, and of each one gone its last version and when (seed %i)', async (seed) => {
  const random = randomOf(seed);
  await using database = await freshDatabase(seed % 2 === 0 ? 14 : 18);
  await using harness = await sinkHarness({
    url: database.url,
    ddl: SOURCE_DDL,
    targetDdl: `ALTER TABLE person ${MARKS}, DROP CONSTRAINT person_email_key; ALTER TABLE pair ${MARKS};
      CREATE UNIQUE INDEX ON person (email) WHERE deleted IS DISTINCT FROM true`,
    deletes: SOFT,
    exclude: ['old.loose'],
    sink: { batchRows: [1, 50, 10_000][seed % 3]! },
  });
  const tables = ['person', 'pair'].map((name) => harness.table(name));
  await harness.follow(...tables);
  const source = new RandomSource(harness, random);
  harness.start();
  const { done } = interrupt(database.url, randomOf(seed + 1));
  await harness.log.transaction(...[...tables, harness.table('loose')].map((table) => table.relation));
  const gone = { person: new Map<string, Row>(), pair: new Map<string, Row>() };
  let time = harness.log.end as bigint;
  const keyOf = { person: (row: Row) => row[0]!, pair: (row: Row) => `${row[0]}|${row[1]}` };
  source.onGone = (table, row) => gone[table].set(keyOf[table](row), [...row, 'true', String(time)]);
  for (let i = 0; i < TRANSACTIONS; i++) {
    const many: Buffer[][] = [];
    for (let n = 0; n <= random(4); n++) {
      time += 0x30n;
      const frames = source.transaction();
      many.push(frames);
    }
    await harness.log.transactions(many);
    expect(harness.log.end).toBe(time);
  }
  await harness.applied();
  installTestHooks({});
  await done();
  expect(harness.held).toEqual([]);
  expect(harness.missing).toEqual([]);
  for (const table of ['person', 'pair'] as const) {
    const living = [...source[table]].map(([, row]): Row => [...row, 'false', null]);
    const dead = [...gone[table]].filter(([key]) => !source[table].has(key)).map(([, row]) => row);
    const columns = table === 'person' ? 'id, email, big, n' : 'a, b, v';
    const found = await harness.rows(`SELECT ${columns}, deleted::text, ${TIME} FROM new.${table}`);
    expect(found.toSorted(byText)).toEqual([...living, ...dead].toSorted(byText));
    expect(dead.length).toBeGreaterThan(3);
  }
});

const ITEM = 'CREATE TABLE item (id int PRIMARY KEY, name text, big text)';

async function open(url: string, options: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  return sinkHarness({ url, ddl: ITEM, targetDdl: `ALTER TABLE item ${MARKS}`, deletes: SOFT, ...options });
}

const rowsOf = (harness: SinkHarness): Promise<(string | null)[][]> =>
  harness.rows(`SELECT id::text, name, big, deleted::text, ${TIME} FROM new.item ORDER BY item.id`);

describe('a softly deleted row', () => {
  test('is marked with the commit time, keeps its last values, and lives again when its key comes back', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url);
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, 'a', 'A'), item.insert(2, 'b', 'B'), item.insert(3, 'c', 'C'));
    const first = await harness.log.transaction(item.delete(1, null, null), item.delete(9, null, null));
    const second = await harness.log.transaction(item.update(2, 'b2', undefined), item.delete(2, null, null));
    const within = await harness.log.transaction(item.insert(4, 'd', 'D'), item.delete(4, null, null), item.delete(1, null, null));
    const moved = await harness.log.transaction(item.updateFrom([3, null, null], [5, 'c5', undefined]));
    await harness.applied();
    expect(await rowsOf(harness)).toEqual([
      ['1', 'a', 'A', 'true', String(first)],
      ['2', 'b2', 'B', 'true', String(second)],
      ['3', 'c', 'C', 'true', String(moved)],
      ['4', 'd', 'D', 'true', String(within)],
      ['5', 'c5', 'C', 'false', null],
    ]);
    await harness.log.transaction(
      item.insert(1, 'again', null),
      item.insert(3, 'x', 'X'),
      item.delete(3, null, null),
      item.insert(3, 'y', 'Y'),
    );
    const last = await harness.log.transaction(item.delete(3, null, null));
    await harness.applied();
    expect((await rowsOf(harness)).filter(([id]) => id === '1' || id === '3')).toEqual([
      ['1', 'again', null, 'false', null],
      ['3', 'y', 'Y', 'true', String(last)],
    ]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
  });

  test('is marked by a truncate with its time, unless it was before; rows behind the truncate live', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url);
    const item = harness.table('item');
    await harness.follow(item);
    await harness.log.transaction(item.relation, item.insert(1, 'a', null), item.insert(2, 'b', null));
    const deleted = await harness.log.transaction(item.delete(1, null, null));
    const truncated = await harness.log.transaction(item.insert(3, 'c', null), item.truncate(), item.insert(2, 'new', null));
    harness.start(); // all in one round
    await harness.applied();
    expect(await rowsOf(harness)).toEqual([
      ['1', 'a', null, 'true', String(deleted)],
      ['2', 'new', null, 'false', null],
      ['3', 'c', null, 'true', String(truncated)],
    ]);
  });

  test.each([1, 60])('keeps the time of its first delete, whatever is deleted with it (%i rows)', async (rows) => {
    await using database = await freshDatabase();
    await using harness = await open(database.url);
    const item = harness.table('item');
    const ids = Array.from({ length: rows }, (_, i) => i + 1);
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, ...ids.map((id) => item.insert(id, 'a', null)));
    const first = await harness.log.transaction(...ids.map((id) => item.delete(id, null, null)));
    await harness.applied();
    await harness.log.transaction(...ids.map((id) => item.delete(id, null, null)));
    await harness.applied();
    expect(await rowsOf(harness)).toEqual(ids.map((id) => [String(id), 'a', null, 'true', String(first)]));
  });

  test('is no row to a change that leaves columns out: its key is asked for again', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url);
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, 'a', 'A'));
    await harness.log.transaction(item.delete(1, null, null));
    await harness.applied();
    await harness.log.transaction(item.update(1, 'b', undefined));
    await harness.applied();
    expect(harness.missing).toEqual([{ table: 'item', keys: [['1']] }]);
    expect(await rowsOf(harness)).toMatchObject([['1', 'a', 'A', 'true', /./]]);
  });

  test('comes alive with a chunk, and is marked where a re-copy finds it gone', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url);
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    const header = { schema: 'old', table: 'item', columns: ['id', 'name', 'big'], recopy: true };
    await harness.log.transaction(item.relation, item.insert(1, 'a', 'A'), item.insert(2, 'b', 'B'));
    await harness.log.transaction(item.delete(1, null, null));
    const keys = { schema: 'old', table: 'item', chunk: 'c', keyColumns: ['id'], keys: [['2'], ['7']] };
    const gone = await harness.log.transaction(chunkFrame(header, [[1, 'copied', null]]), encodeJsonFrame(FRAME.chunkDeletes, keys));
    await harness.applied();
    expect(await rowsOf(harness)).toEqual([
      ['1', 'copied', null, 'false', null],
      ['2', 'b', 'B', 'true', String(gone)],
    ]);
  });

  test('may be told by an enum alone, with rows one by one and many at a time', async () => {
    await using database = await freshDatabase(14);
    const flag = { column: 'state', value: "it's gone", alive: 'here' };
    await using harness = await open(database.url, {
      targetDdl: `CREATE TYPE "Stage" AS ENUM ('here', 'it''s gone'); ALTER TABLE item ADD state "Stage" NOT NULL DEFAULT 'here'`,
      deletes: { mode: 'soft', flag, ...place },
    });
    const item = harness.table('item');
    const ids = Array.from({ length: 100 }, (_, i) => i + 1);
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1000, 'a', null), item.insert(1001, 'b', null));
    await harness.log.transaction(item.update(1001, 'c', undefined), item.delete(1000, null, null));
    await harness.applied();
    await harness.log.transaction(...ids.map((id) => item.insert(id, 'x', 'X')));
    await harness.log.transaction(
      ...ids.map((id) => item.update(id, 'y', undefined)),
      ...ids.slice(50).map((id) => item.delete(id, null, null)),
    );
    await harness.log.transaction(...ids.slice(0, 20).map((id) => item.delete(id, null, null)), item.insert(1000, 'a2', null));
    await harness.applied();
    expect(
      await harness.rows('SELECT state::text, name, big, count(*)::text, min(id)::text FROM new.item GROUP BY 1, 2, 3 ORDER BY min(id)'),
    ).toEqual([
      ["it's gone", 'y', 'X', '70', '1'],
      ['here', 'y', 'X', '30', '21'],
      ['here', 'a2', null, '1', '1000'],
      ['here', 'c', null, '1', '1001'],
    ]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
  });

  test('frees a key that was set aside', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url, {
      targetDdl: `ALTER TABLE item ${MARKS}, ADD CHECK (name <> 'bad')`,
      onRowError: 'set-aside',
    });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, 'a', 'A'), item.insert(2, 'b', null));
    await harness.log.transaction(item.update(1, 'bad', 'B'), item.update(2, 'b2', null));
    await harness.applied();
    expect(harness.setAside).toHaveLength(1);
    const time = await harness.log.transaction(item.update(1, 'c', 'C'), item.delete(1, null, null));
    await harness.applied();
    expect(await harness.rows('SELECT key FROM crossfade.blocked')).toEqual([]);
    expect(await rowsOf(harness)).toEqual([
      ['1', 'a', 'A', 'true', String(time)],
      ['2', 'b2', null, 'false', null],
    ]);
  });
});

test('rows that stay satisfy the foreign keys of a role that cannot switch them off', async () => {
  await using database = await freshDatabase(14);
  const role = `keeper_${database.name}`;
  await using harness = await sinkHarness({
    url: database.url,
    sinkUrl: database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`),
    ddl: `CREATE TABLE parent (id int PRIMARY KEY, n text); CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent, n text)`,
    targetDdl: `ALTER TABLE parent ${MARKS}; ALTER TABLE child ${MARKS}; CREATE ROLE ${role} LOGIN PASSWORD 'secret';
      CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`,
    deletes: SOFT,
  });
  const [parent, child] = [harness.table('parent'), harness.table('child')];
  await harness.follow(parent, child);
  harness.start();
  await harness.log.transaction(child.relation, parent.relation, parent.insert(1, 'a'), child.insert(1, 1, 'x'), child.insert(2, 1, 'y'));
  await harness.applied();
  await harness.log.transactions([
    [parent.insert(2, 'b'), child.updateFrom([1, null, null], [7, 2, undefined]), child.delete(2, null, null)],
    [parent.delete(1, null), parent.insert(3, 'c'), child.insert(3, 3, 'z')],
    [child.delete(3, null, null), parent.delete(3, null)],
    [child.truncate(), parent.updateFrom([2, null], [4, 'd'])],
  ]);
  await harness.applied();
  expect([harness.held, harness.missing]).toEqual([[], []]);
  expect(await harness.rows('SELECT id::text, n, deleted::text FROM new.parent ORDER BY parent.id')).toEqual([
    ['1', 'a', 'true'],
    ['2', 'b', 'true'],
    ['3', 'c', 'true'],
    ['4', 'd', 'false'],
  ]);
  expect(await harness.rows('SELECT id::text, parent_id::text, n, deleted::text FROM new.child ORDER BY child.id')).toEqual([
    ['1', '1', 'x', 'true'],
    ['2', '1', 'y', 'true'],
    ['3', '3', 'z', 'true'],
    ['7', '2', 'x', 'true'],
  ]);
  await harness.stop();
  await harness.rows(`DROP OWNED BY ${role} CASCADE`);
});

describe('with deletes: ignore', () => {
  test('rows that go stay, a new row takes the place of an old one, and truncates are ignored too', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url, { targetDdl: '', deletes: { mode: 'ignore', ...place } });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, 'a', 'A'), item.insert(2, 'b', 'B'), item.insert(3, 'c', 'C'));
    await harness.log.transaction(item.delete(1, null, null), item.updateFrom([2, null, null], [4, 'd', undefined]));
    await harness.log.transaction(item.truncate(), item.insert(3, 'new', null));
    await harness.applied();
    const found = await harness.rows('SELECT id::text, name, big FROM new.item ORDER BY id');
    expect(found).toEqual([
      ['1', 'a', 'A'],
      ['2', 'b', 'B'],
      ['3', 'new', null],
      ['4', 'd', 'B'],
    ]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
  });
});

describe('a truncate', () => {
  test('is passed over with truncates: ignore, while deletes take their rows', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM, truncates: 'ignore' });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, 'a', null), item.insert(2, 'b', null), item.insert(3, 'c', null));
    await harness.log.transaction(item.delete(2, null, null), item.truncate(), item.insert(1, 'again', null));
    await harness.applied();
    expect(await harness.rows('SELECT id::text, name FROM new.item ORDER BY id')).toEqual([
      ['1', 'again'],
      ['3', 'c'],
    ]);
  });

  test('holds its table with truncates: halt, as it was before, until a resume', async () => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM, truncates: 'halt' });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, 'a', null));
    await harness.log.transaction(item.insert(2, 'b', null), item.truncate(), item.insert(3, 'c', null));
    await harness.applied();
    const message = 'CF-4004: the source truncated the table, and the file says `truncates: halt`';
    expect(harness.held).toEqual([{ table: 'item', message }]);
    await harness.stop();
    await harness.log.state(item.table, 'following');
    await harness.log.transaction(item.insert(4, 'd', null));
    harness.start();
    await harness.applied();
    expect(await harness.rows('SELECT id::text FROM new.item ORDER BY id')).toEqual([['1'], ['2']]);
    await harness.sink.resumeTable({ schema: 'old', name: 'item' });
    await harness.applied();
    expect(harness.resumed).toEqual(['item']);
    expect(await harness.rows('SELECT id::text FROM new.item')).toEqual([]);
  });
});
