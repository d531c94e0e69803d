/** Testing one's mapping as its author does: recorded from real servers, then run from files alone. */
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { envelopeOf, runInProcess, type CommandRun } from '#test/support/command-line.ts';
import { freshDatabase, type FreshDatabase } from '#test/support/postgres.ts';

const SOURCE = `
  CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE TABLE person (id integer PRIMARY KEY, first_name text, last_name text NOT NULL, email text, st char(1) NOT NULL,
    cents integer NOT NULL, tenant integer NOT NULL, born date, mood mood, details jsonb, cardholder bigint, created timestamp NOT NULL);
  ALTER TABLE person REPLICA IDENTITY FULL;
  INSERT INTO person VALUES
    (1, 'Ada', 'Lovelace', 'ada@example.org', 'A', 1250, 7, '1815-12-10', 'ok', '{"town": "London", "n": 4711}', 1234567890123, '2026-01-02 03:04:05'),
    (2, 'José', 'Álvarez', NULL, 'S', -7, 7, NULL, NULL, NULL, NULL, '2026-06-02 03:04:05.678'),
    (3, 'Not', 'Ours', NULL, 'S', 1, 8, NULL, NULL, NULL, NULL, '2026-06-02 03:04:05')`;
const TARGET = `
  CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE TABLE customer (customer_id bigint PRIMARY KEY, name text, state text NOT NULL, balance numeric(12,2) NOT NULL, email text,
    born date, mood mood, town text, holder text, created_at timestamptz NOT NULL)`;
const FILE = `crossfade: 1
name: people
source: { postgres: "\${SOURCE_URL}" }
target: { postgres: "\${TARGET_URL}" }
tables:
  - from: public.person
    to: public.customer
    columns: { id: customer_id, created: { to: created_at, zone: Europe/Berlin }, cardholder: { to: holder, cast: text } }
    where: { tenant: 7 }
    drop: [tenant]
    set:
      name: { from: [first_name, last_name], steps: [{ concat: " " }] }
      state: { from: st, steps: [{ map: { values: { A: active, S: suspended } } }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] }
      town: { from: details, steps: [{ extract: /town }] }
`;
const REAL = ['Ada', 'Lovelace', 'ada@example.org', '1815-12-10', 'London', '4711', '1234567890123', 'José', 'Álvarez', 'lvarez'];

let source: FreshDatabase;
let target: FreshDatabase;

beforeAll(async () => {
  [source, target] = [await freshDatabase(18), await freshDatabase(18)];
  await Promise.all([sql(source, SOURCE), sql(target, TARGET)]);
});

async function sql(database: FreshDatabase, text: string): Promise<void> {
  const client = await connect(database.url, { applicationName: 'test', role: 'source', settings: { search_path: 'public' } });
  await client.query(text);
  await client.end();
}

async function folder(file = FILE): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-mapping-tests-'));
  await writeFile(join(directory, 'migration.yaml'), file);
  return directory;
}

async function withServers(directory: string, ...args: string[]): Promise<CommandRun> {
  return runInProcess([...args, '--json'], { directory, environment: { SOURCE_URL: source.url, TARGET_URL: target.url } });
}

/** Neither the servers nor their addresses. */
async function offline(directory: string, ...args: string[]): Promise<CommandRun> {
  return runInProcess(['test', ...args, '--json'], { directory });
}

test('rows are recorded in disguise, no real value of a personal column among them, and pass as tests without a server', async () => {
  const directory = await folder();
  const recorded = await withServers(directory, 'test', '--record', '10');
  expect(envelopeOf(recorded)).toMatchObject({ ok: true, result: { recorded: 2, tests: 'migration.tests.yaml' } });
  const text = await readFile(join(directory, 'migration.tests.yaml'), 'utf8');
  expect(REAL.filter((value) => text.includes(value))).toEqual([]);
  expect(text).toContain('state: "suspended"'); // what decides a row is kept
  expect(text).toMatch(/email: "[a-z]{3}@[a-z]{7}\.[a-z]{3}"/); // and the form of what is not
  const run = await offline(directory);
  expect(envelopeOf(run)).toMatchObject({ ok: true, result: { passed: 2, failed: 0 } });
});

test('the same rows are recorded once, and look the same in the next recording', async () => {
  const directory = await folder();
  await withServers(directory, 'test', '--record', '1');
  const once = await readFile(join(directory, 'migration.tests.yaml'), 'utf8');
  expect(envelopeOf(await withServers(directory, 'test', '--record', '1'))).toMatchObject({ result: { recorded: 0 } });
  expect(await readFile(join(directory, 'migration.tests.yaml'), 'utf8')).toBe(once);
  await withServers(directory, 'test', '--record', '2');
  expect((await readFile(join(directory, 'migration.tests.yaml'), 'utf8')).startsWith(once)).toBe(true);
});

