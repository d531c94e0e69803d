/**
 * Who keeps a lock from us. Guarantee: names sessions so that somebody can find them, and never the text of a query, which may hold values.
 */
import type pg from 'pg';
import { queryRows } from '#connectors/postgres/session.ts';

/** Those whom `pid` waits for; a prepared transaction has no session. */
export async function describeBlockers(client: pg.ClientBase, pid: string): Promise<readonly string[]> {
  const rows = await queryRows(
    client,
    `SELECT a.pid::text AS pid, a.application_name AS application, a.usename AS role, a.backend_type AS kind, a.state AS state,
            round(extract(epoch FROM clock_timestamp() - a.xact_start)::numeric, 1)::text AS age,
            to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"') AS since, b.pid AS blocker
       FROM unnest(pg_blocking_pids($1::int)) AS b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid`,
    [pid],
  );
  return [...new Set(rows.map(described))];
}

function described(row: Record<string, string | null>): string {
  if (row['blocker'] === '0') return 'a prepared transaction (see pg_prepared_xacts)';
  const name = row['application'] || row['kind'] || 'no application name';
  const age = row['age'] === null ? '' : `, in its transaction for ${row['age']} s`;
  const since = row['since'] === null ? '' : `, last query at ${row['since']}`;
  const state = row['state'] === null ? '' : `, ${row['state']}`;
  return `pid ${row['blocker']} (${name}, role ${row['role'] ?? 'unknown'}${state}${age}${since})`;
}
