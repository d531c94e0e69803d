/** Rows that are larger than Kafka takes: the reader stands still for none of them. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import { freshDatabase } from '#test/support/postgres.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';

const TABLES = 'CREATE TABLE item (id int PRIMARY KEY, body text); CREATE TABLE other (id int PRIMARY KEY, body text)';
const BLOCKED = `SELECT key::text, cause, sql_state, row_values::text, queued::text FROM crossfade.blocked ORDER BY id`;
const LARGE = randomBytes(60_000).toString('hex');
const LARGER = randomBytes(300_000).toString('hex');

interface Limits {
  raw: number;
}

async function following(url: string, limits: Limits, options: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  const batchBytesMax = (topic: string): number => (topic === 'sinktest.old.item' ? limits.raw : Infinity);
  const harness = await sinkHarness({ url, ddl: TABLES, log: 'kafka', kafka: { batchBytesMax }, ...options });
  const [item, other] = [harness.table('item'), harness.table('other')];
  await harness.follow(item, other);
  harness.start();
  await harness.log.transaction(item.relation, other.relation, item.insert(1, 'a'), item.insert(2, 'b'));
  await harness.applied();
  return harness;
}

const sizes = async (harness: SinkHarness): Promise<unknown> => harness.rows('SELECT id, length(body) FROM new.item ORDER BY id');

describe('a row that is larger than its topic takes', () => {
  test('is set aside with its key; it comes with a copy once the topic takes it', async () => {
    await using database = await freshDatabase();
    const limits = { raw: 50_000 };
    await using harness = await following(database.url, limits, { onRowError: 'set-aside' });
    const item = harness.table('item');
    await harness.log.transaction(
      item.insert(3, LARGE),
      item.update(1, LARGE),
      item.update(2, 'bb'),
      harness.table('other').insert(1, 'x'),
    );
    await harness.log.transaction(item.update(1, 'small again'));
    await harness.log.transaction(item.updateFrom([2, null], [4, LARGE]));
    await harness.applied();
    expect(await sizes(harness)).toEqual([['1', '1']]);
    expect(await harness.rows('SELECT id FROM new.other')).toEqual([['1']]);
    expect(await harness.rows(BLOCKED)).toEqual([
      ['["3"]', 'mapping', 'CF-3005', '{"id":"3"}', '0'],
      ['["1"]', 'mapping', 'CF-3005', '{"id":"1"}', '1'],
      ['["4"]', 'mapping', 'CF-3005', '{"id":"4"}', '0'],
    ]);
    expect(harness.setAside[0]?.message).toMatch(/row of 120\d+ bytes .* sinktest\.old\.item: raise max\.message\.bytes \(now 50000\)/);
    const copy = (): Buffer =>
      chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'body'], recopy: true }, [
        [3, LARGE],
        [4, 'small'],
      ]);
    await harness.log.transaction(copy());
    await harness.applied();
    expect((await harness.rows(BLOCKED)).map(([key]) => key)).toEqual(['["3"]', '["1"]']);
    // Asked for, and so known before it is raised.
    await harness.log.transaction(item.relation, item.update(1, 'small'));
    await harness.applied();
    limits.raw = Infinity;
    await harness.log.transaction(copy());
    await harness.applied();
    expect(await sizes(harness)).toEqual([
      ['1', '1'],
      ['3', String(LARGE.length)],
      ['4', '5'],
    ]);
  });

  test('holds its table where the file says nothing, and no other', async () => {
    await using database = await freshDatabase();
    await using harness = await following(database.url, { raw: 50_000 });
    await harness.log.transaction(harness.table('item').insert(3, LARGE), harness.table('other').insert(1, 'x'));
    await harness.applied();
    expect(harness.held).toEqual([{ table: 'item', message: expect.stringContaining('CF-3005') as string }]);
    expect(await harness.rows('SELECT id FROM new.other')).toEqual([['1']]);
    expect(await harness.rows(`SELECT held_key FROM crossfade.table_progress WHERE state = 'held'`)).toEqual([['3']]);
  });

  test('is no such row when it fits without its old version', async () => {
    await using database = await freshDatabase();
    const ddl = `${TABLES}; ALTER TABLE item REPLICA IDENTITY FULL; ALTER TABLE other REPLICA IDENTITY FULL`;
    await using harness = await following(database.url, { raw: 1_048_588 }, { ddl });
    const item = harness.table('item');
    await harness.log.transaction(item.insert(3, LARGER), item.insert(4, LARGER));
    await harness.log.transaction(
      item.updateFrom([3, LARGER], [3, `${LARGER}x`], 'O'),
      item.updateFrom([4, LARGER], [5, `${LARGER}yy`], 'O'),
    );
    await harness.applied();
    expect(await harness.rows('SELECT id, length(body) FROM new.item WHERE id > 2 ORDER BY id')).toEqual([
      ['3', String(LARGER.length + 1)],
      ['5', String(LARGER.length + 2)],
    ]);
    await harness.log.transaction(item.deleteFull(3, `${LARGER}x`));
    await harness.applied();
    expect(await harness.rows('SELECT id FROM new.item WHERE id > 2')).toEqual([['5']]);
    expect(harness.held).toEqual([]);
  });

  test('is one as well where its value stands in a header, for want of a form', async () => {
    await using database = await freshDatabase();
    const ddl = 'CREATE TABLE item (id int PRIMARY KEY, grid int[])';
    await using harness = await sinkHarness({ url: database.url, ddl, log: 'kafka', kafka: { batchBytesMax: () => 50_000 } });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    const line = (): string => `{${Array.from(randomBytes(40_000)).join(',')}}`;
    await harness.log.transaction(item.relation, item.insert(1, '{{1,2},{3,4}}'), item.insert(2, `{${line()},${line()}}`));
    await vi.waitFor(async () => expect(await harness.rows('SELECT error FROM crossfade.table_progress')).toEqual([[expect.stringMatching(/does not fit into topic/)]]), { timeout: 20_000 }); // prettier-ignore
  });
});

describe('a row that its mapped topic does not take', () => {
  const MAPPED = 'sinktest.mapped.new.item';
  const COLUMNS = '(id int PRIMARY KEY, body text, note text)';
  const DDL = `CREATE TABLE item ${COLUMNS}; ALTER TABLE item REPLICA IDENTITY FULL;
    CREATE TABLE other ${COLUMNS}; ALTER TABLE other REPLICA IDENTITY FULL`;
  const place = { line: 1, column: 1 };
  const set = { wide: { from: ['body', 'note'], steps: [{ step: { concat: { sep: ' ', nulls: 'skip' as const } }, ...place }], ...place } };
  const targetDdl = 'ALTER TABLE item ADD wide text; ALTER TABLE other ADD wide text';

  test('is set aside with its key where mapping makes it that large, and comes with a copy once the topic takes it', async () => {
    await using database = await freshDatabase();
    const limits = { mapped: 200_000 };
    const kafka = { batchBytesMax: (topic: string): number => (topic === MAPPED ? limits.mapped : 10_000_000) };
    const how = { ddl: DDL, targetDdl, set, log: 'kafka', kafka, onRowError: 'set-aside' } as const;
    await using harness = await sinkHarness({ url: database.url, ...how });
    const [item, other] = [harness.table('item'), harness.table('other')];
    await harness.follow(item, other);
    harness.start();
    await harness.log.transaction(
      item.relation,
      other.relation,
      item.insert(1, 'a', 'b'),
      item.insert(2, LARGE, LARGE),
      item.insert(3, 'c', 'd'),
    );
    await harness.log.transaction(
      other.insert(1, LARGE, LARGE),
      item.updateFrom([1, 'a', 'b'], [1, LARGE, 'e'], 'O'),
      item.updateFrom([3, 'c', 'd'], [4, 'f', LARGE], 'O'),
    );
    await harness.applied();
    const found = async (): Promise<unknown> => harness.rows('SELECT id, length(wide) FROM new.item ORDER BY id');
    expect(await found()).toEqual([['1', '3']]);
    expect(await harness.rows('SELECT id, length(wide) FROM new.other')).toEqual([['1', '240001']]);
    expect((await harness.rows(BLOCKED)).map(([key, cause, state]) => [key, cause, state])).toEqual([
      ['["2"]', 'mapping', 'CF-3005'],
      ['["1"]', 'mapping', 'CF-3005'],
      ['["4"]', 'mapping', 'CF-3005'],
    ]);
    expect(harness.setAside[0]?.message).toMatch(
      /row of old\.item has 480\d+ bytes as it is mapped \(wide 240001, body 120000, note 120000\).* topic sinktest\.mapped\.new\.item: raise max\.message\.bytes \(now 200000\)/,
    );
    // Too large for what was asked before, but not for what it takes now.
    limits.mapped = 5_000_000;
    await harness.log.transaction(chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'body', 'note'], recopy: true }, [[2, LARGE, LARGE], [1, LARGE, 'e'], [4, 'f', LARGE]])); // prettier-ignore
    await harness.applied();
    expect(await found()).toEqual([['1', '120002'], ['2', '240001'], ['4', '120002']]); // prettier-ignore
    expect(await harness.rows(BLOCKED)).toEqual([]);
  });

  test('holds its table where it would go on as it stands, and no other', async () => {
    await using database = await freshDatabase();
    const kafka = { batchBytesMax: (topic: string): number => (topic === MAPPED ? 100_000 : 10_000_000) };
    await using harness = await sinkHarness({ url: database.url, ddl: TABLES, log: 'kafka', kafka });
    const [item, other] = [harness.table('item'), harness.table('other')];
    await harness.follow(item, other);
    harness.start();
    const small = Array.from({ length: 30 }, (_, i) => item.insert(i + 10, LARGE.slice(0, 20_000)));
    await harness.log.transaction(item.relation, other.relation, ...small);
    await harness.applied();
    expect(await harness.rows('SELECT count(*) FROM new.item')).toEqual([['30']]);
    await harness.log.transaction(item.insert(3, LARGE), other.insert(1, 'x'));
    await harness.applied();
    expect(harness.held).toEqual([{ table: 'item', message: expect.stringMatching(/CF-3005.*\(body 120000\)/) as string }]);
    expect(await harness.rows('SELECT id FROM new.other')).toEqual([['1']]);
    expect(await harness.rows(`SELECT held_key FROM crossfade.table_progress WHERE state = 'held'`)).toEqual([['3']]);
  });

  test('is no such row when it fits without its old version', async () => {
    await using database = await freshDatabase();
    const ddl = `${TABLES}; ALTER TABLE item REPLICA IDENTITY FULL`;
    const kafka = { batchBytesMax: (topic: string): number => (topic === MAPPED ? 200_000 : 10_000_000) };
    await using harness = await sinkHarness({ url: database.url, ddl, log: 'kafka', kafka });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(1, LARGE), item.insert(2, LARGE), item.insert(3, LARGE));
    await harness.log.transaction(
      item.updateFrom([1, LARGE], [1, `${LARGE}x`], 'O'),
      item.updateFrom([2, LARGE], [5, `${LARGE}yy`], 'O'),
      item.deleteFull(3, LARGE),
    );
    await harness.applied();
    expect(await sizes(harness)).toEqual([['1', '120001'], ['5', '120002']]); // prettier-ignore
    expect(harness.held).toEqual([]);
  });
});
