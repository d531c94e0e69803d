/**
 * Takes one remnant away. Guarantee: done again it changes nothing; nothing of another migration goes with it, and no table is locked for longer than a
 * moment. What somebody uses is left, with who it is (CF-8502).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import { quoteIdent } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { otherMigrations, ownTables, pipelineNames, type RemnantPlace } from './read-remnants.ts';

/** DROP TRIGGER wants the table for itself: readers queue behind it, so it waits little, and comes again. */
const TRIGGER_LOCK_MS = 100;
const TRIGGER_TRIES = 30;
const TRIGGER_PAUSE_MS = 200;

/** @throws PipelineError CF-8502 */
export async function removeRemnant(place: RemnantPlace, remnant: Remnant): Promise<void> {
  const client = await connect(place.url, {
    applicationName: 'crossfade cleanup',
    role: place.side,
    settings: { lock_timeout: '5000', statement_timeout: '60000' },
  });
  try {
    await remove(client, place, remnant);
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    throw new PipelineError('CF-8502', `${remnant.kind} ${remnant.name} on the ${place.place} is left: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function remove(client: pg.Client, place: RemnantPlace, remnant: Remnant): Promise<void> {
  switch (remnant.kind) {
    case 'slot':
      await client.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [remnant.name]);
      return;
    case 'publication':
      await client.query(`DROP PUBLICATION IF EXISTS ${quoteIdent(remnant.name)}`);
      return;
    case 'trigger':
      await dropTrigger(client, remnant.name);
      return;
    case 'origin':
      await client.query('SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = $1', [remnant.name]);
      return;
    case 'rows':
      await deleteRows(client, place);
      return;
    case 'schema':
      await dropOwnSchema(client, place);
      return;
    case 'directory':
    case 'topics':
    case 'keys':
    case 'backup':
      throw new PipelineError('CF-8502', `${remnant.kind} ${remnant.name} is not in a database`);
  }
}

/** `named`: the trigger and its table, quoted, as read-remnants tells it. */
async function dropTrigger(client: pg.Client, named: string): Promise<void> {
  await client.query(`SET lock_timeout = ${TRIGGER_LOCK_MS}`);
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query(`DROP TRIGGER IF EXISTS ${named}`);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== '55P03' || attempt >= TRIGGER_TRIES) throw error;
      await delay(TRIGGER_PAUSE_MS);
    }
  }
}

/** What refers to a migration's progress goes with it. */
async function deleteRows(client: pg.Client, place: RemnantPlace): Promise<void> {
  const tables = await ownTables(client);
  await client.query('BEGIN');
  for (const table of tables)
    await client.query(`DELETE FROM crossfade.${quoteIdent(table)} WHERE name = ANY ($1::text[])`, [pipelineNames(place)]);
  await client.query('COMMIT');
}

async function dropOwnSchema(client: pg.Client, place: RemnantPlace): Promise<void> {
  await client.query('BEGIN');
  // Whoever begins a migration makes or brings up to date the schema under this lock.
  await client.query(`SELECT pg_advisory_xact_lock(hashtextextended('crossfade schema', 0))`);
  const others = guarded('cleanup-others') ? await otherMigrations(client, place) : [];
  if (others.length > 0) throw new PipelineError('CF-8502', `schema crossfade is left: ${others.join(', ')} has begun to use it`);
  if ((await client.query(`SELECT FROM pg_namespace WHERE nspname = 'crossfade'`)).rowCount === 0) return;
  const tables = await queryRows(
    client,
    `SELECT c.oid::regclass::text AS name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'crossfade' AND c.relkind IN ('r', 'p') AND NOT c.relispartition`,
  );
  const functions = await queryRows(
    client,
    `SELECT f.oid::regprocedure::text AS name FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = 'crossfade'`,
  );
  if (tables.length > 0) await client.query(`DROP TABLE ${tables.map((row) => row['name']).join(', ')}`);
  // Without CASCADE: a trigger of somebody's that calls one keeps it, and with it the schema.
  for (const row of functions) await client.query(`DROP FUNCTION ${row['name']}`);
  await client.query('DROP SCHEMA crossfade');
  await client.query('COMMIT');
}

/** Sessions of the migration's pipelines, in words; none: nothing of it runs against this database. `except`: our own. */
export async function pipelineSessions(place: RemnantPlace, except: readonly string[]): Promise<string[]> {
  const client = await connect(place.url, { applicationName: 'crossfade cleanup', role: place.side });
  try {
    const rows = await queryRows(
      client,
      `SELECT pid::text AS pid, application_name AS name FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> ALL ($2::text[])
          AND EXISTS (SELECT FROM unnest($1::text[]) AS p (n) WHERE application_name = left('crossfade ' || n, 63) OR starts_with(application_name, 'crossfade ' || n || ' '))
        ORDER BY 1`,
      [pipelineNames({ name: place.name }), except],
    );
    return rows.map((row) => `${row['name']} (process ${row['pid']})`);
  } finally {
    await client.end().catch(() => undefined);
  }
}
