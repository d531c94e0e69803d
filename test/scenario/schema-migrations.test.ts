/** Schema migration tools beside us: what their histories say, on tables as the tools make them. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import type { Envelope } from '#schemas/envelope.ts';
import { checkStage, type CheckStage } from '#test/support/check-stage.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';

const FLYWAY = `CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), description varchar(200) NOT NULL,
  type varchar(20) NOT NULL, script varchar(1000) NOT NULL, checksum int, installed_by varchar(100) NOT NULL,
  installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL, success boolean NOT NULL);
  INSERT INTO flyway_schema_history VALUES (1, '1', 'base', 'BASELINE', 'base', NULL, 'me', now(), 1, true),
    (2, '1.2', 'two', 'SQL', 'V1_2__two.sql', 1, 'me', now(), 1, true), (3, NULL, 'views', 'SQL', 'R__views.sql', 1, 'me', now(), 1, true);`;
const LIQUIBASE = `CREATE TABLE databasechangeloglock (id int PRIMARY KEY, locked boolean NOT NULL, lockgranted timestamp, lockedby varchar(255));
  INSERT INTO databasechangeloglock VALUES (1, false, NULL, NULL);`;
const PRISMA = `CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz,
  migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count int NOT NULL DEFAULT 0);
  INSERT INTO _prisma_migrations VALUES ('1', 'x', now(), '2026_init', NULL, NULL, now(), 1), ('2', 'x', NULL, '2026_gone', 'oops', now(), now(), 0);`;
const ATLAS = `CREATE SCHEMA atlas_schema_revisions; CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (version varchar PRIMARY KEY, description varchar NOT NULL,
  type bigint NOT NULL DEFAULT 2, applied bigint NOT NULL DEFAULT 0, total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL, execution_time bigint NOT NULL,
  error text, error_stmt text, hash varchar NOT NULL, partial_hashes jsonb, operator_version varchar NOT NULL);
  INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES ('.atlas_cloud_identifier', '', 2, 0, 0, now(), 0, NULL, NULL, '', NULL, ''),
    ('20260101', 'init', 2, 3, 3, now(), 0, NULL, NULL, '', NULL, '');`;
const PGROLL = `CREATE SCHEMA pgroll; CREATE TABLE pgroll.migrations (schema name NOT NULL, name text NOT NULL, migration jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), parent text, done boolean NOT NULL DEFAULT false,
  resulting_schema jsonb NOT NULL DEFAULT '{}', migration_type varchar(32) DEFAULT 'pgroll', PRIMARY KEY (schema, name));
  INSERT INTO pgroll.migrations (schema, name, migration, done) VALUES ('public', '01_init', '{}', true);`;
const GOLANG = `CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (3, false);`;
const DBMATE = `CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20260101'), ('20260102');`;
const NODE_PG = `CREATE TABLE pgmigrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL);
  INSERT INTO pgmigrations (name, run_on) VALUES ('1_init', now());`;
const DROP = `DROP TABLE IF EXISTS flyway_schema_history, databasechangeloglock, _prisma_migrations, schema_migrations, pgmigrations;
  DROP SCHEMA IF EXISTS atlas_schema_revisions, pgroll CASCADE;`;

let stage: CheckStage;
let plain = '';

beforeAll(async () => {
  stage = await checkStage({ version: 18, source: 'CREATE TABLE a (id int PRIMARY KEY)', tables: '  - from: public.a\n' });
  plain = await readFile(stage.path, 'utf8');
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(async () => {
  await stage.onTarget(DROP);
  await stage.onSource(DROP);
  await writeFile(stage.path, plain);
});

async function check(): Promise<{ readonly exitCode: number; readonly envelope: Envelope }> {
  const run = await runInProcess(['check', '-f', stage.path, '--json']);
  return { exitCode: run.exitCode, envelope: envelopeOf(run) };
}

async function told(declared = ''): Promise<{ readonly exitCode: number; readonly messages: string[] }> {
  await writeFile(stage.path, plain + declared);
  const { exitCode, envelope } = await check();
  return { exitCode, messages: envelope.findings.filter(({ code }) => code === 'CF-7008').map(({ message }) => message) };
}

async function folder(...files: string[]): Promise<void> {
  for (const file of files) {
    const path = join(dirname(stage.path), file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, '');
  }
}

interface Case {
  readonly tool: string;
  readonly history: string;
  readonly breaks: string;
  readonly says: string;
}

const CASES: readonly Case[] = [
  {
    tool: 'flyway',
    history: FLYWAY,
    breaks: `INSERT INTO flyway_schema_history VALUES (9, '3', 'x', 'SQL', 'V3__x.sql', 1, 'me', now(), 1, false)`,
    says: 'a schema migration failed on the target: V3__x.sql (flyway)',
  },
  {
    tool: 'liquibase',
    history: LIQUIBASE,
    breaks: `UPDATE databasechangeloglock SET locked = true, lockedby = 'ci', lockgranted = '2026-01-01'`,
    says: 'a schema migration is in progress on the target: lock of ci since 2026-01-01 00:00:00 (liquibase)',
  },
  {
    tool: 'prisma',
    history: PRISMA,
    breaks: `INSERT INTO _prisma_migrations VALUES ('3', 'x', NULL, '2026_bad', 'syntax error', NULL, now(), 0)`,
    says: 'a schema migration failed on the target: 2026_bad (prisma)',
  },
  {
    tool: 'atlas',
    history: ATLAS,
    breaks: `INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES ('20260102', 'x', 2, 1, 3, now(), 0, 'oops', 'ALTER', '', NULL, '')`,
    says: 'a schema migration failed on the target: 20260102 (atlas)',
  },
  {
    tool: 'pgroll',
    history: PGROLL,
    breaks: `INSERT INTO pgroll.migrations (schema, name, migration) VALUES ('public', '02_more', '{}')`,
    says: 'a schema migration is in progress on the target: 02_more (schema public), started and not completed (pgroll)',
  },
  {
    tool: 'golang-migrate',
    history: GOLANG,
    breaks: 'UPDATE schema_migrations SET dirty = true',
    says: 'a schema migration failed on the target: version 3 (dirty) (golang-migrate)',
  },
];

test.for(CASES)('$tool: nothing to say of a history in order; failed or half done, check and up refuse with exit 3', async (one) => {
  await stage.onTarget(one.history);
  expect((await told()).messages).toEqual([]);
  await stage.onTarget(one.breaks);
  expect(await told()).toEqual({ exitCode: 3, messages: [one.says] });
  expect((await told('schemaMigrations: { tool: none }\n')).messages).toEqual([]);
  await stage.onTarget(DROP);
  await stage.onSource(one.history + one.breaks);
  expect((await told()).messages).toEqual([one.says.replace('on the target', 'on the source')]);
});

test('up begins nothing while a migration is failed: no slot, no publication', async () => {
  await stage.onTarget(`${GOLANG} UPDATE schema_migrations SET dirty = true`);
  const run = await runInProcess(['up', '-f', stage.path, '--until', 'caught-up', '--port', '0', '--json']);
  expect({ exitCode: run.exitCode, code: envelopeOf(run).error?.code }).toEqual({ exitCode: 3, code: 'CF-7008' });
  const client = await connect(stage.sourceUrl, { applicationName: 'test', role: 'source' });
  const made = await client.query(
    `SELECT FROM pg_replication_slots WHERE slot_name = '${stage.name}' UNION ALL SELECT FROM pg_publication`,
  );
  expect(made.rowCount).toBe(0);
  await client.end();
});

test('node-pg-migrate: while its runner holds its lock', async () => {
  await stage.onTarget(NODE_PG);
  expect((await told()).messages).toEqual([]);
  const runner = await connect(stage.targetUrl, { applicationName: 'test', role: 'target' });
  await runner.query('SELECT pg_advisory_lock(7241865325823964)');
  expect((await told()).messages).toEqual([
    expect.stringMatching(/^a schema migration is in progress on the target: run of backend \d+ \(node-pg-migrate\)$/),
  ]);
  await runner.end();
});

test('tables of such names with other columns are no history', async () => {
  await stage.onTarget(
    'CREATE TABLE schema_migrations (a int); CREATE TABLE pgmigrations (dirty boolean); CREATE SCHEMA pgroll; CREATE TABLE pgroll.migrations (done boolean)',
  );
  expect((await told()).messages).toEqual([]);
});

interface Folder {
  readonly tool: string;
  readonly history: string;
  readonly files: readonly string[];
  readonly pending: readonly string[];
}

const FOLDERS: readonly Folder[] = [
  {
    tool: 'flyway',
    history: FLYWAY,
    files: [
      'V0_9__old.sql',
      'V1__base.sql',
      'V01.2__two.sql',
      'sub/V1.10__ten.sql',
      'R__views.sql',
      'R__new.sql',
      'U1_2__two.sql',
      'notes.txt',
    ],
    pending: ['R__new.sql', 'sub/V1.10__ten.sql'],
  },
  {
    tool: 'flyway',
    history: `${FLYWAY} INSERT INTO flyway_schema_history VALUES (4, '5', 'all', 'SQL_BASELINE', 'B5__all.sql', 1, 'me', now(), 1, true)`,
    files: ['V2__old.sql', 'V5__five.sql', 'B5__all.sql', 'V6__next.sql'],
    // R__new.sql is there from the case before.
    pending: ['R__new.sql', 'V6__next.sql'],
  },
  {
    tool: 'dbmate',
    history: DBMATE,
    files: ['20260101_a.sql', '20260102_b.sql', '20260103_c.sql', 'README.md'],
    pending: ['20260103_c.sql'],
  },
  { tool: 'node-pg-migrate', history: NODE_PG, files: ['1_init.js', '2_more.ts', '.hidden.js'], pending: ['2_more.ts'] },
  {
    tool: 'prisma',
    history: PRISMA,
    files: ['2026_init/migration.sql', '2026_gone/migration.sql', '2026_new/migration.sql', 'migration_lock.toml'],
    pending: ['2026_gone/migration.sql', '2026_new/migration.sql'],
  },
  { tool: 'atlas', history: ATLAS, files: ['20260101_init.sql', '20260105_next.sql', 'atlas.sum'], pending: ['20260105_next.sql'] },
  { tool: 'pgroll', history: PGROLL, files: ['01_init.yaml', '02_more.json'], pending: ['02_more.json'] },
  {
    tool: 'golang-migrate',
    history: GOLANG,
    files: ['000003_a.up.sql', '000003_a.down.sql', '000010_b.up.sql'],
    pending: ['000010_b.up.sql'],
  },
];

test.for(FOLDERS)('$tool: what the folder has and the history has not is pending', async ({ tool, history, files, pending }) => {
  await stage.onTarget(history);
  await folder(...files.map((file) => `${tool}/${file}`));
  const { exitCode, messages } = await told(`schemaMigrations: { tool: ${tool}, folder: ./${tool} }\n`);
  const what = pending.length === 1 ? '1 schema migration is' : `${pending.length} schema migrations are`;
  expect({ exitCode, messages }).toEqual({ exitCode: 3, messages: [`${what} pending on the target (${tool}): ${pending.join(', ')}`] });
});

test('a history in a place of its own is named; one that is not there is told', async () => {
  await stage.onTarget(`${FLYWAY} CREATE SCHEMA IF NOT EXISTS ops; DROP TABLE IF EXISTS ops.history; ALTER TABLE flyway_schema_history SET SCHEMA ops;
    ALTER TABLE ops.flyway_schema_history RENAME TO history; UPDATE ops.history SET success = false WHERE installed_rank = 2`);
  expect((await told('schemaMigrations: [{ tool: flyway, table: ops.history }]\n')).messages).toEqual([
    'a schema migration failed on the target: V1_2__two.sql (flyway)',
  ]);
  expect((await told('schemaMigrations: { tool: prisma }\n')).messages).toEqual([
    'the target has no history of prisma (_prisma_migrations)',
  ]);
});

test("the file's own steps: check refuses until crossfade schema has applied them", async () => {
  const steps = `schemaSteps:
  - name: note
    up: ALTER TABLE a ADD COLUMN note text
    down: ALTER TABLE a DROP COLUMN note
    verify: SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'a'::regclass AND attname = 'note' AND NOT attisdropped)
`;
  expect(await told(steps)).toEqual({ exitCode: 3, messages: ['1 of 1 schema steps are not done: note'] });
  const schema = async (action: string): Promise<unknown> =>
    envelopeOf(await runInProcess(['schema', action, '-f', stage.path, '--json'])).result;
  expect(await schema('status')).toEqual({ steps: [{ name: 'note', state: 'open' }] });
  expect(await schema('apply')).toEqual({ done: ['note'], kept: [] });
  expect((await told(steps)).messages).toEqual([]);
  expect(await schema('status')).toEqual({ steps: [{ name: 'note', state: 'done' }] });
  expect(await schema('rollback')).toEqual({ undone: ['note'] });
  expect((await runInProcess(['schema', 'applied', '-f', stage.path])).exitCode).toBe(2);
});

test('a wrong entry is told at its place', async () => {
  const entries = `schemaMigrations: { tool: flywya }\nschemaSteps:\n  - { name: a, up: x, down: y }\n  - { name: b c, up: x, down: y, verify: z }\n`;
  await writeFile(stage.path, plain + entries);
  const { envelope } = await check();
  const lines = plain.split('\n').length;
  expect(envelope.findings.map(({ line, message }) => `${line! - lines} ${message}`)).toEqual([
    '0 "schemaMigrations.tool": expected flyway, liquibase, dbmate, node-pg-migrate, prisma, atlas, pgroll, golang-migrate or none; did you mean "flyway"?',
    '2 "schemaSteps[0].verify" is missing; expected SQL',
    '3 "schemaSteps[1].name": expected a name of letters, digits, underscores, dots and hyphens',
  ]);
});
