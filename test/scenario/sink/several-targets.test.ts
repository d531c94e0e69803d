/** One source table to several targets: each has rows, state and rows set aside of its own, and one commit shows the same state in all. */
import { afterEach, describe, expect, test } from 'vitest';
import type { ColumnEntry, TableEntry } from '#schemas/config/migration-file.ts';
import { connect } from '#connectors/postgres/session.ts';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { chunkFrame, relationFrame } from '#test/support/sink-frames.ts';
import { plainRole } from '#test/support/plain-role.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';

const DDL =
  'CREATE TABLE person (id int PRIMARY KEY, name text, town text, active boolean NOT NULL); ALTER TABLE person REPLICA IDENTITY FULL';
const TARGET_DDL = `DROP TABLE person;
  CREATE TABLE customer (id int PRIMARY KEY, name text, active boolean NOT NULL);
  CREATE TABLE address (person_id int PRIMARY KEY, town text CHECK (town <> 'nowhere'))`;
const CUSTOMERS = 'SELECT id, name, active FROM new.customer ORDER BY id';
const ADDRESSES = 'SELECT person_id, town FROM new.address ORDER BY person_id';

const column = (to: Partial<ColumnEntry>): ColumnEntry => ({ drop: false, line: 1, column: 1, ...to });
const customer: Partial<TableEntry> = { from: 'old.person', to: 'new.customer' };
const address: Partial<TableEntry> = {
  from: 'old.person',
  to: 'new.address',
  columns: { id: column({ to: 'person_id' }) },
  where: { active: { op: 'in', values: ['t'] } },
};

function split(url: string, more: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  return sinkHarness({ url, ddl: DDL, targetDdl: TARGET_DDL, entries: [customer, address], ...more });
}

async function started(harness: SinkHarness): Promise<ReturnType<SinkHarness['table']>> {
  const person = harness.table('person');
  await harness.follow(person);
  harness.start();
  await harness.log.transaction(person.relation, person.insert(1, 'Ann', 'Ulm', 't'), person.insert(2, 'Bob', 'Bonn', 'f'));
  await harness.applied();
  return person;
}

const stateOf = (harness: SinkHarness): string[] => harness.sink.status().tables.map(({ to, state }) => `${to.name} ${state}`);

afterEach(() => installTestHooks({}));

test('a row that a re-copy was asked for, and that the filter leaves out, is taken from the target', async () => {
  await using database = await freshDatabase();
  await using harness = await split(database.url);
  await started(harness);
  await harness.rows(`INSERT INTO new.address VALUES (2, 'behind the back'), (3, 'another')`);
  const chunk = { schema: 'old', table: 'person', columns: ['id', 'name', 'town', 'active'], recopy: true };
  const rows = [
    [1, 'Ann', 'Ulm', 't'],
    [2, 'Bob', 'Bonn', 'f'],
  ];
  await harness.log.transaction(chunkFrame({ ...chunk, chunk: 'range:old.person#1' }, rows));
  await harness.applied();
  expect(await harness.rows(ADDRESSES)).toHaveLength(3);
  await harness.log.transaction(chunkFrame({ ...chunk, chunk: 'keys:old.person#1.0' }, rows));
  await harness.applied();
  expect(await harness.rows(ADDRESSES)).toEqual([
    ['1', 'Ulm'],
    ['3', 'another'],
  ]);
  expect(await harness.rows(CUSTOMERS)).toHaveLength(2);
});

