/**
 * Gives a held table another chance. Guarantee: in one transaction under the epoch the target table is emptied (where the file keeps rows,
 * they stay: softly deleted until the copy brings them again, or as they are; on the way back, and wherever rows are merged into those that are there, they stay, too)
 * and the table marked as copying,
 * with no row set aside any more and its held position kept until `resumed` says that the re-copy is durable; a crash in between is found at the next start.
 * A table that applications write by a decision of this side's journal is never emptied, whoever asks.
 */
import type pg from 'pg';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { PipelineError } from '#schemas/errors.ts';
import { MESSAGE_PREFIX, originMessage } from '#schemas/frame/frame.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { keepsUnmarked, softDeleteOf } from '#schemas/mapping/kept-rows.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { PostgresTarget } from './open-target.ts';
import { PAIR, pairOf } from './progress.ts';
import { TableSql } from './statements.ts';
import { deleteAll, truncateTables } from './table-writer.ts';

/** No round may be under way on the target's own session. */
export async function emptyHeldTable(target: PostgresTarget, table: TableMapping): Promise<void> {
  const { client, progress } = target;
  const { name } = progress;
  await client.query('BEGIN');
  try {
    const guard = await client.query<{ epoch: string }>('SELECT epoch::text FROM crossfade.progress WHERE name = $1 FOR UPDATE', [name]);
    await client.query(`SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', $1)`, [originMessage(name)]);
    if (guard.rows[0] === undefined || BigInt(guard.rows[0].epoch) < progress.epoch) {
      throw new PipelineError('CF-5005', `another sink has taken over migration ${name}`);
    }
    await emptyTable(client, table);
    // Behind the table's lock: who was opened since has waited for it, or is seen.
    if (guarded('resume-serving') && (await isServing(client, name))) throw servedHere(table);
    await client.query(
      `UPDATE crossfade.table_progress SET state = 'copying', error = NULL, held_key = NULL, rows_copied = 0, held_offset = coalesce(held_offset, 0),
         updated_at = now() WHERE ${PAIR}`,
      [...pairOf(name, table)],
    );
    await client.query(`DELETE FROM crossfade.blocked WHERE ${PAIR} AND discarded_at IS NULL`, [...pairOf(name, table)]);
    await client.query('COMMIT');
    target.blocked.set(table, new Set());
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** The decision that opened this side is in its journal before anybody writes here. */
async function isServing(client: pg.Client, name: string): Promise<boolean> {
  const last = (await readJournalRows(client, name)).findLast(({ isVoid }) => !isVoid);
  return last?.serves === 'target';
}

function servedHere({ from, to }: Pick<TableMapping, 'from' | 'to'>): PipelineError {
  return new PipelineError(
    'CF-8002',
    `${showTable(from)} is held, and ${showTable(to)} is not emptied to be copied again: the target serves`,
    {
      remedy: 'Nothing needs it while the target serves. Run crossfade resume after a rollback.',
    },
  );
}

async function emptyTable(client: pg.Client, table: TableMapping): Promise<void> {
  const soft = softDeleteOf(table);
  if (keepsUnmarked(table) || table.existing === 'merge') return;
  if (soft !== undefined) {
    // Which of them the source deleted meanwhile the copy tells: it makes the others alive again.
    const sql = new TableSql(table, 0, undefined).deleteAllSoftly();
    await client.query(sql, [new Date().toISOString()]);
    return;
  }
  await client.query('SAVEPOINT emptied');
  try {
    for (const sql of truncateTables([table])) await client.query(sql);
  } catch {
    // Others refer to it, or the role lacks the privilege.
    await client.query('ROLLBACK TO emptied');
    await client.query(deleteAll(table));
  }
}

/** The re-copy of the table's rows is durable. */
export async function resumed(target: PostgresTarget, table: TableMapping): Promise<void> {
  await target.client.query(`UPDATE crossfade.table_progress SET held_offset = NULL, held_lsn = NULL WHERE ${PAIR} AND state <> 'held'`, [
    ...pairOf(target.progress.name, table),
  ]);
}
