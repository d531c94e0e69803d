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
