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

/** No transaction may be open on the session. @returns false when the target has one that is as new: this one is not kept. */
export async function writeBookmark(client: pg.ClientBase, name: string, { offset, place }: Bookmark): Promise<boolean> {
  const { rowCount } = await client.query(
    `INSERT INTO crossfade.bookmark AS b (name, log_offset, bookmark) VALUES ($1, $2, $3)
     ON CONFLICT (name) DO UPDATE SET log_offset = excluded.log_offset, bookmark = excluded.bookmark, updated_at = now()
     WHERE b.log_offset < excluded.log_offset`,
    [name, String(offset), place],
  );
  return rowCount === 1;
}
