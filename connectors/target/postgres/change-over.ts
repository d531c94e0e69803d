/**
 * From parallel to consistent. Guarantee: in one transaction the epoch is raised (no lane of before can commit any more), the applied LSN
 * appears, and the one position takes the place of the tables'.
 */
import type { ChangeOverNews, Position } from '#connectors/target/target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { PostgresTarget } from './open-target.ts';

/** @returns the new epoch. */
export async function changeOver(target: PostgresTarget, position: Position, news: ChangeOverNews): Promise<bigint> {
  const { client } = target;
  const { markers, source } = news;
  const { name, epoch } = target.progress;
  await client.query('BEGIN');
  try {
    const result = await client.query<{ epoch: string }>(
      `UPDATE crossfade.progress SET epoch = epoch + 1, mode = 'consistent', applied_lsn = $3, log_offset = $4,
         commit_time = to_timestamp($5::float8 / 1000), system_id = $6, timeline = $7, updated_at = clock_timestamp()
       WHERE name = $1 AND epoch = $2 AND mode = 'parallel' RETURNING epoch::text`,
      [
        name,
        String(epoch),
        formatLsn(position.lsn),
        String(position.offset),
        String(position.commitTimeMs),
        source?.systemId ?? null,
        source?.timeline ?? null,
      ],
    );
    const row = result.rows[0];
    if (row === undefined) throw new PipelineError('CF-5005', `another sink has taken over migration ${name}`);
    for (const id of markers) {
      await client.query('INSERT INTO crossfade.markers (name, id, lsn) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [
        name,
        id,
        formatLsn(position.lsn),
      ]);
    }
    failpoint('changeover');
    await client.query('COMMIT');
    return BigInt(row.epoch);
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
