/** The file's own schema steps: forward, back, and through SIGKILLs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { applySchemaSteps, readStepStates, rollBackSchemaSteps } from '#connectors/target/postgres/schema-steps.ts';
import type { SchemaStepEntry } from '#schemas/config/migration-file.ts';
import type { PipelineError } from '#schemas/errors.ts';
import type { Failpoint } from '#schemas/test-hooks.ts';
import { freshDatabase, type FreshDatabase } from '#test/support/postgres.ts';

let database: FreshDatabase;

beforeEach(async () => {
  database = await freshDatabase(18);
  await sql(
    'CREATE TABLE customer (id int PRIMARY KEY, name text); INSERT INTO customer SELECT g, g::text FROM generate_series(1, 1000) g',
  );
});

async function sql(text: string): Promise<Record<string, string | null>[]> {
  const client = await connect(database.url, { applicationName: 'test', role: 'target', settings: { search_path: 'public' } });
  const result = await client.query<Record<string, string | null>>(text);
  await client.end();
  return result.rows;
}

const COLUMN = `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'customer'::regclass AND attname = 'note' AND NOT attisdropped)`;
const column: SchemaStepEntry = {
  name: 'note',
  up: 'ALTER TABLE customer ADD COLUMN note text; CREATE TABLE made_with_note (n int)',
  down: 'ALTER TABLE customer DROP COLUMN note; DROP TABLE made_with_note',
  verify: COLUMN,
  transaction: true,
};
const index: SchemaStepEntry = {
  name: 'by_name',
  up: 'CREATE INDEX CONCURRENTLY customer_name ON customer (name)',
  down: 'DROP INDEX CONCURRENTLY IF EXISTS customer_name',
  verify: `SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('customer_name') AND indisvalid)`,
  transaction: false,
};
const broken: SchemaStepEntry = { name: 'broken', up: 'SELECT 1/0', down: 'SELECT', verify: 'SELECT false', transaction: true };

async function state(): Promise<Record<string, unknown>> {
  const client = await connect(database.url, { applicationName: 'test', role: 'target' });
  const states = await readStepStates(client, 'm', [column, index]);
  await client.end();
  const [there] = await sql(
    `SELECT (${COLUMN})::text AS note, (${index.verify})::text AS index, (to_regclass('customer_name') IS NOT NULL)::text AS any`,
  );
  return { note: states.get('note') ?? 'open', by_name: states.get('by_name') ?? 'open', ...there };
}
const DONE = { note: 'true', by_name: 'done', index: 'true', any: 'true' };
const OPEN = { note: 'false', by_name: 'open', index: 'false', any: 'false' };

async function failureOf(steps: readonly SchemaStepEntry[]): Promise<PipelineError> {
  return applySchemaSteps(database.url, 'm', steps).then(
    () => expect.unreachable('it must fail'),
    (error: unknown) => error as PipelineError,
  );
}

test('steps run in order, once, and back in reverse order', async () => {
  expect(await applySchemaSteps(database.url, 'm', [column, index])).toEqual({ done: ['note', 'by_name'], kept: [] });
  expect(await state()).toMatchObject(DONE);
  expect(await applySchemaSteps(database.url, 'm', [column, index])).toEqual({ done: [], kept: ['note', 'by_name'] });
  expect(await rollBackSchemaSteps(database.url, 'm', [column, index])).toEqual(['by_name', 'note']);
  expect(await state()).toMatchObject(OPEN);
  expect(await rollBackSchemaSteps(database.url, 'm', [column, index])).toEqual([]);
});

test('when a step fails, those of this run are undone in reverse order, and those of a complete run stay', async () => {
  expect(await failureOf([column, index, broken])).toMatchObject({
    code: 'CF-5011',
    message: 'schema step broken failed: division by zero; undone: by_name, note',
    details: { undone: ['by_name', 'note'] },
  });
  expect(await state()).toMatchObject(OPEN);
  await applySchemaSteps(database.url, 'm', [column]);
  expect((await failureOf([column, index, broken])).details['undone']).toEqual(['by_name']);
  expect(await state()).toMatchObject({ ...OPEN, note: 'true' });
});

test('a step is believed only when its query says so', async () => {
  const lying = { ...column, verify: 'SELECT false' };
  expect((await failureOf([lying])).message).toBe(
    'schema step note failed: it ran, but its query does not say that it is done; nothing else had been done',
  );
  expect(await state()).toMatchObject(OPEN);
  const stubborn = { ...column, down: 'SELECT' };
  expect((await failureOf([stubborn, broken])).message).toContain(
    'note could not be undone: its down ran, but its query still says that it is done',
  );
});

test('a step that ends its transaction by itself is told and undone whole, and one that empties the search path leaves it to itself', async () => {
  const script = { ...column, up: `BEGIN; ${column.up}; COMMIT; CREATE TABLE later (n int)`, down: `${column.down}; DROP TABLE later` };
  expect((await failureOf([index, script])).message).toMatch(
    /^schema step note failed: its text ends the transaction .*; undone: note, by_name$/,
  );
  expect(await state()).toMatchObject(OPEN);
  expect(await sql(`SELECT FROM pg_class WHERE relname IN ('later', 'made_with_note')`)).toEqual([]);
  const dumped = { ...column, up: `SELECT set_config('search_path', '', false); ALTER TABLE public.customer ADD COLUMN note text` };
  expect(await applySchemaSteps(database.url, 'm', [dumped, index])).toEqual({ done: ['note', 'by_name'], kept: [] });
});

test('a step that was changed after it was done, or undone by hand, is refused', async () => {
  await applySchemaSteps(database.url, 'm', [column]);
  expect((await failureOf([{ ...column, up: 'SELECT 1' }])).message).toBe(
    'schema step note was done by another text than the file has now',
  );
  await sql('ALTER TABLE customer DROP COLUMN note');
  expect((await failureOf([column])).message).toBe('schema step note is in the journal, but its query says that it is not done');
});

const root = join(import.meta.dirname, '..', '..');

/** Runs the steps in a process of its own, which kills itself at the point named. */
async function killedAt(point: Failpoint, work: 'applySchemaSteps' | 'rollBackSchemaSteps'): Promise<void> {
  const program = `import { installTestHooks } from '#schemas/test-hooks.ts';
    import * as steps from '#connectors/target/postgres/schema-steps.ts';
    installTestHooks({ onFailpoint: (point) => point === ${JSON.stringify(point)} && process.kill(process.pid, 'SIGKILL') });
    await steps.${work}(${JSON.stringify(database.url)}, 'm', ${JSON.stringify([column, index])});`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  // Its session's lock goes when the server has noticed.
  const left = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade schema' AND datname = current_database()`;
  await vi.waitFor(async () => expect(await sql(left)).toEqual([]), { timeout: 30_000, interval: 10 });
}

