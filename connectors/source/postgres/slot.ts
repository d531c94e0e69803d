/** The replication slot. Guarantee: nothing here moves a slot or drops one unless that is the function's name. */
import type pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import { clientConfig, queryRow, queryRows } from '#connectors/postgres/session.ts';
import pgModule from 'pg';

export interface SlotHealth {
  readonly active: boolean;
  readonly activePid: number | undefined;
  readonly plugin: string;
  readonly database: string;
  /** reserved · extended · unreserved · lost */
  readonly walStatus: string;
  readonly confirmedFlush: Lsn;
  readonly retainedBytes: number;
  /** Bytes that may still be written before the slot is in danger; undefined without max_slot_wal_keep_size. */
  readonly safeWalBytes: number | undefined;
}

export async function readSlot(client: pg.ClientBase, name: string): Promise<SlotHealth | undefined> {
  const row = await queryRow(
    client,
    `SELECT active, active_pid, plugin, database, coalesce(wal_status, 'reserved') AS wal_status, confirmed_flush_lsn,
            pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn) AS retained, safe_wal_size
       FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`,
    [name],
  );
  if (!row) return undefined;
  return {
    active: row['active'] === 't',
    activePid: row['active_pid'] ? Number(row['active_pid']) : undefined,
    plugin: row['plugin'] ?? '',
    database: row['database'] ?? '',
    walStatus: row['wal_status'] ?? 'reserved',
    confirmedFlush: parseLsn(row['confirmed_flush_lsn'] ?? '0/0'),
    retainedBytes: Number(row['retained'] ?? 0),
    safeWalBytes: row['safe_wal_size'] === null || row['safe_wal_size'] === undefined ? undefined : Number(row['safe_wal_size']),
  };
}

/**
 * Creates the slot; waits for every transaction now running on the server. Cancelled by closing the client.
 * Returns the consistent point: changes committed from there on are streamed.
 */
export async function createSlot(client: pg.ClientBase, name: string, failover: boolean): Promise<Lsn> {
  const sql = failover
    ? `SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)`
    : `SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')`;
  const row = await queryRow(client, sql, [name]);
  return parseLsn(row?.['lsn'] ?? '0/0');
}

export async function dropSlot(client: pg.ClientBase, name: string): Promise<void> {
  await client.query('SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1', [
    name,
  ]);
}

/** Transactions that slot creation has to wait for, oldest first; prepared ones, which have no session, wait for somebody to end them. */
export async function runningTransactions(client: pg.ClientBase, seconds = 0): Promise<string[]> {
  const rows = await queryRows(
    client,
    `SELECT pid, name, age(pg_catalog.clock_timestamp(), since)::text AS age FROM (
       SELECT pid::text AS pid, application_name AS name, xact_start AS since FROM pg_catalog.pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
        UNION ALL SELECT NULL, gid, prepared FROM pg_catalog.pg_prepared_xacts) AS running
      WHERE since <= pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1::float8) ORDER BY since LIMIT 10`,
    [String(seconds)],
  );
  return rows.map(({ pid, name, age }) => `${pid ? `pid ${pid} (${name || 'unnamed'})` : `prepared transaction ${name}`} for ${age}`);
}

/** What keeps this slot from being made, if it has run for a second. Nothing where the slot is there. */
export async function slotWaitsFor(client: pg.ClientBase, name: string): Promise<string[]> {
  const sql = 'SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn IS NOT NULL';
  return (await client.query(sql, [name])).rowCount === 1 ? [] : runningTransactions(client, 1);
}

/** True once every transaction that ran at `xid` (an earlier snapshot's xmax) has ended. */
export async function hasSettled(client: pg.ClientBase, xid: string): Promise<boolean> {
  const row = await queryRow(
    client,
    'SELECT (pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::numeric >= $1::numeric) AS settled',
    [xid],
  );
  return row?.['settled'] === 't';
}

/** Transactions at or above this begin later. */
export async function nextTransaction(client: pg.ClientBase): Promise<string> {
  const row = await queryRow(client, 'SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text AS xid');
  return row?.['xid'] ?? '0';
}

export interface SystemIdentity {
  readonly systemId: string;
  readonly timeline: number;
}

/** IDENTIFY_SYSTEM, and where this timeline forked off `since` when it is a later one. */
export async function identifySystem(url: string, since?: number): Promise<SystemIdentity & { readonly forkLsn?: Lsn }> {
  const config = { ...clientConfig(url, { applicationName: 'crossfade identify', role: 'source' }), replication: 'database' };
  const client = new pgModule.Client(config);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const row = await queryRow(client, 'IDENTIFY_SYSTEM');
    const systemId = row?.['systemid'] ?? '';
    const timeline = Number(row?.['timeline']);
    if (since === undefined || timeline <= since) return { systemId, timeline };
    const history = await queryRow(client, `TIMELINE_HISTORY ${timeline}`);
    return { systemId, timeline, forkLsn: forkOf(history?.['content'] ?? '', since) };
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    throw new PipelineError('CF-2001', `cannot identify the source: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** A timeline history file has a line per ancestor: `<timeline>\t<LSN where it was left>\t<reason>`. */
function forkOf(content: string, timeline: number): Lsn {
  const text = content.startsWith('\\x') ? Buffer.from(content.slice(2), 'hex').toString('utf8') : content;
  for (const line of text.split('\n')) {
    const [id, lsn] = line.trim().split(/\s+/);
    if (Number(id) === timeline && lsn) return parseLsn(lsn);
  }
  throw new PipelineError('CF-2005', `the source's history does not hold timeline ${timeline}, from which was read before`);
}
