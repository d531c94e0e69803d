import { describe, expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { plainRole } from '#test/support/plain-role.ts';
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

describe('where foreign keys are checked, so that deletes come last, a key that changes to an equal one keeps its row', () => {
  const PLACE = { line: 1, column: 1 };
  const DDL = `CREATE TABLE item (k numeric PRIMARY KEY, tags text[], big text); CREATE TABLE part (id int PRIMARY KEY, k numeric REFERENCES item)`;
  const entries = [
    { from: 'old.item', to: 'new.item' },
    { from: 'old.part', to: 'new.part' },
    {
      from: 'old.item',
      to: 'new.tag',
      unmapped: 'ignore',
      explode: {
        array: 'tags',
        parts: [{ to: 'v', ...PLACE }],
        ordinal: { to: 'n', ...PLACE },
        orphans: 'delete',
        ...PLACE,
      },
    },
  ] as const;
  const KINDS = {
    hard: { deletes: undefined, targetDdl: 'CREATE TABLE new.tag (k numeric, n int, v text, PRIMARY KEY (k, n))', entries },
    soft: {
      deletes: { mode: 'soft', flag: { column: 'gone', value: 'true' }, ...PLACE },
      targetDdl: 'ALTER TABLE new.item ADD gone boolean; ALTER TABLE new.part ADD gone boolean',
      entries: undefined,
    },
  } as const;

  test.each([
    ['hard', 0],
    ['hard', 60],
    ['soft', 0],
    ['soft', 60],
  ] as const)('with %s deletes, beside %i more rows', async (kind, more) => {
    await using database = await freshDatabase();
    const role = plainRole(database);
    const { deletes, targetDdl, entries: given } = KINDS[kind];
    await using harness = await sinkHarness({
      url: database.url,
      sinkUrl: role.sinkUrl,
      ddl: DDL,
      targetDdl: `${targetDdl}; ${role.ddl}`,
      ...(deletes !== undefined && { deletes }),
      ...(given !== undefined && { entries: given }),
    });
    const [item, part] = [harness.table('item'), harness.table('part')];
    await harness.follow(item, part);
    harness.start();
    await harness.log.transaction(item.relation, part.relation, ...[1, 2, 3].map((k) => item.insert(`${k}.0`, `{t${k}}`, 'long')));
    await harness.applied();
    let next = 10;
    const others = (): Buffer[] => Array.from({ length: more }, () => item.insert(next++, null, null));
    await harness.log.transactions(
      [others(), [item.updateFrom(['1.0', null, null], ['1.00', undefined, undefined])]].filter((one) => one.length > 0),
    );
    await harness.applied();
    await harness.log.transaction(item.updateFrom(['2.0', null, null], ['2.00', '{new}', 'other']), ...others());
    await harness.applied();
    // There and back at one go.
    await harness.log.transaction(
      item.updateFrom(['3.0', null, null], ['3.00', '{x}', 'x']),
      item.updateFrom(['3.00', null, null], ['3.0', '{y,z}', 'y']),
      ...others(),
    );
    await harness.applied();
    const rows = (sql: string): Promise<unknown> => harness.rows(`${sql} WHERE k < 10 ORDER BY 1, 2`);
    expect(await rows(`SELECT k, big${kind === 'soft' ? ', gone' : ''} FROM new.item`)).toEqual(
      [
        ['1.00', 'long'],
        ['2.00', 'other'],
        ['3.0', 'y'],
      ].map((row) => (kind === 'soft' ? [...row, 'f'] : row)),
    );
    if (kind === 'hard')
      expect(await rows('SELECT k, n, v FROM new.tag')).toEqual([
        ['1.00', '1', 't1'],
        ['2.00', '1', 'new'],
        ['3.0', '1', 'y'],
        ['3.0', '2', 'z'],
      ]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
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
