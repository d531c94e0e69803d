/**
 * The end of a sink's right to write here, in a transaction of the caller's. Guarantee: from its COMMIT on nothing that a log still holds for this sink is applied,
 * whether it runs or is started again: its transactions look for the epoch first, and a new one needs a place, which only a beginning anew gives it.
 */
import type pg from 'pg';
import { queryRow } from '#connectors/postgres/session.ts';
import { sinkSessionName } from './open-target.ts';

/** How far it was. */
export interface GivenUp {
  readonly appliedLsn: string | null;
  readonly committedAt: string | null;
  /** See `leftBehind` of a forced rollback. */
  readonly gapLsn: string | null;
}

const SAID = `applied_lsn::text AS lsn, to_jsonb(p) ->> 'gap_lsn' AS gap, to_char(commit_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at`;

/** Changes nothing. */
export async function readPlace(client: pg.ClientBase, name: string): Promise<GivenUp> {
  return placeOf(await queryRow(client, `SELECT ${SAID} FROM crossfade.progress p WHERE name = $1`, [name]));
}

export async function giveUpPlace(client: pg.ClientBase, name: string): Promise<GivenUp> {
  // One that waits for a row which somebody has locked would keep its place from us for as long.
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = $1 AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()`,
    [sinkSessionName(name)],
  );
  const row = await queryRow(
    client,
    `UPDATE crossfade.progress AS p SET epoch = epoch + 1, mode = 'consistent', log_offset = NULL, updated_at = now() WHERE name = $1 RETURNING ${SAID}`,
    [name],
  );
  return placeOf(row);
}

function placeOf(row: Record<string, string | null> | undefined): GivenUp {
  return { appliedLsn: row?.['lsn'] ?? null, committedAt: row?.['at'] ?? null, gapLsn: row?.['gap'] ?? null };
}
