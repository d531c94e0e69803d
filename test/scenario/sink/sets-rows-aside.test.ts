import { afterEach, describe, expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { freshDatabase, versions } from '#test/support/postgres.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';

const ITEM = 'CREATE TABLE item (id int PRIMARY KEY, n int, name text, big text)';
const LIMITS = `ALTER TABLE new.item ADD CONSTRAINT small CHECK (n < 1000), ADD CONSTRAINT named UNIQUE (name)`;
const ALL = 'SELECT id, n, name FROM new.item ORDER BY id';
const BLOCKED = `SELECT source_table, key::text, cause, sql_state, queued::text FROM crossfade.blocked WHERE discarded_at IS NULL ORDER BY id`;

afterEach(() => installTestHooks({}));

async function following(url: string, options: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  const harness = await sinkHarness({ url, ddl: ITEM, targetDdl: LIMITS, onRowError: 'set-aside', ...options });
  const tables = harness.mapping.tables.map(({ from }) => harness.table(from.name));
  await harness.follow(...tables);
  harness.start();
  await harness.log.transaction(...tables.map((table) => table.relation));
  await harness.applied();
  return harness;
}

describe.each(versions(14))('on PostgreSQL %i, a row that the target refuses', (version) => {
  test('is set aside with its key, its error and its values, while all others are applied', async () => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url);
    const item = harness.table('item');
    await harness.log.transaction(...Array.from({ length: 200 }, (_, i) => item.insert(i, i === 77 ? 5000 : i, `n${i}`, null)));
    await harness.applied();
    expect(await harness.rows('SELECT count(*)::text, count(*) FILTER (WHERE id = 77)::text FROM new.item')).toEqual([['199', '0']]);
    expect(
      await harness.rows(
        `SELECT key::text, cause, sql_state, constraint_name, row_values::text, is_delete, attempts, published FROM crossfade.blocked`,
      ),
    ).toEqual([['["77"]', 'row', '23514', 'small', '{"id":"77","n":"5000","name":"n77","big":null}', 'f', '1', 'f']]);
    expect(harness.held).toEqual([]);
    expect(harness.setAside).toHaveLength(1);
    expect(harness.sink.status()).toMatchObject({ deadLetters: 1, tables: [{ state: 'following' }] });
  });

  test('is found among rows that swap a unique value, which are not accused', async () => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url);
    const item = harness.table('item');
    await harness.log.transaction(item.insert(1, 1, 'a', 'x'), item.insert(2, 2, 'b', 'y'), item.insert(3, 3, 'c', 'z'));
    await harness.applied();
    await harness.log.transactions([
      [item.update(1, 1, 'tmp', undefined)],
      [item.update(2, 2, 'a', 'y')],
      [item.update(3, 7000, 'c', undefined)],
      [item.update(1, 1, 'b', undefined)],
    ]);
    await harness.applied();
    expect(await harness.rows('SELECT id, n, name, big FROM new.item ORDER BY id')).toEqual([
      ['1', '1', 'b', 'x'],
      ['2', '2', 'a', 'y'],
      ['3', '3', 'c', 'z'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([['item', '["3"]', 'row', '23514', '0']]);
  });

  test('leaves its old version in place; who wants its unique value is set aside, too', async () => {
    await using database = await freshDatabase(version);
    await using harness = await following(database.url);
    const item = harness.table('item');
    await harness.log.transaction(item.insert(1, 1, 'a', null));
    await harness.applied();
    await harness.log.transaction(item.update(1, 5000, 'b', null), item.insert(2, 2, 'a', null), item.insert(3, 3, 'c', null));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', '1', 'a'],
      ['3', '3', 'c'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([
      ['item', '["1"]', 'row', '23514', '0'],
      ['item', '["2"]', 'row', '23505', '0'],
    ]);
  });
});

const REFUSALS = [
  ['a null where the target allows none', 'ALTER TABLE new.item ALTER name SET NOT NULL', [5, 5, null, null], '23502'],
  ['a text that is too long', 'ALTER TABLE new.item ALTER name TYPE varchar(3)', [5, 5, 'long name', null], '22001'],
  ['a value that does not convert', 'ALTER TABLE new.item ALTER name TYPE int USING 0', [5, 5, 'word', null], '22P02'],
  ['a duplicate of a unique value', LIMITS, [5, 5, 'name 1', null], '23505'],
  [
    'what a trigger objects to',
    `CREATE FUNCTION new.no() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF NEW.id = 5 THEN RAISE 'not 5'; END IF; RETURN NEW; END $f$;
     CREATE TRIGGER no BEFORE INSERT OR UPDATE ON new.item FOR EACH ROW EXECUTE FUNCTION new.no(); ALTER TABLE new.item ENABLE ALWAYS TRIGGER no`,
    [5, 5, 'name 5', null],
    'P0001',
  ],
] as const;

describe.each(REFUSALS)('%s', (_what, targetDdl, row, sqlState) => {
  const name = (i: number): string | null => (sqlState === '22P02' ? String(i) : sqlState === '22001' ? `n${i % 10}` : `name ${i}`);

  async function unmapped(url: string): Promise<SinkHarness> {
    // The target's column is made stricter after the file was compiled, as somebody's migration would.
    return sinkHarness({ url, ddl: ITEM, onRowError: 'set-aside' });
  }

  test('blocks its key only, in the stream', async () => {
    await using database = await freshDatabase();
    await using harness = await unmapped(database.url);
    await harness.rows(targetDdl);
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation, ...[1, 2, 3].map((i) => item.insert(i, i, name(i), null)));
    await harness.log.transaction(item.insert(...row), item.insert(6, 6, name(6), null));
    await harness.applied();
    expect(await harness.rows('SELECT id FROM new.item ORDER BY id')).toEqual([['1'], ['2'], ['3'], ['6']]);
    expect(await harness.rows(BLOCKED)).toEqual([['item', '["5"]', 'row', sqlState, '0']]);
  });

  test('blocks its key only, in a chunk', async () => {
    await using database = await freshDatabase();
    await using harness = await unmapped(database.url);
    await harness.rows(targetDdl);
    const item = harness.table('item');
    harness.start();
    await harness.log.state(item.table, 'copying');
    const rows = Array.from({ length: 300 }, (_, i) => [i, i, name(i), null] as const);
    await harness.log.transaction(chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'n', 'name', 'big'] }, rows.with(5, row)));
    await harness.log.state(item.table, 'following');
    await harness.log.copyComplete();
    await harness.applied();
    expect(await harness.rows('SELECT count(*)::text FROM new.item')).toEqual([['299']]);
    expect(await harness.rows(BLOCKED)).toEqual([['item', '["5"]', 'row', sqlState, '0']]);
  });
});

