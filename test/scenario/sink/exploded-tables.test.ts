import { afterEach, describe, expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { freshDatabase, versions } from '#test/support/postgres.ts';
import { LINES, linesTable, ORDERS, ordersEntries, RandomOrders } from '#test/support/random-orders.ts';
import { byText, interrupt } from '#test/support/random-source.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';
import { randomOf } from '#test/support/random.ts';

const SEEDS = (process.env['SINK_SEEDS'] ?? '31,32,33,34').split(',').map(Number);
const TRANSACTIONS = 80;
const ALL = 'SELECT order_id, sku, qty, place FROM new.line ORDER BY order_id, place, sku';
const BLOCKED = `SELECT target_table, key::text, sql_state, message FROM crossfade.blocked WHERE discarded_at IS NULL ORDER BY id`;

afterEach(() => installTestHooks({}));

function options(url: string, key: 'sku' | 'place', more: Partial<HarnessOptions> = {}): HarnessOptions {
  return { url, ddl: ORDERS, targetDdl: `SET search_path TO new; ${linesTable(key)}`, entries: ordersEntries(), ...more };
}

async function following(url: string, key: 'sku' | 'place' = 'sku', more: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  const harness = await sinkHarness(options(url, key, more));
  await harness.follow(harness.table('orders'));
  harness.start();
  await harness.log.transaction(harness.table('orders').relation);
  await harness.applied();
  return harness;
}

const items = (...skus: string[]): string => JSON.stringify(skus.map((sku, qty) => ({ sku, qty })));

test.each(SEEDS)('a random history ends in the lines of the orders that are left, through lost sessions (seed %i)', async (seed) => {
  const random = randomOf(seed);
  await using database = await freshDatabase(seed % 2 === 0 ? 14 : 18);
  const batchRows = [1, 50, 10_000][seed % 3]!;
  await using harness = await sinkHarness(options(database.url, seed % 4 < 2 ? 'sku' : 'place', { sink: { batchRows } }));
  const frames = harness.table('orders');
  await harness.follow(frames);
  harness.start();
  const { done } = interrupt(database.url, randomOf(seed + 1));
  await harness.log.transaction(frames.relation);
  const source = new RandomOrders(frames, random);
  for (let i = 0; i < TRANSACTIONS; i++) await harness.log.transactions(Array.from({ length: 1 + random(4) }, () => source.transaction()));
  await harness.applied();
  installTestHooks({});
  await done();
  expect(harness.held).toEqual([]);
  expect((await harness.rows(ALL)).toSorted(byText)).toEqual(source.lines().toSorted(byText));
  const orders = (await harness.rows('SELECT id FROM new.orders')).map(([id]) => Number(id));
  expect(orders.toSorted((a, b) => a - b)).toEqual(source.orders().toSorted((a, b) => a - b));
});

test.each([42])(
  'a random history keeps the foreign key of the lines at each commit, for a role that cannot switch it off (seed %i)',
  async (seed) => {
    const random = randomOf(seed);
    await using database = await freshDatabase(seed % 2 === 0 ? 14 : 18);
    const role = `mover_${database.name}`;
    const sinkUrl = database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`);
    const targetDdl = `SET search_path TO new; ${linesTable('sku')}; ALTER TABLE line ADD FOREIGN KEY (order_id) REFERENCES orders;
    CREATE ROLE ${role} LOGIN PASSWORD 'secret'; CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`;
    await using harness = await sinkHarness(options(database.url, 'sku', { sinkUrl, targetDdl }));
    const frames = harness.table('orders');
    await harness.follow(frames);
    harness.start();
    await harness.log.transaction(frames.relation);
    const source = new RandomOrders(frames, random);
    for (let i = 0; i < 40; i++) await harness.log.transaction(...source.transaction());
    await harness.applied();
    expect([harness.held, harness.missing]).toEqual([[], []]);
    expect((await harness.rows(ALL)).toSorted(byText)).toEqual(source.lines().toSorted(byText));
    await harness.rows(`DROP OWNED BY ${role} CASCADE`);
    await harness.stop().catch(() => undefined);
  },
);

describe.each(versions(18))('on PostgreSQL %i, the lines of an order', (version) => {
  test('are touched only where they change: neither by an update that leaves them out nor by one that sends them again', async () => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url, 'place');
    const order = harness.table('orders');
    await harness.log.transaction(order.insert(1, 'n', items('a', 'b', 'c')), order.insert(2, 'n', null), order.insert(3, 'n', '[]'));
    await harness.applied();
    const before = await harness.rows('SELECT place, xmin FROM new.line ORDER BY 1');
    await harness.log.transaction(order.update(1, 'n2', undefined), order.update(2, 'n2', undefined));
    await harness.log.transaction(order.update(1, 'n3', items('a', 'b', 'c')));
    await harness.log.transaction(order.update(1, 'n3', items('a', 'x', 'c')));
    await harness.applied();
    const after = await harness.rows('SELECT place, xmin FROM new.line ORDER BY 1');
    expect(after.map((row, i) => row[1] === before[i]![1])).toEqual([true, false, true]);
    expect(await harness.rows(ALL)).toEqual([
      ['1', 'a', '0', '1'],
      ['1', 'x', '1', '2'],
      ['1', 'c', '2', '3'],
    ]);
  });

  test('move with a key that changes, also in a circle and where they are left out, and none stays under a key that is taken over', async () => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url);
    const order = harness.table('orders');
    await harness.log.transaction(order.insert(1, 'n', items('a', 'b')), order.insert(2, 'n', '[]'), order.insert(3, 'n', items('c')));
    await harness.applied();
    await harness.log.transaction(
      order.updateFrom([3, null, null], [9, 'n', undefined]),
      order.updateFrom([2, null, null], [3, 'n', undefined]),
      order.updateFrom([1, null, null], [2, 'n', undefined]),
      order.updateFrom([9, null, null], [1, 'n', undefined]),
    );
    await harness.applied();
    expect(await harness.rows('SELECT order_id, sku FROM new.line ORDER BY 1, 2')).toEqual([
      ['1', 'c'],
      ['2', 'a'],
      ['2', 'b'],
    ]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
  });

  test('come with a chunk, which leaves exactly its own; of a key that moved meanwhile with lines left out the order is asked for', async () => {
    await using database = await freshDatabase(version);
    await using harness = await sinkHarness(options(database.url, 'sku'));
    const order = harness.table('orders');
    const header = { schema: 'old', table: 'orders', columns: ['id', 'note', 'items'] };
    harness.start();
    await harness.log.state(order.table, 'copying');
    await harness.log.transaction(
      order.relation,
      order.insert(1, 'n', items('a', 'b')),
      order.updateFrom([5, null, null], [6, 'n', undefined]),
      chunkFrame(header, [
        [2, 'n', items('c')],
        [3, 'n', null],
      ]),
    );
    await harness.log.state(order.table, 'following');
    await harness.log.copyComplete();
    await harness.log.transaction(
      chunkFrame({ ...header, recopy: true }, [
        [1, 'n', items('b', 'd')],
        [2, 'n', '[]'],
      ]),
      encodeJsonFrame(FRAME.chunkDeletes, { schema: 'old', table: 'orders', keyColumns: ['id'], keys: [['3']], chunk: 'c' }),
    );
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', 'b', '0', '1'],
      ['1', 'd', '1', '2'],
    ]);
    expect(harness.missing.filter(({ table }) => table === 'line')).toEqual([{ table: 'line', keys: [['6']] }]);
  });

  test('that are two of one key in a chunk are set aside with their order, and the others of the chunk come', async () => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url, 'sku', { onRowError: 'set-aside' });
    const header = { schema: 'old', table: 'orders', columns: ['id', 'note', 'items'], recopy: true };
    const rows = [items('a', 'b'), items('c', 'd', 'c'), items('e')].map((lines, i) => [i + 1, 'n', lines]);
    await harness.log.transaction(chunkFrame(header, rows));
    await harness.applied();
    expect(await harness.rows(BLOCKED)).toEqual([['line', '["2"]', '21000', 'two elements of items have the same sku']]);
    expect(await harness.rows('SELECT order_id, sku FROM new.line ORDER BY 1, 2')).toEqual([
      ['1', 'a'],
      ['1', 'b'],
      ['3', 'e'],
    ]);
  });

  test.each([
    ['no array', '{"sku":"a"}', '22023', 'cannot extract elements from an object'],
    ['no object', '[{"sku":"a","qty":1},7]', '22P02', 'element 2 of items is no object'],
    ['two of one key', '[{"sku":"a"},{"sku":"a"}]', '23505', 'duplicate key value violates unique constraint "line_pkey"'],
    ['nothing for the key', '[{"qty":1}]', '23502', 'null value in column "sku" of relation "line" violates not-null constraint'],
    ['what the column does not take', '[{"sku":"a","qty":"many"}]', '22P02', 'invalid input syntax for type integer: "many"'],
  ])('that are %s are set aside with their order, for their table only', async (_what, wrong, state, message) => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url, 'sku', { onRowError: 'set-aside' });
    const order = harness.table('orders');
    await harness.log.transaction(order.insert(1, 'n', items('a')), order.insert(2, 'n', items('b')));
    await harness.applied();
    const others = Array.from({ length: 60 }, (_, i) => order.insert(100 + i, 'n', items('z')));
    await harness.log.transaction(order.update(1, 'n2', wrong), order.update(2, 'n2', items('b', 'c')), ...others);
    await harness.log.transaction(order.update(1, 'n3', undefined));
    await harness.applied();
    expect(await harness.rows(BLOCKED)).toEqual([['line', '["1"]', state, message]]);
    expect(await harness.rows(`SELECT note FROM new.orders WHERE id = 1`)).toEqual([['n3']]);
    expect(await harness.rows('SELECT order_id, sku FROM new.line WHERE order_id < 100 ORDER BY 1, 2')).toEqual([
      ['1', 'a'],
      ['2', 'b'],
      ['2', 'c'],
    ]);
    expect(await harness.rows('SELECT count(*) FROM new.line WHERE order_id >= 100')).toEqual([['60']]);
    await harness.log.transaction(order.delete(1, null, null));
    await harness.applied();
    expect(await harness.rows(BLOCKED)).toEqual([]);
    expect(await harness.rows('SELECT count(*) FROM new.line WHERE order_id = 1')).toEqual([['0']]);
    expect(harness.held).toEqual([]);
  });
});

test('an order that the target refuses holds the table of its lines, and no other, until it is resumed', async () => {
  await using database = await freshDatabase();
  await using harness = await following(database.url);
  const order = harness.table('orders');
  await harness.log.transaction(order.insert(1, 'n', '"text"'));
  await harness.log.transaction(order.insert(2, 'n', items('a')));
  await harness.applied();
  expect(harness.held).toEqual([{ table: 'line', message: 'cannot extract elements from a scalar' }]);
  expect(await harness.rows('SELECT count(*) FROM new.orders')).toEqual([['2']]);
  expect(await harness.rows('SELECT count(*) FROM new.line')).toEqual([['0']]);
});

test('lines of elements and orders that are gone stay where the file keeps orphans', async () => {
  await using database = await freshDatabase();
  await using harness = await following(database.url, 'sku', { entries: ordersEntries({ orphans: 'keep' }) });
  const order = harness.table('orders');
  await harness.log.transaction(order.insert(1, 'n', items('a', 'b')), order.insert(2, 'n', items('c')), order.insert(3, 'n', items('d')));
  await harness.applied();
  await harness.log.transaction(
    order.update(1, 'n', items('b', 'e')),
    order.delete(2, null, null),
    order.updateFrom([3, null, null], [4, 'n', undefined]),
  );
  await harness.applied();
  const kept = [
    ['1', 'a'],
    ['1', 'b'],
    ['1', 'e'],
    ['2', 'c'],
    ['3', 'd'],
    ['4', 'd'],
  ];
  expect(await harness.rows('SELECT order_id, sku FROM new.line ORDER BY 1, 2')).toEqual(kept);
  await harness.log.transaction(order.truncate(), order.insert(2, 'n', items('c', 'f')));
  await harness.applied();
  expect(await harness.rows('SELECT order_id, sku FROM new.line ORDER BY 1, 2')).toEqual([
    ...kept.slice(0, 4),
    ['2', 'f'],
    ...kept.slice(4),
  ]);
  expect([harness.held, harness.missing]).toEqual([[], []]);
});

test(
  'a transaction larger than memory is applied in parts, its orders whose lines are left out among them',
  { timeout: 120_000 },
  async () => {
    await using database = await freshDatabase();
    await using harness = await following(database.url, 'place');
    const order = harness.table('orders');
    const pad = 'x'.repeat(300);
    const count = 20_000;
    const frames = harness.log.frames([
      ...Array.from({ length: count }, (_, i) => order.insert(i, pad, items(`a${i}`, 'b'))),
      ...Array.from({ length: count / 2 }, (_, i) => order.update(i, pad, undefined)),
      ...Array.from({ length: 100 }, (_, i) => order.updateFrom([i, null, null], [count + i, pad, undefined])),
      ...Array.from({ length: 100 }, (_, i) => order.update(count - 1 - i, pad, items('c'))),
    ]);
    for (let at = 0; at < frames.length; at += 5_000) await harness.log.append(frames.slice(at, at + 5_000));
    await harness.applied();
    const moved = `count(*) FILTER (WHERE order_id >= ${count}), count(*) FILTER (WHERE order_id < 100), count(*) FILTER (WHERE sku = 'c')`;
    expect(await harness.rows(`SELECT count(*), ${moved} FROM new.line`)).toEqual([[String(2 * count - 100), '200', '0', '100']]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
  },
);

test('elements of an array of PostgreSQL become rows as texts, numbers and nulls', async () => {
  await using database = await freshDatabase(14);
  const place = { line: 1, column: 1 };
  const explode = { ...LINES, array: 'tags', parts: [{ to: 'tag', ...place }], ordinal: { to: 'n', ...place } };
  const columns = { id: { to: 'post', drop: false, ...place } };
  await using harness = await sinkHarness({
    url: database.url,
    ddl: 'CREATE TABLE post (id int PRIMARY KEY, tags text[], scores numeric(6,2)[])',
    targetDdl: `SET search_path TO new; CREATE TABLE tag (post int, n int, tag text, PRIMARY KEY (post, n));
      CREATE TABLE score (post int, n int, score numeric(6,2), PRIMARY KEY (n, post))`,
    entries: [
      { from: 'old.post', to: 'new.tag', columns, explode, unmapped: 'ignore' },
      {
        from: 'old.post',
        to: 'new.score',
        columns,
        unmapped: 'ignore',
        explode: { ...explode, array: 'scores', parts: [{ to: 'score', ...place }] },
      },
    ],
  });
  const post = harness.table('post');
  await harness.follow(post);
  harness.start();
  await harness.log.transaction(
    post.relation,
    post.insert(1, '{a,"b,c",NULL,"NULL",""}', '{1.50,2.00}'),
    post.insert(2, '[0:1]={x,y}', '{{1.00,2.00},{3.00,4.00}}'),
  );
  await harness.log.transaction(post.insert(3, null, '{}'));
  await harness.applied();
  expect(await harness.rows('SELECT post, n, tag FROM new.tag ORDER BY 1, 2')).toEqual([
    ['1', '1', 'a'],
    ['1', '2', 'b,c'],
    ['1', '3', null],
    ['1', '4', 'NULL'],
    ['1', '5', ''],
    ['2', '1', 'x'],
    ['2', '2', 'y'],
  ]);
  expect((await harness.rows('SELECT post, n, score FROM new.score ORDER BY 1, 2')).map(([, , score]) => score)).toEqual([
    '1.50',
    '2.00',
    '1.00',
    '2.00',
    '3.00',
    '4.00',
  ]);
  // The other array is left out, which says nothing of this one: alone, with a key that changes, and both one after the other.
  await harness.log.transaction(post.update(1, '{z}', undefined), post.updateFrom([2, null, null], [4, '{x,w}', undefined]));
  await harness.log.transaction(post.insert(5, '{p,q}', '{9.00}'));
  await harness.applied();
  await harness.log.transaction(post.update(5, '{r}', undefined), post.updateFrom([5, null, null], [6, '{r}', undefined]));
  await harness.applied();
  expect(await harness.rows('SELECT post, n, tag FROM new.tag ORDER BY 1, 2')).toEqual([
    ['1', '1', 'z'],
    ['4', '1', 'x'],
    ['4', '2', 'w'],
    ['6', '1', 'r'],
  ]);
  expect(await harness.rows('SELECT post, count(*) FROM new.score GROUP BY 1 ORDER BY 1')).toEqual([
    ['1', '2'],
    ['4', '4'],
    ['6', '1'],
  ]);
  expect(harness.held).toEqual([]);
});
