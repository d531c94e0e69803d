/**
 * Transactions that could hide. Guarantee: when `hidden` gives nothing at a moment after the slot was copied and before the snapshot
 * is taken, then every transaction that wrote the tables named and is invisible in that snapshot has a commit record (if any) at or
 * above the copy's start, so the copied slot streams it.
 *
 * Proof. Let C be the copy's start and x a transaction with a commit record below C, still invisible in the later snapshot. Its xid
 * was assigned before the copy, so it is below the xid that `horizon` took after it. It left the running list only after the snapshot
 * (visibility), and releases its locks after that (CommitTransaction: ProcArrayEndTransaction, then ResourceOwnerRelease; the same for
 * COMMIT PREPARED); so all through the time between it holds its transactionid lock and the ROW EXCLUSIVE (TRUNCATE: ACCESS
 * EXCLUSIVE) locks of every table it wrote, and pg_locks shows them. Hence x is among what `hidden` returns, unless it is cleared: a
 * backend seen idle in transaction, or waiting for a heavyweight lock, a sleep, its client or a data file, after the copy, is not
 * between its commit record and the end of its commit, so its commit record will be above C. A prepared transaction has no backend:
 * it is cleared when no session can be in a COMMIT PREPARED.
 */
import type pg from 'pg';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';

export interface HiddenTransaction {
  /** The top-level one, 64 bits wide. */
  readonly xid: bigint;
  /** Relations it may have written. */
  readonly relations: readonly number[];
  /** It is known to wait for a synchronous standby. */
  readonly waitsForStandby: boolean;
}

/** A transaction id above all that were assigned before this call. */
export async function horizon(client: pg.ClientBase): Promise<bigint> {
  const row = await queryRow(client, 'SELECT pg_current_xact_id()::text AS xid');
  return BigInt(row!['xid']!);
}

/** One row per transaction; a transaction with subtransactions holds several ids, of which the top one is the oldest. */
const WRITERS = `
SELECT x.virtualtransaction AS vxid, x.pid::text AS pid, string_agg(DISTINCT x.transactionid::text, ',') AS xids,
  string_agg(DISTINCT r.relation::text, ',') AS relations
FROM pg_locks x JOIN pg_locks r ON r.virtualtransaction = x.virtualtransaction AND r.pid IS NOT DISTINCT FROM x.pid
WHERE x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
  AND r.locktype = 'relation' AND r.granted AND r.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND r.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.relation = ANY($1::oid[])
GROUP BY 1, 2`;

/** Null columns where the role may not look: then nothing is cleared. */
const ACTIVITY = `SELECT pid::text, state, wait_event_type, wait_event FROM pg_stat_activity WHERE pid = ANY($1::int[])`;

/** @param limit What `horizon` gave. @param relations Leaves of the tables compared. */
export async function hidden(client: pg.ClientBase, limit: bigint, relations: readonly number[]): Promise<HiddenTransaction[]> {
  const writers = (await queryRows(client, WRITERS, [relations]))
    .map((row) => ({ row, xid: oldest(row['xids']!, limit) }))
    .filter(({ xid }) => xid < limit);
  if (writers.length === 0) return [];
  const prepared = writers.some(({ row }) => row['pid'] === null) && (await nobodyCommitsPrepared(client));
  const pids = writers.flatMap(({ row }) => (row['pid'] ? [Number(row['pid'])] : []));
  const activity = new Map((await queryRows(client, ACTIVITY, [pids])).map((row) => [row['pid'], row]));
  return writers
    .filter(({ row }) => (row['pid'] === null ? !prepared : !notCommitting(activity.get(row['pid']))))
    .map(({ row, xid }) => ({
      xid,
      relations: row['relations']!.split(',').map(Number),
      waitsForStandby: activity.get(row['pid'])?.['wait_event'] === 'SyncRep',
    }));
}

function oldest(xids: string, near: bigint): bigint {
  return xids.split(',').reduce(
    (least, text) => {
      const xid = widen(BigInt(text), near);
      return xid < least ? xid : least;
    },
    widen(BigInt(xids.split(',')[0]!), near),
  );
}

/** Of these transactions, those that are over and left nothing. */
export async function aborted(client: pg.ClientBase, xids: readonly bigint[]): Promise<ReadonlySet<bigint>> {
  const rows = await queryRows(
    client,
    `SELECT u.xid::text FROM unnest($1::text[]) AS u(xid) WHERE pg_xact_status(u.xid::xid8) = 'aborted'`,
    [xids.map(String)],
  );
  return new Set(rows.map((row) => BigInt(row['xid']!)));
}

const WORKING_WAITS: ReadonlySet<string> = new Set([
  'PgSleep',
  'ClientRead',
  'DataFileRead',
  'DataFileExtend',
  'DataFilePrefetch',
  'BufFileRead',
  'BufFileWrite',
]);

function notCommitting(activity: Record<string, string | null> | undefined): boolean {
  if (!activity) return false;
  if (activity['state']?.startsWith('idle in transaction')) return true;
  return activity['wait_event_type'] === 'Lock' || WORKING_WAITS.has(activity['wait_event'] ?? '');
}

/** COMMIT PREPARED runs on its own, never in a function; a text cut short by track_activity_query_size counts as one. */
const COMMITS_PREPARED = `
SELECT WHERE EXISTS (
  SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (
    backend_type LIKE 'logical replication%worker'
    OR backend_type = 'client backend' AND (
      state IS NULL OR state = 'disabled'
      OR state = 'active' AND (query ~* 'prepared' OR octet_length(query) + 4 >= pg_size_bytes(current_setting('track_activity_query_size'))))))`;

async function nobodyCommitsPrepared(client: pg.ClientBase): Promise<boolean> {
  return (await queryRows(client, COMMITS_PREPARED)).length === 0;
}

/** 64-bit transaction id of a 32-bit one that lies within 2^31 of `near`. */
export function widen(xid: bigint, near: bigint): bigint {
  return near + BigInt.asIntN(32, xid - near);
}