test('check tells that the catalogues beside the file are old once a table has changed, and only then', async () => {
  const directory = await folder();
  await withServers(directory, 'test', '--record', '0');
  const old = (run: CommandRun): string[] =>
    envelopeOf(run)
      .findings.filter(({ code }) => code === 'CF-1010')
      .map(({ message }) => message);
  await sql(target, 'CREATE TABLE unrelated (a int); ANALYZE');
  expect(old(await withServers(directory, 'check'))).toEqual([]);
  await sql(target, 'ALTER TABLE customer ADD COLUMN more text');
  expect(old(await withServers(directory, 'check'))).toEqual(['migration.catalogue.json is out of date: public.customer (target)']);
  await sql(target, 'ALTER TABLE customer DROP COLUMN more');
});

test('without the catalogues it says how to get them: exit 2', async () => {
  const run = await offline(await folder());
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).error).toMatchObject({ code: 'CF-1010', remedy: expect.stringContaining('crossfade test --record 0') as string });
});

test('every fault of every test is told with its place, what was expected and what came: exit 1', async () => {
  const tests = `tests:
  - { from: public.person, given: { id: 1, tenant: 7, st: A, first_name: Ada, cents: 1250 }, expect: { name: Ada, state: active, balance: 12.5 } }
  - name: left out
    from: public.person
    given: { id: 1, tenant: 8, st: A, cents: 1 }
    expect: { customer_id: 1 }
  - { name: unknown state, from: public.person, given: { tenant: 7, st: X, cents: 1 }, error: none of the 2 }
  - { name: wrong error, from: public.person, given: { tenant: 7, st: X, cents: 1 }, error: CF-2001 }
  - { name: no error, from: public.person, given: { tenant: 7, st: A, cents: 1 }, error: CF-4002 }
  - { name: typo, from: public.person, given: { tenant: 7, st: A, cents: one, frist_name: a }, expect: none }
  - { name: many, from: public.person, given: { tenant: 7, st: S, cents: -5 }, expect: { state: active, balance: 0.05, nmae: x, town: null } }
  - { name: zone, from: public.person, given: { tenant: 7, st: S, cents: 0, created: 2026-07-01 12:00:00 }, expect: { created_at: 2026-07-01 10:00:00+00 } }
  - { name: nobody, from: public.persons, given: {}, expect: none }
`;
  const directory = await folder(FILE + tests);
  await withServers(directory, 'test', '--record', '0');
  const run = await offline(directory, '--seed', '1');
  expect(run.exitCode).toBe(1);
  const envelope = envelopeOf(run);
  expect(envelope).toMatchObject({ summary: '6 of 9 tests failed', error: { code: 'CF-4005' }, result: { passed: 3, seed: 1 } });
  expect(envelope.findings.map((one) => `${one.line}:${one.column} ${one.code} ${one.message}`)).toEqual([
    '21:5 CF-4005 left out: expected a row, got none: the row is left out',
    '23:93 CF-4005 wrong error: expected an error with "CF-2001", got CF-4002 column "state", step 1 (map): the value is none of the 2 that are listed',
    '24:90 CF-4005 no error: expected an error, got 1 row',
    '25:67 CF-4005 typo: "cents": "one" is no integer',
    '25:79 CF-1008 typo: public.person has no column "frist_name"; did you mean "first_name"?',
    '26:90 CF-4005 many: "state": expected "active", got "suspended"',
    '26:105 CF-4005 many: "balance": expected "0.05", got "-0.05"',
    '26:120 CF-4005 many: nothing goes to column "nmae" of public.customer; did you mean "name"?',
    '28:27 CF-1008 nobody: the file maps no table public.persons; did you mean "public.person"?',
  ]);
});

test('what does not come back is named with the reason, and all else comes back, on random rows', async () => {
  const directory = await folder();
  await withServers(directory, 'test', '--record', '2');
  const { result } = envelopeOf(await offline(directory)) as {
    result: { inverse: { kept: { column: string }[]; lost: object[]; rows: number }[] };
  };
  const [inverse] = result.inverse;
  expect(inverse?.kept.map(({ column }) => column)).toEqual(['id', 'email', 'st', 'cents', 'tenant', 'born', 'mood', 'cardholder']);
  expect(inverse?.lost).toEqual([
    { column: 'first_name', why: '"name": it is made of several columns' },
    { column: 'last_name', why: '"name": it is made of several columns' },
    { column: 'details', why: '"town": extract cannot be undone' },
    { column: 'created', why: '"created_at": a time zone is not undone at the hours that the clocks change' },
  ]);
  expect(inverse?.rows).toBeGreaterThan(100);
});
