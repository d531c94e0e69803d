/**
 * A target that has had every row before its log begins. Guarantee: in one transaction it gets the position where the log begins, and all its
 * tables are followed from there; what was recorded of an earlier log is gone with it, but for the epoch: who held the target then is not to hold it again.
 */
import type pg from 'pg';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';

/** Within a transaction of the caller's. */
export async function beginFilled(client: pg.ClientBase, { name, hash, tables }: CompiledMapping, lsn: Lsn): Promise<void> {
  const gone = await client.query<{ epoch: string }>('DELETE FROM crossfade.progress WHERE name = $1 RETURNING epoch::text AS epoch', [
    name,
  ]);
  await client.query('DELETE FROM crossfade.markers WHERE name = $1', [name]);
  await client.query(
    `INSERT INTO crossfade.progress (name, epoch, mode, applied_lsn, log_offset, commit_time, mapping_hash, instance)
     VALUES ($1, $4::bigint, 'consistent', $2, 0, clock_timestamp(), $3, '')`,
    [name, formatLsn(lsn), hash, gone.rows[0]?.epoch ?? '0'],
  );
  await client.query(
    `INSERT INTO crossfade.table_progress (name, source_schema, source_table, target_schema, target_table, state)
     SELECT $1, s, t, ts, tt, 'following' FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS x (s, t, ts, tt)`,
    [
      name,
      ...(['from', 'to'] as const).flatMap((side) => [tables.map((table) => table[side].schema), tables.map((table) => table[side].name)]),
    ],
  );
}
