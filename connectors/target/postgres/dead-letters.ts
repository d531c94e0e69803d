/**
 * Rows set aside, as an operator sees and settles them. Guarantee: read from crossfade.blocked alone, so no instance has to run; a discard
 * is recorded with who and why, and raises `blocked_version` under the progress row's lock, so that no round of a running sink that
 * commits after it still goes by the list of before.
 */
import type pg from 'pg';
import type { BlockedCause } from './blocked-rows.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';

export interface DeadLetter {
  readonly id: string;
  /** `schema.table` on the source and on the target. */
  readonly from: string;
  readonly to: string;
  readonly source: { readonly schema: string; readonly table: string };
  readonly target: { readonly schema: string; readonly table: string };
  /** Texts in the order of the table's key. */
  readonly key: readonly string[];
  readonly cause: BlockedCause;
  /** The target's; of a row that could not be mapped our own code, CF-NNNN. */
  readonly sqlState: string;
  readonly message: string;
  readonly constraint: string | null;
  /** By target column; null for a delete, or when they are larger than what is kept. */
  readonly values: Readonly<Record<string, string | null>> | null;
  readonly valuesBytes: number;
  readonly isDelete: boolean;
  /** End of the source commit that the row was applied up to. */
  readonly lsn: string;
  readonly logOffset: number;
  readonly lastLsn: string;
  /** Later changes that wait with it; those of one round count once. */
  readonly queued: number;
  readonly attempts: number;
  readonly published: boolean;
  readonly firstAt: string;
  readonly lastAt: string;
  readonly discarded: { readonly at: string; readonly by: string; readonly reason: string } | null;
}

const EXISTS = "SELECT WHERE to_regclass('crossfade.blocked') IS NOT NULL";
const UTC = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

async function hasTable(client: pg.ClientBase): Promise<boolean> {
  return (await queryRow(client, EXISTS)) !== undefined;
}

/** Keys that are blocked: while there is one, no gate of a cut-over may open. */
export async function countBlocked(client: pg.ClientBase, name: string): Promise<number> {
  if (!(await hasTable(client))) return 0;
  const row = await queryRow(client, 'SELECT count(*)::text AS count FROM crossfade.blocked WHERE name = $1 AND discarded_at IS NULL', [
    name,
  ]);
  return Number(row!['count']);
}

export interface DeadLetterFilter {
  readonly ids?: readonly string[];
  readonly discarded?: boolean;
  readonly unpublished?: boolean;
  readonly limit?: number;
}

/** The oldest first. */
export async function readDeadLetters(client: pg.ClientBase, name: string, filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
  if (!(await hasTable(client))) return [];
  const rows = await queryRows(
    client,
    `SELECT id::text, source_schema, source_table, target_schema, target_table, key::text AS key, cause, sql_state, message, constraint_name,
       row_values::text AS row_values, row_bytes::text AS row_bytes, is_delete::text AS is_delete, lsn::text AS lsn, log_offset::text AS log_offset,
       last_lsn::text AS last_lsn, queued::text AS queued, attempts::text AS attempts, published::text AS published,
       ${UTC('first_at')} AS first_at, ${UTC('last_at')} AS last_at, ${UTC('discarded_at')} AS discarded_at, discarded_by, discard_reason
     FROM crossfade.blocked
     WHERE name = $1 AND ($2::bigint[] IS NULL OR id = ANY ($2::bigint[])) AND ($3::boolean OR discarded_at IS NULL) AND NOT ($4::boolean AND published)
     ORDER BY id LIMIT $5`,
    [name, filter.ids === undefined ? null : [...filter.ids], filter.discarded ?? false, filter.unpublished ?? false, filter.limit ?? null],
  );
  return rows.map(letterOf);
}

function letterOf(row: Readonly<Record<string, string | null>>): DeadLetter {
  const source = { schema: row['source_schema']!, table: row['source_table']! };
  const target = { schema: row['target_schema']!, table: row['target_table']! };
  const at = row['discarded_at'];
  return {
    id: row['id']!,
    from: `${source.schema}.${source.table}`,
    to: `${target.schema}.${target.table}`,
    source,
    target,
    key: JSON.parse(row['key']!) as string[],
    cause: row['cause'] as DeadLetter['cause'],
    sqlState: row['sql_state']!,
    message: row['message']!,
    constraint: row['constraint_name'] ?? null,
    values: row['row_values'] ? (JSON.parse(row['row_values']) as Record<string, string | null>) : null,
    valuesBytes: Number(row['row_bytes']),
    isDelete: row['is_delete'] === 'true',
    lsn: row['lsn']!,
    logOffset: Number(row['log_offset']),
    lastLsn: row['last_lsn']!,
    queued: Number(row['queued']),
    attempts: Number(row['attempts']),
    published: row['published'] === 'true',
    firstAt: row['first_at']!,
    lastAt: row['last_at']!,
    discarded: at ? { at, by: row['discarded_by'] ?? '', reason: row['discard_reason'] ?? '' } : null,
  };
}

/** @returns the ids that were open and are discarded now. */
export async function discardDeadLetters(
  client: pg.ClientBase,
  name: string,
  { ids, by, reason }: { readonly ids: readonly string[]; readonly by: string; readonly reason: string },
): Promise<string[]> {
  await client.query('BEGIN');
  try {
    // First: it waits for the round that is being committed, and the next one sees it.
    await client.query('UPDATE crossfade.progress SET blocked_version = blocked_version + 1 WHERE name = $1', [name]);
    const rows = await queryRows(
      client,
      `UPDATE crossfade.blocked SET discarded_at = now(), discarded_by = $3, discard_reason = $4
       WHERE name = $1 AND id = ANY ($2::bigint[]) AND discarded_at IS NULL RETURNING id::text`,
      [name, [...ids], by, reason],
    );
    await client.query('COMMIT');
    return rows.map((row) => row['id']!);
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Attempts tell a row that was refused again since from the one that was published. */
export async function markPublished(client: pg.ClientBase, letters: readonly Pick<DeadLetter, 'id' | 'attempts'>[]): Promise<void> {
  await client.query(
    `UPDATE crossfade.blocked b SET published = true FROM unnest($1::bigint[], $2::int[]) AS p (id, attempts) WHERE b.id = p.id AND b.attempts = p.attempts`,
    [letters.map(({ id }) => id), letters.map(({ attempts }) => attempts)],
  );
}
