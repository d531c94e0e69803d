/** Rows that the mapping makes nothing of: today those whose filter column is neither in the change nor in an old row. */
import { describe, expect, test } from 'vitest';
import { chunkFrame, relationFrame } from '#test/support/sink-frames.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';

const ITEM = `CREATE TABLE item (id int PRIMARY KEY, kind text, n int); CREATE TABLE other (id int PRIMARY KEY, kind text, n int);
  ALTER TABLE item REPLICA IDENTITY FULL; ALTER TABLE other REPLICA IDENTITY FULL`;
const BLOCKED = `SELECT key::text, cause, sql_state, row_values::text, queued::text, attempts::text FROM crossfade.blocked ORDER BY id`;
const ALL = 'SELECT id, n FROM new.item ORDER BY id';

async function following(url: string, options: Partial<HarnessOptions>): Promise<SinkHarness> {
  const where = { kind: { op: 'not-in' as const, values: ['theirs'], line: 1, column: 1 } };
  const harness = await sinkHarness({ url, ddl: ITEM, where, ...options });
  const [item, other] = [harness.table('item'), harness.table('other')];
  await harness.follow(item, other);
  harness.start();
  // Somebody has taken away the identity that `check` asks for.
  const relations = [item, other].map(({ table }) => relationFrame({ ...table, replicaIdentity: 'd' }));
  await harness.log.transaction(...relations, item.insert(1, 'a', 1), item.insert(2, 'b', 2), item.insert(3, 'c', 3));
  await harness.applied();
  return harness;
}

test('a copied row that cannot be mapped is set aside, and the copy goes on without it', async () => {
  await using database = await freshDatabase();
  await using harness = await following(database.url, { log: 'embedded', onRowError: 'set-aside' });
  const item = harness.table('item');
  const columns = ['id', 'kind', 'n'];
  const fault = { code: 'CF-4002', message: 'no such zone' } as const;
  const unmapped = [{ fault, values: { id: '5', n: '50' } }];
  const chunk = (rows: readonly (string | number)[][], more: object): Buffer =>
    chunkFrame({ schema: 'old', table: 'item', columns, recopy: true, ...more }, rows);
  await harness.log.transaction(chunk([[4, 'a', 40]], { unmapped }));
  await harness.log.transaction(item.update(5, 'a', 51), item.update(4, 'a', 41));
  await harness.applied();
  expect(await harness.rows('SELECT id, n FROM new.item WHERE id > 3')).toEqual([['4', '41']]);
  expect(await harness.rows(BLOCKED)).toEqual([['["5"]', 'mapping', 'CF-4002', '{"id":"5","n":"50"}', '1', '1']]);
  // A retry that meets the same again, and one that does not.
  await harness.log.transaction(chunk([], { unmapped }));
  await harness.applied();
  expect((await harness.rows(BLOCKED))[0]!.at(-1)).toBe('2');
  await harness.log.transaction(chunk([[5, 'a', 52]], {}));
  await harness.applied();
  expect(await harness.rows('SELECT id, n FROM new.item WHERE id > 3 ORDER BY id')).toEqual([
    ['4', '41'],
    ['5', '52'],
  ]);
  expect(await harness.rows(BLOCKED)).toEqual([]);
});

test('where foreign keys act, others of its transaction are applied in an order that they allow', async () => {
  await using database = await freshDatabase();
  const role = `mover_${database.name}`;
  await using harness = await following(database.url, {
    log: 'embedded',
    onRowError: 'set-aside',
    sinkUrl: database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`),
    ddl: `CREATE TABLE item (id int PRIMARY KEY, kind text, n int); ALTER TABLE item REPLICA IDENTITY FULL;
      CREATE TABLE other (id int PRIMARY KEY, kind text, n int REFERENCES item); ALTER TABLE other REPLICA IDENTITY FULL`,
    targetDdl: `CREATE ROLE ${role} LOGIN PASSWORD 'secret'; CREATE SCHEMA crossfade AUTHORIZATION ${role};
      GRANT USAGE ON SCHEMA new TO ${role}; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`,
  });
  const [item, other] = [harness.table('item'), harness.table('other')];
  await harness.log.transaction(other.insert(1, 'a', 1), item.update(1, undefined, 11), item.insert(4, 'd', 4), other.insert(2, 'a', 4));
  await harness.log.transaction(item.update(2, undefined, 22), other.insert(3, 'a', 2), other.delete(1, null, null));
  await harness.applied();
  expect(await harness.rows('SELECT id, n FROM new.other ORDER BY id')).toEqual([
    ['2', '4'],
    ['3', '2'],
  ]);
  expect((await harness.rows(BLOCKED)).map(([key, cause]) => [key, cause])).toEqual([
    ['["1"]', 'mapping'],
    ['["2"]', 'mapping'],
  ]);
  await harness.rows(`DROP OWNED BY ${role} CASCADE`);
  await harness.stop().catch(() => undefined);
});

describe.each(['embedded', 'kafka'] as const)('over the log that is %s, a row that cannot be mapped', (log) => {
  test('is set aside with its key where the file says so; later changes of the key wait, all others are applied', async () => {
    await using database = await freshDatabase();
    await using harness = await following(database.url, { log, onRowError: 'set-aside' });
    const item = harness.table('item');
    await harness.log.transaction(item.update(1, undefined, 11), item.update(2, 'b', 22), item.update(1, 'a', 111));
    await harness.applied();
    await harness.log.transaction(item.update(1, 'a', 1111), harness.table('other').insert(1, 'a', 1));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', '1'],
      ['2', '22'],
      ['3', '3'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([['["1"]', 'mapping', 'CF-4002', '{"id":"1","n":"11"}', '2', '1']]);
    expect(await harness.rows('SELECT id FROM new.other')).toEqual([['1']]);
    expect(harness.held).toEqual([]);
    expect(harness.setAside).toEqual([{ table: 'item', message: expect.stringContaining('REPLICA IDENTITY FULL') as string }]);
    // The source shows it no more, so the target need not wait.
    await harness.log.transaction(item.delete(1, null, null));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['2', '22'],
      ['3', '3'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([]);
  });

  test('blocks the key that it moved to, and frees the one that it left', async () => {
    await using database = await freshDatabase();
    await using harness = await following(database.url, { log, onRowError: 'set-aside' });
    const item = harness.table('item');
    await harness.log.transaction(item.updateFrom([1, null, null], [7, undefined, 11]));
    await harness.log.transaction(item.update(2, undefined, 22), item.updateFrom([2, null, null], [8, 'b', 222]));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['3', '3'],
      ['8', '222'],
    ]);
    expect((await harness.rows(BLOCKED)).map(([key, cause]) => [key, cause])).toEqual([['["7"]', 'mapping']]);
  });

  test('holds its table and no other where the file says nothing', async () => {
    await using database = await freshDatabase();
    await using harness = await following(database.url, { log });
    await harness.log.transaction(harness.table('item').update(1, undefined, 11), harness.table('other').insert(1, 'a', 1));
    await harness.applied();
    await harness.log.transaction(harness.table('item').update(2, 'b', 22), harness.table('other').insert(2, 'a', 2));
    await harness.applied();
    expect(harness.held).toEqual([{ table: 'item', message: expect.stringContaining('CF-4002') as string }]);
    expect(await harness.rows('SELECT id FROM new.other ORDER BY id')).toEqual([['1'], ['2']]);
    expect(await harness.rows('SELECT id, n FROM new.item WHERE id = 2')).toEqual([['2', '2']]);
    expect(await harness.rows(`SELECT held_key FROM crossfade.table_progress WHERE state = 'held'`)).toEqual([['1']]);
  });
});
