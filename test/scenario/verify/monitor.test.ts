import { expect, test, vi } from 'vitest';
import { readLastFindings, saveRound } from '#connectors/target/postgres/reconcile-record.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import { execute } from '#test/support/application.ts';
import { type FreshDatabase, freshDatabase } from '#test/support/postgres.ts';
import { startInstance, type RunningInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 120_000, interval: 50 };
const SQL = `
CREATE TABLE customer (id int8 PRIMARY KEY, name text NOT NULL, score int4);
CREATE TABLE line (order_id int4, n int4, sku text, PRIMARY KEY (order_id, n));
CREATE TABLE entry (at timestamptz, what text);
ALTER TABLE entry REPLICA IDENTITY FULL;`;
const FILL = `
INSERT INTO customer SELECT g, 'name ' || g, g FROM generate_series(1, 500) g;
INSERT INTO line SELECT g / 4, g % 4, 'sku ' || g FROM generate_series(1, 400) g;
INSERT INTO entry SELECT now(), 'entry ' || g FROM generate_series(1, 100) g;`;
const EAGER = 'tables:\n  - from: public.*\nreconcile: { budgetPercent: 100, startAfterSeconds: 0 }\n';

const DECLARED = `${EAGER}checks:
  - { name: scores, table: public.customer, sum: [score] }
  - { name: nothing changed, sql: { target: "select count(*) from {public.entry} where what = 'changed'" }, expect: 0 }
shadow:
  - { name: entry 7, sql: "select count(*) as n from {public.entry} where what = 'entry 7'" }
  - { name: a customer, sql: "select name from {public.customer} where id = 7" }
`;

async function databaseWith(sql: string): Promise<FreshDatabase> {
  const database = await freshDatabase();
  await execute(database.url, sql);
  return database;
}

function proof(instance: RunningInstance): ReconciliationStatus | undefined {
  return instance.status()?.reconciliation;
}

function open(instance: RunningInstance): number {
  const { suspected = 0, confirmed = 0, repairing = 0 } = proof(instance) ?? {};
  return suspected + confirmed + repairing;
}

test('a running instance finds rows that somebody else changed, names them, and sees them repaired', { timeout: 240_000 }, async () => {
  await using from = await databaseWith(SQL + FILL);
  await using to = await databaseWith(SQL);
  await using instance = await startInstance({ source: from.url, target: to.url, rest: EAGER });
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1, suspected: 0, confirmed: 0, inconclusive: 0 }), WAIT);
  expect(proof(instance)?.provedSince).not.toBeNull();

  await execute(to.url, `UPDATE customer SET name = 'somebody else' WHERE id = 77; DELETE FROM line WHERE order_id = 12 AND n = 1`);
  await execute(to.url, `INSERT INTO customer VALUES (9999, 'never there', 0)`);
  // Something happens in the tables, or they would be looked at with the next sweep only.
  await execute(from.url, `UPDATE customer SET score = 0 WHERE id = 1; UPDATE line SET sku = 'x' WHERE order_id = 1`);
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ confirmed: 3 }), WAIT);
  const found = await readLastFindings(to.url, 'scenario', 10);
  const named = (one: DriftFinding): unknown[] => [one.kind, one.key, one.columns, one.state];
  expect(found).toHaveLength(3);
  expect(found.map(named)).toEqual(
    expect.arrayContaining([
      ['different', { id: '77' }, ['name'], 'confirmed'],
      ['extra', { id: '9999' }, [], 'confirmed'],
      ['missing', { order_id: '12', n: '1' }, [], 'confirmed'],
    ]),
  );

  const reason = 'a test';
  await instance.post('/v1/recopy', { kind: 'keys', schema: 'public', table: 'customer', keys: [['77'], ['9999']], reason });
  await instance.post('/v1/recopy', { kind: 'keys', schema: 'public', table: 'line', keys: [['12', '1']], reason });
  await vi.waitFor(() => expect(open(instance)).toBe(0), WAIT);
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1 }), WAIT);
  const ended = await readLastFindings(to.url, 'scenario', 10);
  expect(ended.map(({ state, steps }) => [state, steps.map((step) => step.state)])).toEqual(
    Array.from({ length: 3 }, () => ['verified', ['suspected', 'confirmed', 'repairing', 'verified']]),
  );
});

