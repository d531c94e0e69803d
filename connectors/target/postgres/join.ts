/**
 * A target that is added to a running migration. Guarantee: in one transaction under the epoch it gets a position in the log and all its
 * tables wait for a re-copy; so there is no moment at which it would pass for one that has what lies below.
 */
import type { Position } from '#connectors/target/target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { PostgresTarget } from './open-target.ts';

export async function join({ client, progress }: PostgresTarget, { offset, lsn, commitTimeMs }: Position): Promise<void> {
  const { name, epoch } = progress;
  await client.query('BEGIN');
  try {
    const placed = await client.query(
      `UPDATE crossfade.progress SET mode = 'consistent', applied_lsn = $3, log_offset = $4, commit_time = to_timestamp($5::float8 / 1000),
         updated_at = clock_timestamp() WHERE name = $1 AND epoch = $2 AND mode = 'parallel'`,
      [name, String(epoch), formatLsn(lsn), String(offset), String(commitTimeMs)],
    );
    if (placed.rowCount !== 1) throw new PipelineError('CF-5005', `another sink has taken over migration ${name}`);
    await client.query(`UPDATE crossfade.table_progress SET state = 'copying', held_offset = 0, updated_at = now() WHERE name = $1`, [
      name,
    ]);
    failpoint('target.join');
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
