/** Re-copies on request, tables and leaves that come later, and shapes that change while the reader runs. */
import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { messageOf, type PipelineError } from '#schemas/errors.ts';
import { CopyWorld, identityMapping } from '#test/support/copy-world.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';

const ITEMS = `CREATE TABLE item (id int PRIMARY KEY, v text); INSERT INTO item SELECT i, 'v' || i FROM generate_series(1, 300) i`;

async function expectEqual(world: CopyWorld, ...tables: readonly string[]): Promise<void> {
  for (const table of tables) {
    const columns = world.columnsOf(table);
    expect(world.replica.dump(table, columns), table).toEqual(await world.sourceDump(table, columns));
  }
}

test('a re-copy of keys brings rows that the target lacks and deletes those that the source lacks', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  const item = world.replica.table('item');
  item.delete('["7"]');
  item.set(
    '["1000"]',
    new Map([
      ['id', '1000'],
      ['v', 'extra'],
    ]),
  );
  item.set(
    '["8"]',
    new Map([
      ['id', '8'],
      ['v', 'wrong'],
    ]),
  );
  await world.copier.requestRecopy({ kind: 'keys', schema: 'public', table: 'item', keys: [['7'], ['8'], ['1000']], reason: 'test' });
  await world.settle();
  await expectEqual(world, 'item');
  expect(world.replica.states.map(({ state }) => state)).toEqual(['copying', 'following']);
});

test('a re-copy of a range reads that range only', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  await using world = await CopyWorld.start({ url: database.url, oneChunkBytes: 0, copy: { chunkRows: 20 } });
  await world.settle();
  const item = world.replica.table('item');
  for (const key of ['["99"]', '["100"]', '["149"]', '["151"]']) item.delete(key);
  const before = world.replica.chunks.length;
  await world.copier.requestRecopy({ kind: 'range', schema: 'public', table: 'item', from: '100', to: '149', reason: 'test' });
  await world.settle();
  expect([item.has('["99"]'), item.has('["100"]'), item.has('["149"]'), item.has('["151"]')]).toEqual([false, true, true, false]);
  expect(world.replica.chunks.slice(before).reduce((sum, chunk) => sum + chunk.rows, 0)).toBe(50);
});

test('a re-copy of a table that was asked for is done after a restart', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  let world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await world.copier.operator.pause();
  await world.copier.requestRecopy({ kind: 'table', schema: 'public', table: 'item', reason: 'test' });
  await world.stop();
  world = await CopyWorld.start({ url: database.url, directory: world.directory });
  await using _ = world;
  await world.copier.operator.resume();
  await world.until(() => world.replica.states.filter(({ state }) => state === 'following').length >= 2 && world.copier.idle);
  expect(world.replica.chunks.map(({ chunk, rows }) => [chunk.startsWith('initial'), rows])).toEqual([
    [true, 300],
    [false, 300],
  ]);
});

test('a request under a given id is copied once, however often it is made, before and after a restart', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  const request = { kind: 'keys', schema: 'public', table: 'item', keys: [['7']], reason: 'test' } as const;
  let world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await world.copier.requestRecopy(request, 'one');
  await world.copier.requestRecopy(request, 'one');
  await world.until(() => world.copier.idle);
  await world.stop();
  world = await CopyWorld.start({ url: database.url, directory: world.directory });
  await using _ = world;
  await world.copier.requestRecopy(request, 'one');
  await world.copier.requestRecopy({ ...request, keys: [['8']] }, 'two');
  await world.until(() => world.replica.chunks.length >= 3 && world.copier.idle);
  expect(world.replica.chunks.map(({ chunk, rows }) => [/^[^:]*/.exec(chunk)?.[0], rows])).toEqual([
    ['initial', 300],
    ['keys', 1],
    ['keys', 1],
  ]);
});