test(
  'a difference outlives the instance that found it, checks of the file see it too, and one that is put right by hand is recorded as such',
  { timeout: 240_000 },
  async () => {
    await using from = await databaseWith(SQL + FILL);
    await using to = await databaseWith(SQL);
    const first = await startInstance({ source: from.url, target: to.url, rest: DECLARED });
    const clean = { declared: 2, equal: 2, differs: 0, inconclusive: 0 };
    await vi.waitFor(() => expect(proof(first)).toMatchObject({ proved: 1, checks: clean, queries: clean }), WAIT);
    await execute(to.url, `UPDATE entry SET what = 'changed' WHERE what = 'entry 7'`);
    await execute(from.url, `INSERT INTO entry VALUES (now(), 'one more')`);
    await vi.waitFor(() => expect(proof(first)).toMatchObject({ confirmed: 2 }), WAIT);
    await first.stop();
    await using second = await startInstance({ source: from.url, target: to.url, rest: DECLARED }, first.dataDir);
    await vi.waitFor(() => expect(proof(second)).toMatchObject({ confirmed: 2 }), WAIT);
    const checks = { equal: 1, differs: 1, differing: ['nothing changed'] };
    await vi.waitFor(() => expect(proof(second)).toMatchObject({ checks, queries: { equal: 1, differing: ['entry 7'] } }), WAIT);
    // The last of each: one that could not be judged at first was asked again.
    const last = 'SELECT DISTINCT ON (check_name) * FROM crossfade.check_verdict WHERE lsn IS NOT NULL ORDER BY check_name, id DESC';
    const kept = `SELECT check_name, kind, verdict, source, target FROM (${last}) AS v ORDER BY id`;
    expect((await execute(to.url, kept)).map((row) => Object.values(row))).toEqual([
      ['scores', 'sum', 'equal', '125250', '125250'],
      ['nothing changed', 'sql', 'differs', '0', '1'],
      ['entry 7', 'shadow', 'differs', 'one row', 'one row'],
      ['a customer', 'shadow', 'equal', 'one row', 'one row'],
    ]);
    await execute(to.url, `UPDATE entry SET what = 'entry 7' WHERE what = 'changed'`);
    await execute(from.url, `INSERT INTO entry VALUES (now(), 'another')`);
    await vi.waitFor(() => expect(open(second)).toBe(0), WAIT);
    const ended = await readLastFindings(to.url, 'scenario', 10);
    expect(ended.map(({ state, key }) => [state, key])).toEqual([
      ['flapped', null],
      ['flapped', null],
    ]);
    expect(new Set(ended.map(({ kind }) => kind))).toEqual(new Set(['missing', 'extra']));
  },
);

test(
  'a big table is compared in ranges: a change in one has that one looked at, and its neighbours found as well',
  { timeout: 240_000 },
  async () => {
    const table = 'CREATE TABLE big (id int8 PRIMARY KEY, v int4 NOT NULL);';
    await using from = await databaseWith(`${table} INSERT INTO big SELECT g, g FROM generate_series(1, 60000) g; ANALYZE big`);
    await using to = await databaseWith(table);
    await using instance = await startInstance({ source: from.url, target: to.url, rest: EAGER });
    await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1 }), WAIT);
    await execute(to.url, 'UPDATE big SET v = 0 WHERE id = 30001; DELETE FROM big WHERE id = 59000');
    await execute(from.url, 'UPDATE big SET v = v + 1 WHERE id = 30005');
    await vi.waitFor(() => expect(proof(instance)).toMatchObject({ confirmed: 1 }), WAIT);
    // Nobody has touched the last range: its turn comes with the sweep.
    expect((await readLastFindings(to.url, 'scenario', 10)).map(({ key, columns }) => [key, columns])).toEqual([[{ id: '30001' }, ['v']]]);
    await execute(from.url, 'UPDATE big SET v = v + 1 WHERE id = 59500');
    await vi.waitFor(() => expect(proof(instance)).toMatchObject({ confirmed: 2 }), WAIT);
    await execute(to.url, 'UPDATE big SET v = 30001 WHERE id = 30001; INSERT INTO big VALUES (59000, 59000)');
    await execute(from.url, 'UPDATE big SET v = v + 1 WHERE id IN (30005, 59500)');
    await vi.waitFor(() => expect(open(instance)).toBe(0), WAIT);
    await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1 }), WAIT);
  },
);