describe.each(['embedded', 'kafka'] as const)('over the %s log', (log) => {
  test('every change reaches each target by its own columns and filter', async () => {
    await using database = await freshDatabase();
    await using harness = await split(database.url, { log });
    const person = await started(harness);
    await harness.log.transactions([
      [person.update(2, 'Bob', 'Bonn', 't')],
      [person.insert(3, 'Cid', 'Kiel', 't'), person.update(1, 'Anna', 'Ulm', 't')],
      [person.delete(3, null, null, null)],
    ]);
    await harness.applied();
    expect(await harness.rows(CUSTOMERS)).toEqual([
      ['1', 'Anna', 't'],
      ['2', 'Bob', 't'],
    ]);
    expect(await harness.rows(ADDRESSES)).toEqual([
      ['1', 'Ulm'],
      ['2', 'Bonn'],
    ]);
    await harness.log.transactions([[person.update(1, 'Anna', 'Ulm', 'f')], [person.truncate(), person.insert(9, 'Zoe', 'Trier', 't')]]);
    await harness.applied();
    expect(await harness.rows(CUSTOMERS)).toEqual([['9', 'Zoe', 't']]);
    expect(await harness.rows(ADDRESSES)).toEqual([['9', 'Trier']]);
  });

  test('chunks and keys of a re-copy reach each target, in lanes of their own', async () => {
    await using database = await freshDatabase();
    await using harness = await split(database.url, { log, sink: { parallel: 2 } });
    const person = harness.table('person');
    harness.start();
    await harness.log.state(person.table, 'copying');
    const rows = Array.from({ length: 100 }, (_, i) => [i, `n${i}`, `t${i}`, i % 2 === 0 ? 't' : 'f']);
    const chunk = { schema: 'old', table: 'person', columns: ['id', 'name', 'town', 'active'] };
    await harness.log.transaction(chunkFrame(chunk, rows));
    await harness.log.state(person.table, 'following');
    await harness.log.copyComplete();
    await harness.applied();
    expect(await harness.rows('SELECT (SELECT count(*) FROM new.customer), (SELECT count(*) FROM new.address)')).toEqual([['100', '50']]);
    await harness.log.transaction(
      chunkFrame({ ...chunk, recopy: true }, [[2, 'again', 'here', 't']]),
      encodeJsonFrame(FRAME.chunkDeletes, { chunk: 'c', schema: 'old', table: 'person', keyColumns: ['id'], keys: [['4']] }),
    );
    await harness.applied();
    expect(await harness.rows('SELECT name FROM new.customer WHERE id IN (2, 4)')).toEqual([['again']]);
    expect(await harness.rows('SELECT town FROM new.address WHERE person_id IN (2, 4)')).toEqual([['here']]);
  });

  test('a target that refuses a row is held by itself: the other goes on, and a resume brings it back', async () => {
    await using database = await freshDatabase();
    await using harness = await split(database.url, { log });
    const person = await started(harness);
    await harness.log.transaction(person.update(1, 'Ann', 'nowhere', 't'));
    await harness.log.transaction(person.insert(3, 'Cid', 'Kiel', 't'));
    await harness.applied();
    expect(stateOf(harness)).toEqual(['customer following', 'address held']);
    expect(await harness.rows(CUSTOMERS)).toEqual([
      ['1', 'Ann', 't'],
      ['2', 'Bob', 'f'],
      ['3', 'Cid', 't'],
    ]);
    expect(await harness.rows(ADDRESSES)).toEqual([['1', 'Ulm']]);
    await harness.stop();
    harness.start();
    await harness.applied();
    expect(stateOf(harness)).toEqual(['customer following', 'address held']);
    await harness.rows('ALTER TABLE new.address DROP CONSTRAINT address_town_check');
    expect(await harness.sink.resumeTable({ schema: 'old', name: 'person' })).toBe(true);
    expect(harness.resumed).toEqual(['address']);
    expect(await harness.rows(ADDRESSES)).toEqual([]);
    await harness.log.state(person.table, 'copying');
    await harness.log.transaction(
      chunkFrame({ schema: 'old', table: 'person', columns: ['id', 'name', 'town', 'active'], recopy: true }, [
        [1, 'Ann', 'nowhere', 't'],
        [2, 'Bob', 'Bonn', 'f'],
        [3, 'Cid', 'Kiel', 't'],
      ]),
    );
    await harness.log.state(person.table, 'following');
    await harness.applied();
    expect(stateOf(harness)).toEqual(['customer following', 'address following']);
    expect(await harness.rows(CUSTOMERS)).toHaveLength(3);
    expect(await harness.rows(ADDRESSES)).toEqual([
      ['1', 'nowhere'],
      ['3', 'Kiel'],
    ]);
  });

  test('a row that one target sets aside blocks its key there and nowhere else', async () => {
    await using database = await freshDatabase();
    await using harness = await split(database.url, { log, onRowError: 'set-aside' });
    const person = await started(harness);
    await harness.log.transaction(person.update(1, 'Ann', 'nowhere', 't'));
    await harness.applied();
    await harness.log.transaction(person.update(1, 'Anna', 'Mainz', 't'), person.insert(4, 'Dee', 'Jena', 't'));
    await harness.applied();
    expect(harness.setAside.map(({ table }) => table)).toEqual(['address']);
    expect(harness.sink.status().deadLetters).toBe(1);
    expect(await harness.rows('SELECT name FROM new.customer WHERE id = 1')).toEqual([['Anna']]);
    expect(await harness.rows(ADDRESSES)).toEqual([
      ['1', 'Ulm'],
      ['4', 'Jena'],
    ]);
    expect(await harness.rows('SELECT target_table, key::text, queued::text FROM crossfade.blocked')).toEqual([['address', '["1"]', '1']]);
  });

  test('a column that only one target maps holds that one when it goes', async () => {
    await using database = await freshDatabase();
    await using harness = await split(database.url, { log });
    const person = await started(harness);
    const { table } = person;
    const without = { ...table, columns: table.columns.filter(({ name }) => name !== 'town') };
    await harness.log.transaction(relationFrame(without), person.insert(3, 'Cid', 't'));
    await harness.applied();
    expect(stateOf(harness)).toEqual(['customer following', 'address held']);
    expect(await harness.rows('SELECT name FROM new.customer WHERE id = 3')).toEqual([['Cid']]);
  });

  test('a target added later asks for the rows that the others have', async () => {
    await using database = await freshDatabase();
    await using harness = await split(database.url, { log });
    await started(harness);
    await harness.stop();
    const client = await connect(database.url, { applicationName: 'test', role: 'target' });
    await client.query(`DELETE FROM crossfade.table_progress WHERE target_table = 'address'; TRUNCATE new.address`);
    await client.end();
    harness.start();
    await harness.applied();
    expect(harness.resumed).toEqual(['address']);
    expect(stateOf(harness)).toEqual(['customer following', 'address copying']);
  });
});

