import { expect, test } from 'vitest';
import { CopyWorld } from '#test/support/copy-world.ts';
import { execute, openSession } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';

test('a table with an integer key arrives whole while it is written to', async () => {
  await using database = await freshDatabase(18);
  await execute(
    database.url,
    'CREATE TABLE item (id int PRIMARY KEY, n int, note text)',
    `INSERT INTO item SELECT i, 0, repeat('x', 1000) FROM generate_series(1, 20000) i`,
    'ANALYZE item',
  );
  await using world = await CopyWorld.start({ url: database.url, copy: { chunkRows: 500, chunkTargetMs: 20 } });
  await using session = await openSession(database.url);
  let writes = 0;
  while (!world.copier.complete) {
    await Promise.race([world.failed, session.query('UPDATE item SET n = n + 1 WHERE id % 997 = $1', [writes % 997])]);
    await session.query('DELETE FROM item WHERE id = $1', [(writes * 37) % 20000]);
    await session.query('INSERT INTO item VALUES ($1, 1, $2) ON CONFLICT DO NOTHING', [20001 + writes, 'tab\tand \\ and\nline']);
    writes++;
  }
  await world.settle();
  const columns = world.columnsOf('item');
  expect(world.replica.dump('item', columns)).toEqual(await world.sourceDump('item', columns));
  expect(world.replica.chunks.length).toBeGreaterThan(5);
  expect(world.replica.states.map(({ state }) => state)).toEqual(['copying', 'following']);
  expect(world.replica.copyCompletes).toBe(1);
});