test('a change of a partition has its table looked at', { timeout: 240_000 }, async () => {
  await using from = await databaseWith(`CREATE TABLE event (id int8 PRIMARY KEY, v int4) PARTITION BY RANGE (id);
    CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (MINVALUE) TO (100); INSERT INTO event SELECT g, g FROM generate_series(1, 50) g`);
  await using to = await databaseWith('CREATE TABLE event (id int8 PRIMARY KEY, v int4)');
  await using instance = await startInstance({ source: from.url, target: to.url, rest: EAGER });
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1 }), WAIT);
  await execute(to.url, 'UPDATE event SET v = 0 WHERE id = 7');
  await execute(from.url, 'UPDATE event SET v = 1 WHERE id = 9');
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ confirmed: 1 }), WAIT);
  expect((await readLastFindings(to.url, 'scenario', 10)).map(({ key }) => key)).toEqual([{ id: '7' }]);
});

test('rows of two sources with one key in one target are told apart, and so are the halves of one row', { timeout: 240_000 }, async () => {
  await using from =
    await databaseWith(`CREATE SCHEMA eu; CREATE SCHEMA us; CREATE TABLE eu.item (id int4 PRIMARY KEY, v int4); CREATE TABLE us.item (id int4 PRIMARY KEY, v int4);
    CREATE TABLE account (id int4 PRIMARY KEY, email text NOT NULL); CREATE TABLE profile (id int4 PRIMARY KEY, nick text NOT NULL);
    INSERT INTO eu.item VALUES (7, 1); INSERT INTO us.item VALUES (7, 1); INSERT INTO account VALUES (7, 'a'); INSERT INTO profile VALUES (7, 'n')`);
  await using to = await databaseWith(
    'CREATE TABLE item (shard text, id int4, v int4, PRIMARY KEY (shard, id)); CREATE TABLE person (id int4 PRIMARY KEY, email text, nick text)',
  );
  const rest = EAGER.replace(
    '- from: public.*',
    ['eu', 'us']
      .map((shard) => `- { from: ${shard}.item, to: public.item, set: { shard: { value: ${shard} } } }`)
      .concat('- { from: public.account, to: public.person }', '- { from: public.profile, to: public.person }')
      .join('\n  '),
  );
  await using instance = await startInstance({ source: from.url, target: to.url, rest });
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1 }), WAIT);
  await execute(to.url, 'UPDATE item SET v = 0 WHERE id = 7; DELETE FROM person');
  const others = ['eu.item', 'us.item', 'account', 'profile'].map((table) => `INSERT INTO ${table} VALUES (8, '9')`);
  await execute(from.url, others.join(';'));
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ confirmed: 4 }), WAIT);
  const found = await readLastFindings(to.url, 'scenario', 10);
  expect(new Set(found.map(({ from: table, kind }) => `${table} ${kind}`))).toEqual(
    new Set(['eu.item different', 'us.item different', 'public.account missing', 'public.profile missing']),
  );
});

test('a note that arrives late takes nothing back', { timeout: 120_000 }, async () => {
  await using from = await databaseWith(SQL);
  await using to = await databaseWith(SQL);
  await using instance = await startInstance({ source: from.url, target: to.url, rest: EAGER });
  await vi.waitFor(() => expect(proof(instance)).toMatchObject({ proved: 1 }), WAIT);
  const early: DriftFinding = {
    id: 'one',
    from: 'public.customer',
    to: 'public.customer',
    key: { id: '1' },
    kind: 'missing',
    columns: [],
    rows: 1,
    state: 'repairing',
    steps: [{ state: 'repairing', atMs: 1, lsn: null }],
  };
  const late: DriftFinding = { ...early, state: 'verified', steps: [...early.steps, { state: 'verified', atMs: 2, lsn: '0/1' }] };
  for (const one of [late, early]) await saveRound(to.url, 'scenario', { findings: [one], comparisons: [] });
  expect(await readLastFindings(to.url, 'scenario', 10)).toMatchObject([{ id: 'one', state: 'verified' }]);
});
