/** Ids in place of keys: whatever form rows come in, a key has one id for ever, and every reference shows it. */
import { describe, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { KeyAllocator } from '#connectors/target/postgres/key-allocator.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import type { ChunkBatch } from '#connectors/target/target.ts';
import type { TableEntry } from '#schemas/config/migration-file.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { freshDatabase, versions } from '#test/support/postgres.ts';
import { seeded } from '#test/support/random.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness, type TableFrames } from '#test/support/sink-harness.ts';

const DDL = `CREATE TABLE parent (k text PRIMARY KEY, v text, big text);
  CREATE TABLE child (n int PRIMARY KEY, parent text REFERENCES parent, note text)`;
const TARGET_DDL = `DROP TABLE child, parent;
  CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text CHECK (v <> 'bad'), big text, UNIQUE (v));
  CREATE TABLE child (id uuid PRIMARY KEY, parent bigint REFERENCES parent, note text)`;
const place = { line: 1, column: 1 };
const entries: readonly Partial<TableEntry>[] = [
  { from: 'old.parent', to: 'new.parent', key: { surrogate: 'id', ...place } },
  { from: 'old.child', to: 'new.child', key: { surrogate: 'id', ...place } },
];
const MAP = `(SELECT source_key FROM crossfade.key_map WHERE domain = 'old.`;
const PARENTS = `SELECT * FROM (SELECT ${MAP}parent' AND target_key = p.id::text) AS k, v, big FROM new.parent p) x ORDER BY k COLLATE "C"`;
const CHILDREN = `SELECT * FROM (SELECT ${MAP}child' AND target_key = c.id::text) AS n, ${MAP}parent' AND target_key = p.id::text) AS parent, note
  FROM new.child c LEFT JOIN new.parent p ON p.id = c.parent) x ORDER BY n COLLATE "C"`;

function family(url: string, more: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  return sinkHarness({ url, ddl: DDL, targetDdl: TARGET_DDL, entries, ...more });
}

async function started(harness: SinkHarness): Promise<readonly [parent: TableFrames, child: TableFrames]> {
  const [parent, child] = [harness.table('parent'), harness.table('child')];
  await harness.follow(parent, child);
  harness.start();
  await harness.log.transaction(parent.relation, child.relation);
  return [parent, child];
}

describe.each(versions(18))('on PostgreSQL %i', (version) => {
  test.each([1, 100])('children before parents, changes of keys and values, deletes: %i rows in a round', async (size) => {
    await using database = await freshDatabase(version);
    await using harness = await family(database.url);
    const [parent, child] = await started(harness);
    const names = Array.from({ length: size }, (_, i) => `p${1000 + i}`);
    await harness.log.transaction(...names.map((k, i) => child.insert(1000 + i, k, 'x')), child.insert(5000, null, 'none'));
    await harness.log.transaction(...names.map((k) => parent.insert(k, `v${k}`, 'large')));
    await harness.applied();
    const ids = await harness.rows('SELECT id FROM new.parent ORDER BY v');
    // A value left alone, a new value; then all keys change, and what refers to them; then half of the old keys come back.
    await harness.log.transaction(...names.map((k) => parent.update(k, `w${k}`, undefined)));
    await harness.applied();
    expect(await harness.rows('SELECT id FROM new.parent ORDER BY v')).toEqual(ids);
    await harness.log.transaction(
      ...names.map((k) => parent.updateFrom([k, null, null], [`q${k}`, `w${k}`, undefined])),
      ...names.map((k, i) => child.update(1000 + i, `q${k}`, 'moved')),
    );
    await harness.applied();
    await harness.log.transaction(...names.map((k) => parent.insert(k, `again${k}`, null)), child.delete(5000, null, null));
    await harness.applied();
    expect(await harness.rows(`SELECT id FROM new.parent WHERE v LIKE 'again%' ORDER BY v`)).toEqual(ids);
    expect(await harness.rows(CHILDREN)).toEqual(names.map((k, i) => [String(1000 + i), `q${k}`, 'moved']));
    expect(await harness.rows(PARENTS)).toEqual([
      ...names.map((k) => [k, `again${k}`, null]),
      ...names.map((k) => [`q${k}`, `w${k}`, 'large']),
    ]);
    expect([harness.held, harness.missing]).toEqual([[], []]);
  });
});

test('a transaction that is applied in parts allocates for each part and shows nothing before its end', async () => {
  await using database = await freshDatabase();
  await using harness = await family(database.url, { sink: { batchRows: 100 } });
  const [parent, child] = await started(harness);
  const many = Array.from({ length: 3000 }, (_, i) => i);
  await harness.log.transaction(
    ...many.map((i) => child.insert(i, `p${i}`, 'x'.repeat(2000))),
    ...many.map((i) => parent.insert(`p${i}`, `v${i}`, null)),
  );
  await harness.applied();
  expect(
    await harness.rows('SELECT count(*), count(p.id), count(DISTINCT p.id) FROM new.child c LEFT JOIN new.parent p ON p.id = c.parent'),
  ).toEqual([['3000', '3000', '3000']]);
});

test('a row that is refused is set aside by its old key, and a copy of it brings it under the id that waits for it', async () => {
  await using database = await freshDatabase();
  await using harness = await family(database.url, { onRowError: 'set-aside' });
  const [parent, child] = await started(harness);
  await harness.log.transaction(parent.insert('a', 'bad', null), parent.insert('b', 'good', null), child.insert(1, 'a', 'x'));
  await harness.applied();
  expect(await harness.rows(`SELECT key::text FROM crossfade.blocked`)).toEqual([['["a"]']]);
  const [[awaited]] = (await harness.rows('SELECT parent::text FROM new.child')) as [[string]];
  await harness.log.transaction(
    chunkFrame({ schema: 'old', table: 'parent', columns: ['k', 'v', 'big'], recopy: true }, [['a', 'fine', null]]),
  );
  await harness.applied();
  expect(await harness.rows(`SELECT count(*) FROM crossfade.blocked`)).toEqual([['0']]);
  expect(await harness.rows(`SELECT id::text FROM new.parent WHERE v = 'fine'`)).toEqual([[awaited]]);
});

test('unique values that are swapped are redone under the same ids', async () => {
  await using database = await freshDatabase();
  await using harness = await family(database.url);
  const [parent] = await started(harness);
  await harness.log.transaction(parent.insert('a', 'one', null), parent.insert('b', 'two', null));
  await harness.applied();
  const before = await harness.rows('SELECT v, id FROM new.parent ORDER BY id');
  await harness.log.transactions([[parent.update('a', 'tmp', null)], [parent.update('b', 'one', null)], [parent.update('a', 'two', null)]]);
  await harness.applied();
  expect(await harness.rows('SELECT v, id FROM new.parent ORDER BY id')).toEqual([
    ['two', before[0]![1]],
    ['one', before[1]![1]],
  ]);
  expect(harness.held).toEqual([]);
});

test('where foreign keys are checked while rows are written, a key that changes is one update', async () => {
  await using database = await freshDatabase(18);
  const role = `keys_${database.name}`;
  const sinkUrl = database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`);
  await using harness = await family(database.url, {
    sinkUrl,
    targetDdl: `${TARGET_DDL}; ALTER TABLE new.parent ALTER id SET GENERATED BY DEFAULT;
      ALTER TABLE new.child DROP CONSTRAINT child_parent_fkey, ADD FOREIGN KEY (parent) REFERENCES new.parent DEFERRABLE;
      CREATE ROLE ${role} LOGIN PASSWORD 'secret'; CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA new TO ${role}`,
  });
  const [parent, child] = await started(harness);
  await harness.log.transaction(parent.insert('a', 'one', 'large'), child.insert(1, 'a', 'x'), child.insert(2, 'a', 'y'));
  await harness.applied();
  await harness.log.transaction(
    parent.updateFrom(['a', null, null], ['b', 'one', undefined]),
    child.update(1, 'b', 'x'),
    child.update(2, 'b', 'y'),
  );
  await harness.applied();
  expect(await harness.rows(PARENTS)).toEqual([['b', 'one', 'large']]);
  expect(await harness.rows(CHILDREN)).toEqual([
    ['1', 'b', 'x'],
    ['2', 'b', 'y'],
  ]);
  expect(harness.held).toEqual([]);
  await harness.rows(`DROP OWNED BY ${role} CASCADE`);
  await harness.stop().catch(() => undefined);
});

test('a sequence that was set back stops the sink, which names it, and no row gets an id of another one', async () => {
  await using database = await freshDatabase();
  await using harness = await family(database.url);
  const [parent] = await started(harness);
  await harness.log.transaction(parent.insert('a', 'one', null));
  await harness.applied();
  await harness.rows(`SELECT setval('new.parent_id_seq', 1, false)`);
  await harness.log.transaction(parent.insert('b', 'two', null));
  await expect(harness.running).rejects.toMatchObject({
    code: 'CF-5012',
    message: expect.stringContaining('its sequence was set back') as string,
  });
  expect(await harness.rows(PARENTS)).toEqual([['a', 'one', null]]);
});

test('softly deleted rows keep their ids, and come alive under them', async () => {
  await using database = await freshDatabase();
  const soft: TableEntry['deletes'] = { mode: 'soft', at: 'gone', ...place };
  await using harness = await family(database.url, {
    targetDdl: `${TARGET_DDL}; ALTER TABLE new.parent ADD gone timestamptz`,
    entries: [{ ...entries[0]!, deletes: soft }, entries[1]!],
  });
  const [parent] = await started(harness);
  await harness.log.transaction(parent.insert('a', 'one', null));
  await harness.log.transaction(parent.delete('a', null, null));
  await harness.applied();
  const gone = await harness.rows('SELECT id, gone IS NOT NULL FROM new.parent');
  await harness.log.transaction(parent.insert('a', 'two', null));
  await harness.applied();
  expect(await harness.rows('SELECT id, gone IS NULL, v FROM new.parent')).toEqual([[gone[0]![0], 't', 'two']]);
});

test('many sessions that ask for the same keys in any order agree on every id, and none waits for ever', { timeout: 120_000 }, async () => {
  await using database = await freshDatabase();
  const random = seeded(7);
  const setup = await connect(database.url, { applicationName: 'test', role: 'target' });
  await ensureSchema(setup);
  await setup.query('CREATE TABLE public.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)');
  const keyMap = { name: 'm', domain: 'a', ids: { schema: 'public', table: 't', column: 'id' }, own: true };
  const other = { ...keyMap, domain: 'b' };
  const column = { target: 'id', targetType: 'bigint', targetBaseType: 'bigint' };
  const table = {
    columns: [
      { ...column, keyMap },
      { ...column, keyMap: other },
    ],
  } as unknown as TableMapping;
  const chunk = (): ChunkBatch => {
    const lines = Array.from({ length: 200 }, () => `k${random.between(0, 3000)}\tk${random.between(0, 3000)}\n`);
    return {
      kind: 'chunk',
      table,
      columns: [0, 1],
      rows: [Buffer.from(lines.join(''))],
      rowCount: 200,
      truncate: false,
      mayExist: false,
      time: 0n,
      unmapped: [],
    };
  };
  const allocators = Array.from(
    { length: 6 },
    () => new KeyAllocator(() => connect(database.url, { applicationName: 'test', role: 'target' })),
  );
  await Promise.all(
    allocators.map(async (allocator) => {
      for (let i = 0; i < 40; i++) await allocator.ensure([chunk()]);
      await allocator.close();
    }),
  );
  const { rows } = await setup.query(
    'SELECT count(*)::int AS keys, count(DISTINCT (domain, target_key))::int AS ids FROM crossfade.key_map',
  );
  await setup.end();
  expect(rows[0].keys).toBe(rows[0].ids);
  expect(Number(rows[0].keys)).toBeGreaterThan(5000);
});
