/**
 * Where reading of the log can begin again, kept on the target beside the progress. Guarantee: never moves back; whoever wrote it, it is
 * true of the log, so it needs no transaction of the rows.
 */
import type pg from 'pg';
import type { Bookmark } from '#schemas/bookmark.ts';

export async function readBookmark(client: pg.ClientBase, name: string): Promise<Bookmark | undefined> {
  const result = await client.query<{ log_offset: string; bookmark: string }>(
    'SELECT log_offset::text, bookmark::text FROM crossfade.bookmark WHERE name = $1',
    [name],
  );
  const row = result.rows[0];
  return row && { offset: Number(row.log_offset), place: row.bookmark };
}

/**
 * No transaction may be open on the session. On the target's disk once it resolves, and with it every commit before it, whatever the session
 * says of its other commits: what lies below a bookmark is removed from the log.
 * @returns false when the target has one that is as new: this one is not kept.
 */
export async function writeBookmark(client: pg.ClientBase, name: string, { offset, place }: Bookmark): Promise<boolean> {
  const { rowCount } = await client.query(
    `WITH durable AS (
       SELECT CASE current_setting('synchronous_commit')
         WHEN 'off' THEN set_config('synchronous_commit', 'local', true) END
     )
     INSERT INTO crossfade.bookmark AS b (name, log_offset, bookmark) SELECT $1, $2::bigint, $3::jsonb FROM durable
     ON CONFLICT (name) DO UPDATE SET log_offset = excluded.log_offset, bookmark = excluded.bookmark, updated_at = now()
     WHERE b.log_offset < excluded.log_offset`,
    [name, String(offset), place],
  );
  return rowCount === 1;
}