test('a re-copy whose keys or bounds the source does not take is refused before it is asked for', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    ITEMS,
    `CREATE DOMAIN even AS int NOT NULL CHECK (VALUE % 2 = 0); CREATE TABLE pair (a even, b date, PRIMARY KEY (a, b)); CREATE TABLE loose (v text)`,
  );
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  const check = async (table: string, request: { keys: string[][] } | { from?: string; to?: string }): Promise<string> =>
    world.copier
      .checkRecopy({ kind: 'keys' in request ? 'keys' : 'range', schema: 'public', table, reason: 'test', ...request } as never)
      .then(
        () => 'passes',
        (error: unknown) => `${(error as PipelineError).code} ${messageOf(error)}`,
      );
  const ids = (count: number): string[][] => Array.from({ length: count }, (_, i) => [String(i)]);
  expect(await check('item', { keys: ids(1_000) })).toBe('passes');
  expect(await check('item', { keys: ids(1_000).with(730, ['abc']).with(900, ['x']) })).toMatch(
    /^CF-1009 .*\(abc\) is no value of \(id integer\)/,
  );
  expect(await check('item', { keys: [['7', '8']] })).toMatch(/^CF-1009 .*key 1 of 1 has 2 values, the key \(id\) has 1/);
  expect(await check('item', { keys: [['7\0']] })).toMatch(/^CF-1009 .*NUL/);
  expect(await check('item', { keys: [['99999999999']] })).toMatch(/^CF-1009 .*out of range/);
  expect(await check('item', { keys: [] })).toMatch(/^CF-1009/);
  expect(await check('item', { from: '7' })).toBe('passes');
  expect(await check('item', { from: '7', to: 'x' })).toMatch(/^CF-1009/);
  expect(await check('pair', { keys: [['2', '2026-02-28']] })).toBe('passes');
  expect(await check('pair', { keys: [['2', '2026-02-30']] })).toMatch(/^CF-1009/);
  expect(await check('loose', { keys: [['any', 'thing']] })).toBe('passes');
  expect(await check('nowhere', { keys: [['1']] })).toMatch(/^CF-1008/);
});

test('keys and bounds that are no values of the key any more give way to the whole table, which is not held', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  let world = await CopyWorld.start({ url: database.url });
  await world.settle();
  const item = { schema: 'public', table: 'item', reason: 'test' };
  await world.copier.requestRecopy({ kind: 'keys', ...item, keys: [['7'], ['abc'], ['8'], ['x']] }, 'keys');
  await world.copier.requestRecopy({ kind: 'keys', ...item, keys: [['7', '8']] }, 'width');
  await world.copier.requestRecopy({ kind: 'range', ...item, from: 'abc' }, 'range');
  await world.settle();
  await world.until(() => world.copier.progress()[0]!.state === 'following');
  expect(world.replica.chunks.filter(({ rows }) => rows === 300)).toHaveLength(4);
  expect(world.replica.chunks.filter(({ chunk }) => chunk.startsWith('keys')).map(({ rows }) => rows)).toEqual([2]);
  await world.stop();
  world = await CopyWorld.start({ url: database.url, directory: world.directory });
  await using _ = world;
  await world.settle();
  expect(world.copier.idle).toBe(true);
  await expectEqual(world, 'item');
});

test('a pause holds over a restart', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  let world = await CopyWorld.start({ url: database.url, paused: true });
  await world.until(() => world.reader.status().connected);
  await world.stop();
  world = await CopyWorld.start({ url: database.url, directory: world.directory });
  await using _ = world;
  await world.until(() => world.reader.status().connected);
  expect(world.copier.operator.status().paused).toBe(true);
  expect(world.copier.progress()[0]!.state).toBe('waiting');
  await world.copier.operator.resume();
  await world.settle();
  await expectEqual(world, 'item');
});

test('only chunks that were not finished are read again after a restart', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  const options = { url: database.url, oneChunkBytes: 0, copy: { chunkRows: 10, chunkTargetMs: 0, parallel: 1 } };
  let world = await CopyWorld.start(options);
  await world.until(() => world.replica.chunks.length > 5);
  await world.stop();
  world = await CopyWorld.start({ ...options, directory: world.directory });
  await using _ = world;
  await world.settle();
  await expectEqual(world, 'item');
  const repeated = world.replica.chunks.length - new Set(world.replica.chunks.map(({ chunk }) => chunk)).size;
  expect(repeated).toBeLessThan(8);
});

