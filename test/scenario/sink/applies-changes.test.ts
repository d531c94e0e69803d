import { expect, test } from 'vitest';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';

const DDL = `CREATE TABLE item (id int PRIMARY KEY, name text, big text)`;

test('inserts, updates and deletes arrive in the order of their commits', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: DDL });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert(1, 'a', null), item.insert(2, 'b\t\\\n', 'x'), item.insert(3, 'c', 'y'));
  await harness.log.transaction(item.update(1, 'a2', 'z'), item.delete(2, null, null));
  await harness.log.transaction(item.updateFrom([3, null, null], [4, 'moved', 'y']));
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY id')).toEqual([
    ['1', 'a2', 'z'],
    ['4', 'moved', 'y'],
  ]);
});

test('chunk rows are copied and changes after them win', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: DDL });
  const item = harness.table('item');
  harness.start();
  await harness.log.state(item.table, 'copying');
  await harness.log.transaction(
    chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'name', 'big'] }, [
      [1, 'one', null],
      [2, 'two', 'tab\t'],
    ]),
  );
  await harness.log.transaction(item.relation, item.update(2, 'two!', undefined), item.update(9, 'not there yet', undefined));
  await harness.log.transaction(chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'name', 'big'] }, [[9, 'nine', 'whole']]));
  await harness.log.state(item.table, 'following');
  await harness.log.copyComplete();
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY id')).toEqual([
    ['1', 'one', null],
    ['2', 'two!', 'tab\t'],
    ['9', 'nine', 'whole'],
  ]);
  expect(harness.sink.applied()?.lsn).toBe(harness.log.end);
  expect(await harness.rows(`SELECT state, rows_copied FROM crossfade.table_progress`)).toEqual([['following', '3']]);
});
