/** Changes made while a table was not published are never streamed, whatever the slot says: the reader notices and copies it again. */
import { describe, expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { CopyWorld } from '#test/support/copy-world.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const SETUP = `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'first' FROM generate_series(1, 50) g`;
const UNSEEN = [`INSERT INTO t VALUES (100, 'unseen')`, `UPDATE t SET v = 'unseen' WHERE id = 1`, 'DELETE FROM t WHERE id = 2'];

async function expectEqual(world: CopyWorld): Promise<void> {
  const columns = world.columnsOf('t');
  expect(world.replica.dump('t', columns)).toEqual(await world.sourceDump('t', columns));
}

describe('a table whose publication is taken away for a while', () => {
  test.each([
    { version: 18, how: 'the publication is dropped', drop: 'DROP PUBLICATION copytest' },
    { version: 18, how: 'the table is dropped from it', drop: 'ALTER PUBLICATION copytest DROP TABLE t' },
    { version: 14, how: 'the table is dropped from it', drop: 'ALTER PUBLICATION copytest DROP TABLE t' },
    { version: 14, how: 'it publishes inserts only', drop: `ALTER PUBLICATION copytest SET (publish = 'insert')` },
  ] as const)('is copied again when $how while nothing runs (PostgreSQL $version)', async ({ version, drop }) => {
    await using database = await freshDatabase(version);
    await execute(database.url, SETUP);
    await using first = await CopyWorld.start({ url: database.url });
    await first.settle();
    await first.stop();
    const restored = drop.includes('SET') ? [`ALTER PUBLICATION copytest SET (publish = 'insert, update, delete, truncate')`] : [];
    await execute(database.url, drop, ...UNSEEN, ...restored);
    await using second = await CopyWorld.start({ url: database.url, directory: first.directory });
    await second.until(() => second.reader.status().connected);
    await second.settle();
    await expectEqual(second);
  });

  test('is copied again when the publication is dropped while the reader runs (PostgreSQL 18)', async () => {
    await using database = await freshDatabase(18);
    await execute(database.url, SETUP);
    await using world = await CopyWorld.start({ url: database.url });
    await world.settle();
    await execute(database.url, 'DROP PUBLICATION copytest', ...UNSEEN);
    await world.until(() => world.reader.status().restarts > 0 && world.reader.status().connected);
    await world.settle();
    await expectEqual(world);
  });

  test('is not copied again when nothing was changed', async () => {
    await using database = await freshDatabase(18);
    await execute(database.url, SETUP);
    await using first = await CopyWorld.start({ url: database.url });
    await first.settle();
    const rows = first.copier.progress()[0]!.rowsCopied;
    await first.stop();
    await using second = await CopyWorld.start({ url: database.url, directory: first.directory });
    await second.until(() => second.reader.status().connected);
    await second.settle();
    expect(second.copier.progress()[0]!.rowsCopied).toBe(rows);
    await expectEqual(second);
  });
});
