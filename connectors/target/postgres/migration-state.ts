/**
 * The state row of a migration, on the target. Guarantee: read as one moment has it; what is changed and the audit record of the change are one
 * transaction. Who may move the state is migration-lease.ts's.
 */
import type pg from 'pg';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import type { Details } from '#schemas/migration/audit-record.ts';
import type { Act, MigrationRow } from '#schemas/migration/migration-row.ts';
import type { MigrationState, Side } from '#schemas/migration/transitions.ts';
import { appendAudit } from './audit.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';

/** The commit that counts is on disk before it is told; nobody is waited for long. */
export const STATE_SETTINGS: Readonly<Record<string, string>> = {
  synchronous_commit: 'on',
  statement_timeout: '30000',
  lock_timeout: '5000',
};

/** Of the advisory lock that says whose session lives: (this, its process id). */
export const CONTROL_LOCK = 4_411_974;

const COLUMNS = `state, serves, epoch::text AS epoch, version::text AS version, reverse_wanted::text AS reverse_wanted, act::text AS act, reads::text AS reads,
  plan_hash, lease_holder, lease_backend::text AS lease_backend, audit_seq::text AS audit_seq, audit_hash,
  to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at,
  (lease_expires > pg_catalog.clock_timestamp())::text AS lease_runs,
  EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.classid = ${CONTROL_LOCK} AND l.objsubid = 2 AND l.granted
    AND l.objid = m.lease_backend AND l.pid = m.lease_backend
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))::text AS lease_lives`;

/** Undefined where no act was ever thought of: the source serves. @throws PipelineError CF-5001 */
export async function readState(url: string, name: string): Promise<MigrationRow | undefined> {
  const client = await connect(url, { applicationName: 'crossfade state', role: 'target', settings: STATE_SETTINGS });
  try {
    return await readStateRow(client, name);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** `lock`: nobody changes the row until the transaction ends. */
export async function readStateRow(client: pg.ClientBase, name: string, lock: 'lock' | 'look' = 'look'): Promise<MigrationRow | undefined> {
  if (lock === 'look' && (await client.query(`SELECT WHERE to_regclass('crossfade.migration') IS NOT NULL`)).rowCount === 0)
    return undefined;
  const sql = `SELECT ${COLUMNS} FROM crossfade.migration m WHERE name = $1${lock === 'lock' ? ' FOR NO KEY UPDATE' : ''}`;
  const row = await queryRow(client, sql, [name]);
  return row && rowOf(name, row);
}

function rowOf(name: string, row: Readonly<Record<string, string | null>>): MigrationRow {
  const holder = row['lease_holder'];
  const reads = row['reads'];
  return {
    name,
    state: row['state'] as MigrationState,
    serves: row['serves'] as Side,
    epoch: BigInt(row['epoch']!),
    version: BigInt(row['version']!),
    reverseWanted: row['reverse_wanted'] === 'true',
    act: row['act'] === null ? undefined : (JSON.parse(row['act']!) as Act),
    reads: reads === null || reads === undefined ? undefined : (JSON.parse(reads) as unknown),
    planHash: row['plan_hash'] ?? undefined,
    lease:
      holder === null || holder === undefined
        ? undefined
        : { holder, isHeld: row['lease_runs'] === 'true' && row['lease_lives'] === 'true' },
    auditHead: { seq: Number(row['audit_seq']), hash: row['audit_hash']! },
    updatedAt: row['updated_at']!,
  };
}

/** The row is there from now on, and so are our tables. @throws PipelineError CF-5002 */
export async function ensureState(client: pg.Client, name: string): Promise<void> {
  await ensureSchema(client);
  await client.query('INSERT INTO crossfade.migration (name) VALUES ($1) ON CONFLICT DO NOTHING', [name]);
}

/** One transaction, in which the row is locked: changes of one migration come one after the other. */
export async function inState<T>(client: pg.ClientBase, name: string, work: (row: MigrationRow) => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const row = await readStateRow(client, name, 'lock');
    const result = await work(row!);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** With a session of its own and the row there. */
export async function withState<T>(url: string, name: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(url, { applicationName: 'crossfade state', role: 'target', settings: STATE_SETTINGS });
  try {
    await ensureState(client, name);
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

export interface Noted {
  readonly actor: string;
  readonly event: string;
  readonly details?: Details;
}

/** A record of the audit trail that changes no state; anybody may write one. */
export async function noteAudit(url: string, name: string, noted: Noted): Promise<void> {
  await withState(url, name, async (client) => inState(client, name, async (row) => appendAudit(client, row, noted)));
}

export interface StateSettings {
  readonly reverseWanted?: boolean;
  /** JSON. */
  readonly reads?: unknown;
}

/** What people set beside the state, with a record of it. It needs no lease: no flip depends on it but by its gates. */
export async function changeSettings(url: string, name: string, settings: StateSettings, noted: Noted): Promise<void> {
  await withState(url, name, async (client) =>
    inState(client, name, async (row) => {
      await appendAudit(client, row, noted);
      if (settings.reverseWanted !== undefined) {
        await client.query('UPDATE crossfade.migration SET reverse_wanted = $2::boolean WHERE name = $1', [
          name,
          String(settings.reverseWanted),
        ]);
      }
      if (settings.reads !== undefined) {
        await client.query('UPDATE crossfade.migration SET reads = $2::jsonb WHERE name = $1', [name, JSON.stringify(settings.reads)]);
      }
    }),
  );
}
