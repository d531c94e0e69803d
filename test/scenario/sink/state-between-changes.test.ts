import { expect, test } from 'vitest';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';

// Found by the kill test: two batches of one table in one round, and the deletes of both were written before the rows of either.
test('a row changed before and deleted after its table begins to follow stays deleted, though one round holds both', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: 'CREATE TABLE item (id int PRIMARY KEY, name text)' });
  const item = harness.table('item');
  await harness.log.state(item.table, 'copying');
  await harness.log.transaction(
    chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'name'] }, [
      [1, 'one'],
      [2, 'two'],
    ]),
  );
  await harness.log.transaction(item.relation, item.update(1, 'changed'), item.update(2, 'changed'));
  await harness.log.state(item.table, 'following');
  await harness.log.transaction(item.relation, item.delete(1, null), item.insert(3, 'three'));
  await harness.log.copyComplete();
  harness.start(); // with all of it in the log: the lane takes it in one round
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY id')).toEqual([
    ['2', 'changed'],
    ['3', 'three'],
  ]);
});
