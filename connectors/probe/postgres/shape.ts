/**
 * What a table is at one moment: its parts, files and columns. Guarantee: two equal fingerprints, one under a snapshot and one taken
 * later under a lock, mean that no TRUNCATE, rewrite, column change, attach or detach lies between them; a scan under that snapshot
 * and lock then sees the snapshot's rows (an older snapshot reads a rewritten or truncated table as empty).
 */
import type pg from 'pg';
import { queryRows } from '#connectors/postgres/session.ts';

export interface Shape {
  readonly oid: number;
  /** r ordinary · p partitioned. */
  readonly kind: string;
  /** Leaves of a partitioned table, or the table itself: the relations whose OIDs the stream names. */
  readonly leaves: readonly number[];
  readonly rowEstimate: number;
  /** Of the largest part, at its last ANALYZE or VACUUM. */
  readonly pages: number;
  readonly fingerprint: string;
  /** The same without the files: parts, kinds and columns. */
  readonly form: string;
}

const SHAPES = `
WITH RECURSIVE wanted AS (
  SELECT u.n, c.oid, c.oid AS root, c.relkind, c.relfilenode
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(schema, name, n)
  JOIN pg_namespace s ON s.nspname = u.schema JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = u.name AND c.relkind IN ('r', 'p')
), tree AS (
  SELECT n, oid, root, relkind, relfilenode FROM wanted
  UNION ALL
  SELECT t.n, c.oid, t.root, c.relkind, c.relfilenode
  FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid WHERE t.relkind = 'p'
)
SELECT t.n::text, t.root::text, t.oid::text, t.relkind::text AS kind, t.relfilenode::text AS file,
  greatest(c.reltuples, 0)::int8::text AS rows, greatest(c.relpages, 0)::text AS pages,
  (SELECT string_agg(concat_ws(':', a.attnum, quote_ident(a.attname), a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM tree t JOIN pg_class c ON c.oid = t.oid ORDER BY t.n, t.oid`;

/** One entry per table asked for; undefined where it does not exist. */
export async function readShapes(
  client: pg.ClientBase,
  tables: readonly { readonly schema: string; readonly name: string }[],
): Promise<(Shape | undefined)[]> {
  const rows = await queryRows(client, SHAPES, [tables.map((one) => one.schema), tables.map((one) => one.name)]);
  const byTable = Map.groupBy(rows, (row) => Number(row['n']));
  return tables.map((_, i) => {
    const parts = byTable.get(i + 1);
    return parts && shapeOf(parts);
  });
}

function shapeOf(parts: readonly Record<string, string | null>[]): Shape {
  const root = parts.find((part) => part['oid'] === part['root']) ?? parts[0];
  const leaves = parts.filter((part) => part['kind'] !== 'p');
  return {
    oid: Number(root?.['oid']),
    kind: root?.['kind'] ?? 'r',
    leaves: leaves.map((part) => Number(part['oid'])),
    rowEstimate: leaves.reduce((sum, part) => sum + Number(part['rows']), 0),
    pages: leaves.reduce((most, part) => Math.max(most, Number(part['pages'])), 0),
    fingerprint: parts.map((part) => `${part['oid']}/${part['kind']}/${part['file']}/${part['columns']}`).join(';'),
    form: parts.map((part) => `${part['oid']}/${part['kind']}/${part['columns']}`).join(';'),
  };
}