async function withOneAside(url: string, options: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  const harness = await following(url, options);
  const item = harness.table('item');
  await harness.log.transaction(item.insert(1, 1, 'one', 'large'), item.insert(2, 2, 'two', null));
  await harness.log.transaction(item.update(1, 5000, 'one', undefined));
  await harness.applied();
  return harness;
}

const recopied = (...rows: readonly (readonly (string | number | null)[])[]): Buffer =>
  chunkFrame({ schema: 'old', table: 'item', columns: ['id', 'n', 'name', 'big'], recopy: true }, rows);

describe('a later change of a blocked key', () => {
  test('queues behind it, also after a restart', async () => {
    await using database = await freshDatabase();
    await using harness = await withOneAside(database.url);
    const item = harness.table('item');
    await harness.log.transaction(item.update(1, 10, 'one', undefined));
    await harness.applied();
    await harness.stop();
    harness.start();
    await harness.log.transaction(item.update(1, 11, 'one', 'l2'), item.update(2, 22, 'two', null));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', '1', 'one'],
      ['2', '22', 'two'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([['item', '["1"]', 'row', '23514', '2']]);
  });

  test('would reach the target with the guard switched off', async () => {
    installTestHooks({ disabledGuards: ['blocked'] });
    await using database = await freshDatabase();
    await using harness = await withOneAside(database.url);
    await harness.log.transaction(harness.table('item').update(1, 10, 'one', undefined));
    await harness.applied();
    expect(await harness.rows(ALL)).toContainEqual(['1', '10', 'one']);
  });

  test('removes the need when it is a delete, or a truncate', async () => {
    await using database = await freshDatabase();
    await using harness = await withOneAside(database.url);
    const item = harness.table('item');
    await harness.log.transaction(item.delete(1, null, null, null));
    await harness.log.transaction(item.update(2, 9000, 'two', null));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([['2', '2', 'two']]);
    expect(await harness.rows(BLOCKED)).toEqual([['item', '["2"]', 'row', '23514', '0']]);
    await harness.log.transaction(item.truncate(), item.insert(2, 3, 'two', null), item.insert(1, 4, 'one', null));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['1', '4', 'one'],
      ['2', '3', 'two'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([]);
    expect(harness.sink.status().deadLetters).toBe(0);
  });

  test('blocks the new key when it is a move with absent columns; a whole row moves by itself', async () => {
    await using database = await freshDatabase();
    await using harness = await withOneAside(database.url);
    const item = harness.table('item');
    await harness.log.transaction(item.updateFrom([1, null, null, null], [8, 8, 'one', undefined]));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([['2', '2', 'two']]);
    expect(await harness.rows(BLOCKED)).toEqual([['item', '["8"]', 'moved', '', '0']]);
    await harness.log.transaction(item.updateFrom([8, null, null, null], [9, 9, 'one', 'whole']));
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([
      ['2', '2', 'two'],
      ['9', '9', 'one'],
    ]);
    expect(await harness.rows(BLOCKED)).toEqual([]);
  });
});

describe('a re-copy of a blocked key', () => {
  test('frees it once the target takes the row, and names the new error while it does not', async () => {
    await using database = await freshDatabase();
    await using harness = await withOneAside(database.url);
    const item = harness.table('item');
    await harness.rows('ALTER TABLE new.item DROP CONSTRAINT small, ADD CONSTRAINT smaller CHECK (n < 2000)');
    await harness.log.transaction(recopied([1, 5000, 'one', 'large']));
    await harness.applied();
    expect(await harness.rows('SELECT key::text, constraint_name, attempts FROM crossfade.blocked')).toEqual([['["1"]', 'smaller', '2']]);
    await harness.rows('ALTER TABLE new.item DROP CONSTRAINT smaller');
    await harness.log.transaction(recopied([1, 5000, 'one', 'large']));
    await harness.log.transaction(item.update(1, 5001, 'one', undefined));
    await harness.applied();
    expect(await harness.rows(ALL)).toContainEqual(['1', '5001', 'one']);
    expect(await harness.rows(BLOCKED)).toEqual([]);
  });

  test('that finds no row at the source takes it from the target', async () => {
    await using database = await freshDatabase();
    await using harness = await withOneAside(database.url);
    await harness.log.transaction(
      encodeJsonFrame(FRAME.chunkDeletes, { chunk: 'c', schema: 'old', table: 'item', keyColumns: ['id'], keys: [['1']] }),
    );
    await harness.applied();
    expect(await harness.rows(ALL)).toEqual([['2', '2', 'two']]);
    expect(await harness.rows(BLOCKED)).toEqual([]);
  });
});

test('rows set aside that swap a unique value come with one re-copy, beside one that is still refused', async () => {
  await using database = await freshDatabase();
  await using harness = await following(database.url);
  const item = harness.table('item');
  await harness.log.transaction(item.insert(1, 1, 'a', null), item.insert(2, 2, 'b', null), item.insert(3, 3, 'c', null));
  await harness.log.transaction(item.update(1, 5000, 'b', null), item.update(2, 5000, 'a', null), item.update(3, 9000, 'd', null));
  await harness.applied();
  expect((await harness.rows(BLOCKED)).map((row) => row[1])).toEqual(['["1"]', '["2"]', '["3"]']);
  await harness.rows('ALTER TABLE new.item DROP CONSTRAINT small, ADD CONSTRAINT large CHECK (n < 6000)');
  await harness.log.transaction(recopied([1, 5000, 'b', null], [2, 5000, 'a', null], [3, 9000, 'd', null]));
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([
    ['1', '5000', 'b'],
    ['2', '5000', 'a'],
    ['3', '3', 'c'],
  ]);
  expect(await harness.rows(BLOCKED)).toEqual([['item', '["3"]', 'row', '23514', '0']]);
});

test('a table with more refused rows than may be set aside is held', async () => {
  await using database = await freshDatabase();
  await using harness = await following(database.url);
  const item = harness.table('item');
  await harness.log.transaction(...Array.from({ length: 1_100 }, (_, i) => item.insert(i, 5000 + i, `n${i}`, null)));
  await harness.applied();
  expect(harness.sink.status().tables[0]).toMatchObject({ state: 'held' });
  expect(harness.sink.status().tables[0]?.error).toMatch(/more than 1000 rows/);
});

test('a transaction in parts sets its rows aside with its commit; one that turns out void sets none aside', async () => {
  await using database = await freshDatabase();
  await using harness = await following(database.url);
  const item = harness.table('item');
  // More than a round may hold, so that the first row and the last change stand in different parts.
  const count = 60_000;
  const rows = Array.from({ length: count }, (_, i) => item.insert(i, i % 20_000 === 5 ? 5000 : 1, `n${i}`, 'x'.repeat(420)));
  const append = async (frames: readonly Buffer[]): Promise<void> => {
    for (let at = 0; at < frames.length; at += 10_000) await harness.log.append(frames.slice(at, at + 10_000));
  };
  await append(harness.log.frames(rows).slice(0, -1));
  await harness.log.epoch(2);
  await harness.log.transaction(item.insert(-1, 1, 'after the void', null));
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([['-1', '1', 'after the void']]);
  expect(await harness.rows(BLOCKED)).toEqual([]);
  expect(harness.sink.status().deadLetters).toBe(0);
  await append(harness.log.frames([...rows, item.update(5, 1, 'n5', undefined)]));
  await harness.applied();
  expect(await harness.rows('SELECT count(*)::text FROM new.item')).toEqual([[String(count - 2)]]);
  expect((await harness.rows(BLOCKED)).map((row) => [row[1], row[4]])).toEqual([
    ['["5"]', '1'],
    ['["20005"]', '0'],
    ['["40005"]', '0'],
  ]);
});

test.each(['', ' DEFERRABLE INITIALLY DEFERRED'])(
  'where foreign keys%s act, the child of a row that was set aside is set aside as its dependant',
  async (deferrable) => {
    await using database = await freshDatabase(14);
    const role = `mover_${database.name}`;
    const sinkUrl = database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`);
    await using harness = await following(database.url, {
      sinkUrl,
      ddl: `CREATE TABLE parent (id int PRIMARY KEY, n int);
      CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent${deferrable}, n int)`,
      targetDdl: `ALTER TABLE new.parent ADD CHECK (n < 1000); CREATE ROLE ${role} LOGIN PASSWORD 'secret';
      CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`,
    });
    const [parent, child] = [harness.table('parent'), harness.table('child')];
    await harness.log.transaction(
      parent.insert(1, 1),
      child.insert(1, 1, 0),
      parent.insert(2, 5000),
      child.insert(2, 2, 0),
      child.insert(3, 1, 0),
    );
    await harness.applied();
    expect(await harness.rows('SELECT id FROM new.parent ORDER BY id')).toEqual([['1']]);
    expect(await harness.rows('SELECT id FROM new.child ORDER BY id')).toEqual([['1'], ['3']]);
    expect(await harness.rows(BLOCKED)).toEqual([
      ['parent', '["2"]', 'row', '23514', '0'],
      ['child', '["2"]', 'dependant', '23503', '0'],
    ]);
    expect(harness.held).toEqual([]);
    await harness.log.transaction(child.delete(2, null, null), parent.delete(2, null));
    await harness.applied();
    expect(await harness.rows(BLOCKED)).toEqual([]);
    await harness.rows(`DROP OWNED BY ${role} CASCADE`);
    await harness.stop().catch(() => undefined);
  },
);
