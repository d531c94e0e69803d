/**
 * `crossfade.foreign_writes`: how many rows others than our sinks changed on the side that does not serve, by table. Guarantee: a transaction
 * counts once, however often it is read.
 */
import type pg from 'pg';
import { queryRows } from './session.ts';

export interface ForeignWrite {
  /** `schema.table`; a partition by its own name. */
  readonly table: string;
  readonly changes: number;
  readonly firstAt: string;
  readonly lastAt: string;
}

/** `name`: of the direction that reads that side. */
export async function countForeignWrites(
  client: pg.ClientBase,
  name: string,
  { commitLsn, changes }: { readonly commitLsn: string; readonly changes: ReadonlyMap<string, number> },
): Promise<void> {
  await client.query(
    `INSERT INTO crossfade.foreign_writes AS f (name, table_name, changes, last_lsn)
     SELECT $1, t, c, $2::pg_lsn FROM unnest($3::text[], $4::bigint[]) AS x (t, c)
     ON CONFLICT (name, table_name) DO UPDATE SET changes = f.changes + excluded.changes, last_lsn = excluded.last_lsn, last_at = clock_timestamp()
     WHERE f.last_lsn < excluded.last_lsn`,
    [name, commitLsn, [...changes.keys()], [...changes.values()].map(String)],
  );
}

const TIME = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** None where nobody has looked yet. */
export async function readForeignWrites(client: pg.ClientBase, name: string): Promise<readonly ForeignWrite[]> {
  if ((await client.query(`SELECT WHERE to_regclass('crossfade.foreign_writes') IS NOT NULL`)).rowCount === 0) return [];
  const rows = await queryRows(
    client,
    `SELECT table_name, changes::text AS changes, ${TIME('first_at')} AS first_at, ${TIME('last_at')} AS last_at
     FROM crossfade.foreign_writes WHERE name = $1 ORDER BY table_name`,
    [name],
  );
  return rows.map((row) => ({
    table: row['table_name']!,
    changes: Number(row['changes']),
    firstAt: row['first_at']!,
    lastAt: row['last_at']!,
  }));
}