test('a leaf attached with rows in it is copied', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE reading (day int, id int, v int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
     CREATE TABLE reading_1 PARTITION OF reading FOR VALUES FROM (0) TO (10);
     INSERT INTO reading SELECT i % 10, i, i FROM generate_series(1, 50) i`,
  );
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await execute(
    database.url,
    'CREATE TABLE reading_2 (id int, v int, day int NOT NULL, PRIMARY KEY (day, id))',
    'INSERT INTO reading_2 SELECT i, i, 10 + i % 10 FROM generate_series(1, 50) i',
    'ALTER TABLE reading ATTACH PARTITION reading_2 FOR VALUES FROM (10) TO (20)',
  );
  await world.copier.checkCatalog();
  await world.settle();
  await expectEqual(world, 'reading');
});

test('a leaf truncated alone takes its rows with it', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE reading (day int, id int, v int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
     CREATE TABLE reading_1 PARTITION OF reading FOR VALUES FROM (0) TO (10);
     CREATE TABLE reading_2 PARTITION OF reading FOR VALUES FROM (10) TO (20);
     INSERT INTO reading SELECT i % 20, i, i FROM generate_series(1, 50) i`,
  );
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  const copied = world.replica.states.length;
  await execute(database.url, 'TRUNCATE reading_1', 'INSERT INTO reading VALUES (3, 3, 3)');
  await world.until(() => world.replica.states.length >= copied + 2);
  await world.settle();
  await expectEqual(world, 'reading');
});

test('a column type changed after the copy brings a re-copy', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE price (id int PRIMARY KEY, amount numeric(10,2)); INSERT INTO price SELECT i, i + 0.25 FROM generate_series(1, 50) i`,
  );
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await execute(database.url, 'ALTER TABLE price ALTER COLUMN amount TYPE numeric(10,1)', 'UPDATE price SET amount = 1.1 WHERE id = 1');
  await world.copier.checkCatalog();
  await world.settle();
  await expectEqual(world, 'price');
});

test('a mapped column renamed holds its table, and the others go on', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS, 'CREATE TABLE other (id int PRIMARY KEY)');
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await execute(database.url, 'ALTER TABLE item RENAME COLUMN v TO w', 'INSERT INTO other VALUES (1)');
  await world.copier.checkCatalog();
  await world.until(() => world.replica.states.at(-1)?.state === 'held');
  expect(world.replica.states.at(-1)).toMatchObject({
    table: 'item',
    error: expect.stringContaining('column v is gone or was renamed') as string,
  });
  expect(world.copier.progress().find(({ table }) => table === 'item')).toMatchObject({ state: 'held' });
  const marker = world.replica.table('other');
  await world.until(() => marker.size === 1);
});

test('a column added holds its table unless the file ignores unmapped ones', async () => {
  for (const unmapped of ['error', 'ignore'] as const) {
    await using database = await freshDatabase();
    await execute(database.url, ITEMS);
    await using world = await CopyWorld.start({ url: database.url, unmapped });
    await world.settle();
    await execute(database.url, `ALTER TABLE item ADD COLUMN extra int DEFAULT 3`);
    await world.copier.checkCatalog();
    expect(world.copier.progress()[0]!.state).toBe(unmapped === 'error' ? 'held' : 'following');
  }
});

test('a table added while running is copied', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await execute(
    database.url,
    `CREATE TABLE added (id int PRIMARY KEY, v text)`,
    `INSERT INTO added SELECT i, 'a' FROM generate_series(1, 40) i`,
    'ALTER PUBLICATION copytest ADD TABLE added',
  );
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  const catalog = (await readCatalog(client, { schemas: ['public'] })).tables.find(({ name }) => name === 'added')!;
  await client.end();
  world.replica.addTable({ schema: 'public', name: 'added', oid: catalog.oid, key: ['id'], leaves: new Set() });
  await world.copier.addTable({ catalog, mappings: [identityMapping(catalog)] });
  await execute(database.url, `UPDATE added SET v = 'b' WHERE id = 5`);
  await world.settle();
  expect(world.replica.dump('added', ['id', 'v'])).toEqual(
    await execute(database.url, 'SELECT * FROM added').then((rows) => rows.map(({ id, v }) => JSON.stringify([id, v])).toSorted()),
  );
});

test('the copy goes on after the source was restarted', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE item (id int PRIMARY KEY, v text); INSERT INTO item SELECT i, repeat('v', 100) FROM generate_series(1, 4000) i`,
  );
  await using world = await CopyWorld.start({
    url: database.url,
    oneChunkBytes: 0,
    copy: { chunkRows: 20, chunkTargetMs: 0, parallel: 2 },
  });
  await world.until(() => world.replica.chunks.length > 5);
  await database.server.restart();
  await execute(database.url, `UPDATE item SET v = 'after' WHERE id % 100 = 0`);
  await world.settle();
  await expectEqual(world, 'item');
});