test('a target that the file leaves out for a while is new when it comes back; a renamed one is filled by a re-copy', async () => {
  await using database = await freshDatabase();
  await using harness = await split(database.url, { log: 'embedded' });
  const person = await started(harness);
  await harness.stop();
  const { tables } = harness.mapping;
  const only = (name: string): { mapping: CompiledMapping } => ({
    mapping: { ...harness.mapping, tables: tables.filter(({ to }) => to.name === name) },
  });
  harness.start(only('customer'));
  await harness.log.transaction(person.delete(1, null, null, null));
  await harness.applied();
  await harness.stop();
  // What went meanwhile stands there still, and nobody would say so.
  harness.start();
  await expect(harness.running).rejects.toMatchObject({ code: 'CF-5004' });
  await harness.rows('TRUNCATE new.address');
  harness.start();
  await harness.applied();
  expect(harness.resumed).toEqual(['address']);
  expect(stateOf(harness)).toEqual(['customer following', 'address copying']);
  await harness.stop();
  await harness.rows('TRUNCATE new.customer');
  harness.start(only('address'));
  await harness.applied();
  await harness.stop();
  harness.start(only('customer'));
  await harness.applied();
  expect(harness.resumed.at(-1)).toBe('customer');
  expect(stateOf(harness)).toEqual(['customer copying']);
});

test('where foreign keys are checked, a key change is one in each target: the unique value and the large one go along', async () => {
  await using database = await freshDatabase();
  const role = plainRole(database);
  const entries = ['customer', 'address'].map((name) => ({ from: 'old.person', to: `new.${name}` }));
  await using harness = await sinkHarness({
    url: database.url,
    sinkUrl: role.sinkUrl,
    entries,
    ddl: 'CREATE TABLE person (id int PRIMARY KEY, email text, notes text)',
    targetDdl: `DROP TABLE person; CREATE TABLE customer (id int PRIMARY KEY, email text UNIQUE, notes text);
      CREATE TABLE address (id int PRIMARY KEY REFERENCES customer DEFERRABLE, email text, notes text); ${role.ddl}`,
  });
  const person = harness.table('person');
  await harness.follow(person);
  harness.start();
  await harness.log.transaction(person.relation, person.insert(1, 'e1', 'large'), person.insert(2, 'e2', 'larger'));
  await harness.applied();
  await harness.log.transaction(person.updateFrom([1, null, null], [101, 'e1', undefined]), person.update(2, 'e3', undefined));
  await harness.applied();
  const rows = [
    ['2', 'e3', 'larger'],
    ['101', 'e1', 'large'],
  ];
  for (const target of ['customer', 'address']) expect(await harness.rows(`SELECT * FROM new.${target} ORDER BY id`), target).toEqual(rows);
  expect(harness.held).toEqual([]);
});

/** The sink ends in front of its n-th transaction, as in a crash. */
async function endsBefore(harness: SinkHarness, n: number): Promise<void> {
  let begun = 0;
  installTestHooks({
    onFailpoint: (at) => {
      if (at === 'sink.begin' && ++begun === n) throw new Error('struck');
    },
  });
  harness.start();
  await expect(harness.running).rejects.toThrow('struck');
  installTestHooks({});
}

test.each([1, 2, 3])('what a crash in front of commit %i of the copy leaves is gone on with in each target alike', async (n) => {
  await using database = await freshDatabase();
  await using harness = await split(database.url, { log: 'embedded' });
  const person = harness.table('person');
  const chunk = { schema: 'old', table: 'person', columns: ['id', 'name', 'town', 'active'] };
  const [ann, bob, cid] = [
    [1, 'Ann', 'Ulm', 't'],
    [2, 'Bob', 'Bonn', 't'],
    [3, 'Cid', 'Kiel', 't'],
  ] as const;
  await harness.log.state(person.table, 'copying');
  await harness.log.transaction(person.relation, chunkFrame(chunk, [ann, bob]));
  await harness.log.transaction(person.insert(...cid));
  await endsBefore(harness, n);
  // The reader crashed, too, and did not get to know that its chunk is durable: it reads it again, and till then announces nothing.
  await harness.log.transaction(person.deleteFull(...ann));
  await harness.log.state(person.table, 'copying');
  await harness.log.transaction(chunkFrame({ ...chunk, recopy: true }, [bob, cid]));
  await harness.log.state(person.table, 'following');
  await harness.log.copyComplete();
  harness.start();
  await harness.applied();
  expect(await harness.rows('SELECT id FROM new.customer ORDER BY id')).toEqual([['2'], ['3']]);
  expect(await harness.rows('SELECT person_id FROM new.address ORDER BY 1')).toEqual([['2'], ['3']]);
});
