import { describe, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { freshDatabase, versions } from '#test/support/postgres.ts';
import { sinkHarness, type SinkHarness } from '#test/support/sink-harness.ts';

const ITEM = `CREATE TABLE item (id int PRIMARY KEY, name text UNIQUE, big text)`;
const ALL = 'SELECT * FROM new.item ORDER BY id';

async function items(harness: SinkHarness, ...rows: (readonly [number, string | null, string | null])[]): Promise<void> {
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, ...rows.map((row) => item.insert(...row)));
  await harness.applied();
}

describe.each(versions(14))('on PostgreSQL %i, a round that meets constraints in another order than the source', (version) => {
  test('swaps a unique value between two rows', async () => {
    await using database = await freshDatabase(version);
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await items(harness, [1, 'a', 'x'], [2, 'b', 'y']);
    const item = harness.table('item');
    await harness.log.transactions([[item.update(1, 'tmp', 'x')], [item.update(2, 'a', 'y')], [item.update(1, 'b', 'x')]]);
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', 'b', 'x'],
      ['2', 'a', 'y'],
    ]);
    expect(harness.held).toEqual([]);
  });

  test('swaps a unique value between rows whose large column is unchanged', async () => {
    await using database = await freshDatabase(version);
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await items(harness, [1, 'a', 'x'], [2, 'b', 'y']);
    const item = harness.table('item');
    await harness.log.transactions([
      [item.update(1, 'tmp', undefined)],
      [item.update(2, 'a', undefined)],
      [item.update(1, 'b', undefined)],
    ]);
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', 'b', 'x'],
      ['2', 'a', 'y'],
    ]);
  });

  test('takes a key that was freed in the same round', async () => {
    await using database = await freshDatabase(version);
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await items(harness, [1, 'a', 'x'], [2, 'b', 'y']);
    const item = harness.table('item');
    await harness.log.transactions([
      [item.delete(1, null, null)],
      [item.insert(1, 'new', 'n')],
      [item.delete(2, null, null), item.insert(3, 'b', 'moved name')],
    ]);
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', 'new', 'n'],
      ['3', 'b', 'moved name'],
    ]);
  });

  test('swaps two keys, one row carrying its unchanged large column along', async () => {
    await using database = await freshDatabase(version);
    await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
    await items(harness, [1, 'a', 'x'], [2, 'b', 'y']);
    const item = harness.table('item');
    await harness.log.transactions([
      [
        item.updateFrom([1, null, null], [9, 'a', undefined]),
        item.updateFrom([2, null, null], [1, 'b', undefined]),
        item.updateFrom([9, null, null], [2, 'a2', undefined]),
      ],
    ]);
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', 'b', 'y'],
      ['2', 'a2', 'x'],
    ]);
  });
});

test('without the guard `carry` a key change loses the unchanged column', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await items(harness, [1, 'a', 'x']);
  const item = harness.table('item');
  installTestHooks({ disabledGuards: ['carry'] });
  try {
    await harness.log.transaction(item.updateFrom([1, null, null], [2, 'a', undefined]));
    await harness.applied();
  } finally {
    installTestHooks({});
  }
  expect(await harness.rows(ALL)).toEqual([['2', 'a', null]]);
});

test('an update with an unchanged large column keeps what the target has, and a missing row is asked for again', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await items(harness, [1, 'a', 'x']);
  const item = harness.table('item');
  await harness.log.transaction(item.update(1, 'a2', undefined), item.update(7, 'nobody', undefined));
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([['1', 'a2', 'x']]);
  expect(harness.missing).toEqual([{ table: 'item', keys: [['7']] }]);
});

test('a truncate clears what came before it and not what came after', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await items(harness, [1, 'a', 'x']);
  const item = harness.table('item');
  await harness.log.transactions([
    [item.insert(2, 'b', null)],
    [item.truncate(), item.insert(3, 'c', null)],
    [item.update(3, 'c2', undefined)],
  ]);
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([['3', 'c2', null]]);
});

test('large groups go the same way as small ones', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  await items(harness);
  const item = harness.table('item');
  const rows = Array.from({ length: 500 }, (_, i) => i + 1);
  await harness.log.transaction(...rows.map((i) => item.insert(i, `n${i}`, `b\\${i}`)));
  await harness.applied();
  await harness.log.transactions([
    rows.slice(0, 200).map((i) => item.update(i, `u${i}`, undefined)),
    rows.slice(200, 400).map((i) => item.update(i, `n${501 - (i - 200)}`.concat('!'), 'z')),
    rows.slice(400).map((i) => item.delete(i, null, null)),
    [item.updateFrom([1, null, null], [1000, 'moved', undefined])],
  ]);
  await harness.applied();
  const after = await harness.rows(ALL);
  expect(after).toHaveLength(400);
  expect(after[0]).toEqual(['2', 'u2', 'b\\2']);
  expect(after[399]).toEqual(['1000', 'moved', 'b\\1']);
  expect(after[300]).toEqual(['302', 'n399!', 'z']);
});