test('parents are copied whole before their children begin', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE parent (id int PRIMARY KEY, pad text);
     CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
     INSERT INTO parent SELECT i, repeat('x', 500) FROM generate_series(1, 200) i;
     INSERT INTO child SELECT i, i FROM generate_series(1, 20) i`,
  );
  await using world = await CopyWorld.start({
    url: database.url,
    order: 'parents-first',
    oneChunkBytes: 0,
    copy: { chunkRows: 20, chunkTargetMs: 0, parallel: 3 },
  });
  await world.settle();
  expect(world.replica.states.map(({ table, state }) => `${table} ${state}`)).toEqual([
    'parent copying',
    'parent following',
    'child copying',
    'child following',
  ]);
  await expectEqual(world, 'parent', 'child');
});

test('rows per second are limited, and a pause holds the copy', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  await using world = await CopyWorld.start({
    url: database.url,
    paused: true,
    oneChunkBytes: 0,
    copy: { chunkRows: 50, chunkTargetMs: 0, parallel: 1, maxRowsPerSecond: 600 },
  });
  await world.until(() => world.reader.status().connected);
  expect(world.copier.progress()[0]!.state).toBe('waiting');
  const begun = performance.now();
  await world.copier.operator.resume();
  await world.settle();
  expect(performance.now() - begun).toBeGreaterThan(200);
  await expectEqual(world, 'item');
});

test('a leaf detached and dropped takes its rows with it', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE reading (day int, id int, v int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
     CREATE TABLE reading_1 PARTITION OF reading FOR VALUES FROM (0) TO (10);
     CREATE TABLE reading_2 PARTITION OF reading FOR VALUES FROM (10) TO (20);
     INSERT INTO reading SELECT i % 20, i, i FROM generate_series(1, 50) i`,
  );
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await execute(database.url, 'DROP TABLE reading_1');
  await world.copier.checkCatalog();
  await world.settle();
  await expectEqual(world, 'reading');
});

test('a table rewritten without a change of its shape is copied again', async () => {
  await using database = await freshDatabase();
  await execute(
    database.url,
    `CREATE TABLE price (id int PRIMARY KEY, amount int); INSERT INTO price SELECT i, i FROM generate_series(1, 50) i`,
  );
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  await execute(database.url, 'ALTER TABLE price ALTER COLUMN amount TYPE int USING amount * 2');
  await world.copier.checkCatalog();
  const passed = world.replica.states.length;
  await world.settle();
  await world.copier.checkCatalog();
  await world.until(() => world.replica.states.length >= passed + 2 && world.copier.idle);
  await expectEqual(world, 'price');
});

test('a truncated table is not copied again for its new file', async () => {
  await using database = await freshDatabase();
  await execute(database.url, ITEMS);
  await using world = await CopyWorld.start({ url: database.url });
  await world.settle();
  const chunks = world.replica.chunks.length;
  await execute(database.url, 'TRUNCATE item', `INSERT INTO item VALUES (1, 'new')`);
  await world.copier.checkCatalog();
  await world.settle();
  await world.copier.checkCatalog();
  await world.settle();
  await expectEqual(world, 'item');
  expect(world.replica.chunks.length).toBe(chunks);
});
