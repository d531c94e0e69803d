import { describe, expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';

describe('keys that are equal and not the same', () => {
  const TYPES = [
    { type: 'numeric', one: '1.0', other: '1.00' },
    { type: 'float8', one: '0', other: '-0' },
    { type: 'interval', one: '1 day', other: '24:00:00' },
    { type: 'bpchar', one: 'a', other: 'a  ' },
    { type: 'jsonb', one: '{"a": 1}', other: '{"a": 1.0}' },
    { type: 'numrange', one: '[1,2)', other: '[1.0,2)' },
  ];

  test.each(TYPES)('of type $type take the place of each other', async ({ type, one, other }) => {
    await using database = await freshDatabase();
    await using harness = await sinkHarness({ url: database.url, ddl: `CREATE TABLE item (k ${type} PRIMARY KEY, n int, big text)` });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, item.insert(one, 1, 'long'));
    await harness.applied();
    await harness.log.transaction(item.updateFrom([one, null, null], [other, 2, undefined]));
    await harness.applied();
    expect(await harness.rows('SELECT concat(k), n, big FROM new.item')).toEqual([[other, '2', 'long']]);
    await harness.log.transaction(item.delete(other, null, null), item.insert(one, 3, 'new'));
    await harness.applied();
    expect(await harness.rows('SELECT concat(k), n, big FROM new.item')).toEqual([[one, '3', 'new']]);
    await harness.log.transaction(
      chunkFrame({ schema: 'old', table: 'item', columns: ['k', 'n', 'big'], recopy: true }, [[other, 4, 'again']]),
    );
    await harness.applied();
    expect(await harness.rows('SELECT concat(k), n, big FROM new.item')).toEqual([[other, '4', 'again']]);
  });
});

test('rows are found by a key of a composite type', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({
    url: database.url,
    ddl: 'CREATE TYPE pair AS (a text, b numeric(5,2)); CREATE TABLE item (k pair PRIMARY KEY, n int, big text)',
  });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(
    item.relation,
    item.insert('(x,1.50)', 1, 'one'),
    item.insert('("y ""z""",)', 2, 'two'),
    item.insert('(,)', 3, 'three'),
  );
  await harness.applied();
  await harness.log.transaction(
    item.update('("y ""z""",)', 20, undefined),
    item.delete('(x,1.50)', null, null),
    item.updateFrom(['(,)', null, null], ['(w,)', 4, undefined]),
  );
  await harness.applied();
  expect(harness.held).toEqual([]);
  expect(await harness.rows('SELECT k, n, big FROM new.item ORDER BY n')).toEqual([
    ['(w,)', '4', 'three'],
    ['("y ""z""",)', '20', 'two'],
  ]);
  await harness.log.transaction(
    encodeJsonFrame(FRAME.chunkDeletes, { chunk: 'c', schema: 'old', table: 'item', keyColumns: ['k'], keys: [['(w,)'], ['(gone,1.00)']] }),
  );
  await harness.applied();
  expect(harness.held).toEqual([]);
  expect(await harness.rows('SELECT n FROM new.item')).toEqual([['20']]);
});
