/**
 * Tables of which deleted rows stay on the target, and what SQL says they must be. Guarantee: triggers keep the last version of every row
 * that goes, in its own transaction, so the server itself tells when that was committed (track_commit_timestamp).
 */
import { execute } from '#test/support/application.ts';

export const KEPT_SETTINGS: Readonly<Record<string, string>> = { track_commit_timestamp: 'on' };

/** `item` has a filter, `note` is marked by time alone and keeps the default identity, rows of `entry` stay as they are. */
export const KEPT_SOURCE: string = `
  CREATE TABLE item (id int PRIMARY KEY, kind text NOT NULL, body text, n int NOT NULL);
  ALTER TABLE item REPLICA IDENTITY FULL;
  CREATE TABLE note (id int PRIMARY KEY, body text, n int NOT NULL);
  CREATE TABLE entry (id int PRIMARY KEY, body text);
  CREATE TABLE gone (seq bigint GENERATED ALWAYS AS IDENTITY, name text, id int, row jsonb);
  CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'DELETE' OR OLD.id <> NEW.id OR to_jsonb(NEW)->>'kind' = 'draft' THEN
      IF to_jsonb(OLD)->>'kind' IS DISTINCT FROM 'draft' THEN
        INSERT INTO gone (name, id, row) VALUES (TG_TABLE_NAME, OLD.id, to_jsonb(OLD));
      END IF;
    END IF;
    RETURN NULL; END $$;
  CREATE FUNCTION keep_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO gone (name, id, row) SELECT 'note', id, to_jsonb(note) FROM note;
    RETURN NULL; END $$;
  CREATE TRIGGER keep AFTER UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION keep();
  CREATE TRIGGER keep AFTER UPDATE OR DELETE ON note FOR EACH ROW EXECUTE FUNCTION keep();
  CREATE TRIGGER keep AFTER UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION keep();
  CREATE TRIGGER keep_all BEFORE TRUNCATE ON note EXECUTE FUNCTION keep_all();
  INSERT INTO item SELECT g, CASE WHEN g % 5 = 0 THEN 'draft' ELSE 'live' END, md5(g::text), 0 FROM generate_series(1, 3000) g;
  INSERT INTO note SELECT g, md5(g::text), 0 FROM generate_series(1, 3000) g;
  INSERT INTO entry SELECT g, md5(g::text) FROM generate_series(1, 500) g`;

export const KEPT_TARGET: string = `
  CREATE TABLE item (id int PRIMARY KEY, kind text NOT NULL, body text, n int NOT NULL, state text NOT NULL, deleted_at timestamptz);
  CREATE TABLE note (id int PRIMARY KEY, body text, n int NOT NULL, deleted_at timestamp);
  CREATE TABLE entry (id int PRIMARY KEY, body text)`;

export const KEPT_TABLES: string = `tables:
  - from: public.item
    where: { kind: { not: draft } }
    deletes: { soft: { column: state, value: removed, alive: active, at: deleted_at } }
  - from: public.note
    deletes: { soft: { at: deleted_at } }
  - from: public.entry
    deletes: ignore
`;

export function keptTruncates(round: number): boolean {
  return round % 12 === 11;
}

