/**
 * `crossfade.journal`, on either side. Guarantee: a row is never changed, so the first one of an epoch says what became of it; once
 * `settleEpoch` has answered, that answer is final, whatever an orchestrator that was thought dead still does.
 */
import type pg from 'pg';
import type { JournalRow } from '#schemas/migration/recovery.ts';
import type { Side } from '#schemas/migration/transitions.ts';

const COLUMNS = `epoch::text AS epoch, serves, marker, (details ->> 'void') AS void, (details ->> 'echo') AS echo,
  to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`;

/** Of the lowest epoch first; none where nothing ever stood. */
export async function readJournalRows(client: pg.ClientBase, name: string): Promise<JournalRow[]> {
  if ((await client.query(`SELECT WHERE to_regclass('crossfade.journal') IS NOT NULL`)).rowCount === 0) return [];
  const { rows } = await client.query<Record<string, string | null>>(
    `SELECT ${COLUMNS} FROM crossfade.journal WHERE name = $1 ORDER BY journal.epoch`,
    [name],
  );
  return rows.map((row) => ({
    epoch: BigInt(row['epoch']!),
    serves: row['serves'] as Side,
    marker: row['marker'] ?? null,
    isVoid: row['void'] === 'true',
    isEcho: row['echo'] === 'true',
    at: row['at']!,
  }));
}

/**
 * In the transaction that opens this side. @returns false where the epoch was made void here: the decision was lost on the other side, and somebody has backed
 * the act out since
 */
export async function echoDecision(
  client: pg.ClientBase,
  { name, epoch, serves }: { readonly name: string; readonly epoch: bigint; readonly serves: Side },
): Promise<boolean> {
  const written = await client.query(
    `INSERT INTO crossfade.journal (name, epoch, serves, details) VALUES ($1, $2::bigint, $3, '{"echo": true}') ON CONFLICT DO NOTHING`,
    [name, String(epoch), serves],
  );
  if (written.rowCount === 1) return true;
  return !(await readJournalRows(client, name)).some((row) => row.epoch === epoch && row.isVoid);
}

/**
 * Outside of a transaction, on the side that the epoch's act fences or, behind that, on the one that it opens. A fence transaction of that epoch that is still open is waited for (end its
 * session first: `endFenceSessions` of whoever opened it): either it has committed, and its row is what comes back, or it cannot any more.
 */
export async function settleEpoch(
  client: pg.ClientBase,
  { name, epoch, serves }: { readonly name: string; readonly epoch: bigint; readonly serves: Side },
): Promise<JournalRow> {
  await client.query(
    `INSERT INTO crossfade.journal (name, epoch, serves, details) VALUES ($1, $2::bigint, $3, '{"void": true}') ON CONFLICT DO NOTHING`,
    [name, String(epoch), serves],
  );
  const row = (await readJournalRows(client, name)).find((one) => one.epoch === epoch);
  return row!;
}