test.for(['step.begun', 'step.run'] as const)('killed at %s, the next run ends what it began', async (point) => {
  await killedAt(point, 'applySchemaSteps');
  expect(await applySchemaSteps(database.url, 'm', [column, index])).toEqual({ done: ['by_name'], kept: ['note'] });
  expect(await state()).toMatchObject(DONE);
});

test('killed while undoing, the next rollback goes on, and so does an apply', async () => {
  await applySchemaSteps(database.url, 'm', [column, index]);
  await killedAt('step.undone', 'rollBackSchemaSteps');
  expect(await state()).toMatchObject({ by_name: 'begun', index: 'false' });
  expect(await rollBackSchemaSteps(database.url, 'm', [column, index])).toEqual(['by_name', 'note']);
  expect(await state()).toMatchObject(OPEN);
  await applySchemaSteps(database.url, 'm', [column, index]);
  await killedAt('step.undone', 'rollBackSchemaSteps');
  expect(await applySchemaSteps(database.url, 'm', [column, index])).toEqual({ done: ['by_name'], kept: ['note'] });
  expect(await state()).toMatchObject(DONE);
});

test('an index that was left half built is built anew', async () => {
  await killedAt('step.begun', 'applySchemaSteps');
  // What a failed CREATE INDEX CONCURRENTLY leaves behind: an index that is there and not valid.
  await sql('CREATE INDEX customer_name ON customer (name)');
  await sql(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'customer_name'::regclass`);
  expect(await state()).toMatchObject({ by_name: 'begun', index: 'false', any: 'true' });
  await applySchemaSteps(database.url, 'm', [column, index]);
  expect(await state()).toMatchObject(DONE);
});

test('what was done when the process was killed is not done again', async () => {
  await killedAt('step.run', 'applySchemaSteps');
  const built = await sql(`SELECT to_regclass('customer_name')::oid::text AS oid`);
  await applySchemaSteps(database.url, 'm', [column, index]);
  expect(await sql(`SELECT to_regclass('customer_name')::oid::text AS oid`)).toEqual(built);
});

test('what a step without a transaction leaves behind when it fails is undone too', async () => {
  await sql('UPDATE customer SET name = 1 WHERE id = 2');
  const unique = { ...index, up: index.up.replace('CREATE INDEX', 'CREATE UNIQUE INDEX') };
  expect(await failureOf([column, unique])).toMatchObject({ code: 'CF-5011', details: { undone: ['by_name', 'note'] } });
  expect(await state()).toMatchObject(OPEN);
});

test('a run that was killed and then fails undoes also what it had done before it was killed', async () => {
  await killedAt('step.run', 'applySchemaSteps');
  expect((await failureOf([column, index, broken])).details['undone']).toEqual(['by_name', 'note']);
  expect(await state()).toMatchObject(OPEN);
});

test('run by a role with more rights, our tables stay those of the role that owns their schema', async () => {
  const role = `sink_${process.pid}`;
  await sql(`CREATE ROLE ${role}; CREATE SCHEMA crossfade AUTHORIZATION ${role}`);
  await applySchemaSteps(database.url, 'm', [column]);
  const owners = await sql(`SELECT DISTINCT tableowner AS owner FROM pg_tables WHERE schemaname = 'crossfade'`);
  expect(owners).toEqual([{ owner: role }]);
  expect(await sql(`SELECT tableowner AS owner FROM pg_tables WHERE tablename = 'made_with_note'`)).not.toEqual([{ owner: role }]);
  await sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
});

test('two at once: one of them is refused', async () => {
  const slow = { ...column, up: `SELECT pg_sleep(1); ${column.up}` };
  const runs = await Promise.allSettled([applySchemaSteps(database.url, 'm', [slow]), applySchemaSteps(database.url, 'm', [slow])]);
  const refused = runs.flatMap((run) => (run.status === 'rejected' ? [run.reason as PipelineError] : []));
  expect(refused.map(({ code }) => code)).toEqual(['CF-7003']);
});