/** Each one a transaction. Bodies are long enough to be left out of updates that do not change them. */
export function keptChanges(round: number): string[] {
  const long = "(SELECT string_agg(md5(g::text || random()::text), '') FROM generate_series(1, 90) g)";
  return [
    `INSERT INTO item SELECT 4000 + ${round} * 4 + g, 'live', ${long}, 0 FROM generate_series(1, 4) g`,
    `UPDATE item SET n = n + 1 WHERE id % 37 = ${round % 37}`,
    `UPDATE item SET kind = CASE kind WHEN 'draft' THEN 'live' ELSE 'draft' END, n = n + 1 WHERE id % 29 = ${round % 29}`,
    `DELETE FROM item WHERE id % 31 = ${round % 31}`,
    `INSERT INTO item SELECT g, 'live', 'again', 0 FROM generate_series(1, 3000) g WHERE g % 62 = ${(round + 20) % 62} ON CONFLICT DO NOTHING`,
    `UPDATE item SET id = id + 100000 WHERE id = (SELECT min(id) FROM item WHERE id > ${(round * 97) % 2900} AND id < 3000)`,
    `INSERT INTO note SELECT g, ${long}, 0 FROM generate_series(${5000 + round * 3}, ${5002 + round * 3}) g`,
    `BEGIN; INSERT INTO note VALUES (${20_000 + round}, 'short-lived', 1); UPDATE note SET n = 2 WHERE id = ${20_000 + round};
      DELETE FROM note WHERE id >= ${20_000 + round - (round % 2)}; COMMIT`,
    `UPDATE note SET n = n + 1 WHERE id % 23 = ${round % 23}`,
    `DELETE FROM note WHERE id % 41 = ${round % 41}`,
    `UPDATE note SET id = id + 100000 WHERE id = (SELECT min(id) FROM note WHERE id > ${5000 + round})`,
    `INSERT INTO note SELECT g, NULL, 7 FROM generate_series(1, 200) g WHERE g % 11 = ${round % 11} ON CONFLICT DO NOTHING`,
    ...(keptTruncates(round) ? ['BEGIN; TRUNCATE note; INSERT INTO note SELECT g, NULL, 1 FROM generate_series(1, 50) g; COMMIT'] : []),
    `BEGIN; DELETE FROM entry WHERE id % 17 = ${round % 17}; INSERT INTO entry VALUES (${600 + round}, 'new'); COMMIT`,
    `INSERT INTO entry SELECT g, 'again' FROM generate_series(1, 500) g WHERE g % 34 = ${(round + 9) % 34} ON CONFLICT DO NOTHING`,
  ];
}

export interface KeptRow {
  readonly id: string;
  readonly row: string;
  /** Null: it lives. */
  readonly at: string | null;
}

const UTC = (time: string): string => `to_char(${time}, 'YYYY-MM-DD HH24:MI:SS.US')`;

/** What each row has to be: those that live, and of each other one the last version and when it went. */
export async function keptRows(source: string, table: 'item' | 'note' | 'entry'): Promise<KeptRow[]> {
  const lives = table === 'item' ? `WHERE kind <> 'draft'` : '';
  const sql = `WITH alive AS (SELECT id, to_jsonb(t) AS row FROM ${table} t ${lives}),
      dead AS (SELECT DISTINCT ON (id) id, row, ${UTC(`pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC'`)} AS at
        FROM gone WHERE name = '${table}' AND id NOT IN (SELECT id FROM alive) ORDER BY id, seq DESC)
    SELECT id, row::text AS row, NULL AS at FROM alive UNION ALL SELECT id, row::text, at FROM dead ORDER BY id`;
  return (await execute(source, sql)) as unknown as KeptRow[];
}

/** What each row is. Rows of `entry` bear no mark. */
export async function foundRows(target: string, table: 'item' | 'note' | 'entry'): Promise<KeptRow[]> {
  const at = { item: UTC(`deleted_at AT TIME ZONE 'UTC'`), note: UTC('deleted_at'), entry: 'NULL' }[table];
  const marks = table === 'item' ? ` AND (state = 'removed') = (deleted_at IS NOT NULL) AND state IN ('removed', 'active')` : '';
  const sql = `SELECT id, (to_jsonb(t) - 'state' - 'deleted_at')::text AS row, ${at} AS at FROM ${table} t WHERE true${marks} ORDER BY id`;
  return (await execute(target, sql)) as unknown as KeptRow[];
}

/** A row that went while its table was being copied may never have reached the target: it may lack, when it went before `since`. */
export function withoutUnseen(expected: readonly KeptRow[], found: readonly KeptRow[], since: string): KeptRow[] {
  const there = new Set(found.map(({ id }) => id));
  return expected.filter(({ id, at }) => there.has(id) || at === null || at >= since);
}

export async function nowAt(source: string): Promise<string> {
  const [row] = await execute(source, `SELECT ${UTC(`clock_timestamp() AT TIME ZONE 'UTC'`)} AS now`);
  return row!['now']!;
}
