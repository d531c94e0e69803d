/**
 * What knows a table by more than its name, and would be left behind when another one takes that name. Guarantee: only catalogues are read; each thing is
 * named with the table that it is about.
 *
 * Plans, functions with a body in text and prepared statements are not here: they find the other table by themselves (docs/rename-swap.md).
 */
import type pg from 'pg';
import type { TableName } from '#connectors/fence/fence.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { quoteTable } from '#schemas/table.ts';

export interface SwappedPair {
  /** Loses its name. */
  readonly leaving: TableName;
  /** Gets it. */
  readonly coming: TableName;
}

export interface LeftByNames {
  /** In words. */
  readonly dependents: readonly string[];
  /** SQL that gives the one that comes what the other one grants. */
  readonly grants: readonly string[];
  /** Tables of which a column has another type or place from then on. */
  readonly otherColumns: readonly string[];
  /** Triggers of applications that the one that comes does not have. */
  readonly otherTriggers: readonly string[];
}

/** $1, $2: both tables of each pair. Partitions count as their root. */
const PAIRS = `
  pair AS (SELECT l.name::regclass::oid AS leaving, c.name::regclass::oid AS coming
             FROM unnest($1::text[]) WITH ORDINALITY AS l (name, i) JOIN unnest($2::text[]) WITH ORDINALITY AS c (name, i) USING (i)),
  member AS (SELECT p.leaving AS root, p.leaving AS oid FROM pair p
             UNION SELECT p.leaving, t.relid FROM pair p, LATERAL pg_partition_tree(p.leaving) AS t)`;

const DEPENDENTS = `
  WITH ${PAIRS}
  SELECT what FROM (
    SELECT DISTINCT m.root, format('%s %s reads %s', CASE v.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'a rule on' END,
                    v.oid::regclass, m.oid::regclass) AS what
      FROM member m JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = m.oid AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
     WHERE v.oid NOT IN (SELECT oid FROM member)
    UNION ALL
    SELECT m.root, format('a rule on %s', m.oid::regclass) FROM member m JOIN pg_rewrite r ON r.ev_class = m.oid
    UNION ALL
    SELECT DISTINCT m.root, format('foreign key %s of %s refers to %s', f.conname, f.conrelid::regclass, m.oid::regclass)
      FROM member m JOIN pg_constraint f ON f.contype = 'f' AND f.confrelid = m.oid
     WHERE f.conparentid = 0 AND f.conrelid NOT IN (SELECT oid FROM member)
    UNION ALL
    SELECT m.root, format('table %s inherits from %s', i.inhrelid::regclass, m.oid::regclass)
      FROM member m JOIN pg_inherits i ON i.inhparent = m.oid JOIN pg_class c ON c.oid = i.inhrelid WHERE NOT c.relispartition
    UNION ALL
    SELECT m.root, format('table %s is a part of %s', m.oid::regclass, i.inhparent::regclass)
      FROM member m JOIN pg_inherits i ON i.inhrelid = m.oid WHERE m.oid = m.root
    UNION ALL
    SELECT DISTINCT m.root, format('publication %s has %s', p.pubname, m.oid::regclass)
      FROM member m JOIN pg_publication_rel r ON r.prrelid = m.oid JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname <> ALL ($3::text[])
    UNION ALL
    SELECT 0::oid, format('publication %s has all tables', p.pubname) FROM pg_publication p WHERE p.puballtables AND p.pubname = ANY ($3::text[])
    UNION ALL
    SELECT DISTINCT m.root, format('function %s has %s in its body or its types', d.objid::regprocedure, m.oid::regclass)
      FROM member m JOIN pg_class c ON c.oid = m.oid JOIN pg_depend d ON d.classid = 'pg_proc'::regclass
       AND ((d.refclassid = 'pg_class'::regclass AND d.refobjid = m.oid) OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (c.reltype, (SELECT typarray FROM pg_type WHERE oid = c.reltype))))
    UNION ALL
    SELECT DISTINCT m.root, format('column %s of %s is of the row type of %s', a.attname, a.attrelid::regclass, m.oid::regclass)
      FROM member m JOIN pg_class c ON c.oid = m.oid JOIN pg_type t ON t.oid = c.reltype JOIN pg_attribute a ON a.atttypid IN (t.oid, t.typarray) AND a.attnum > 0
    UNION ALL
    SELECT p.leaving, format('%s has row security that %s has not, or other policies', p.leaving::regclass, p.coming::regclass)
      FROM pair p JOIN pg_class l ON l.oid = p.leaving JOIN pg_class c ON c.oid = p.coming
     WHERE (l.relrowsecurity, l.relforcerowsecurity) IS DISTINCT FROM (c.relrowsecurity, c.relforcerowsecurity)
        OR (l.relrowsecurity AND (SELECT array_agg((polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))::text ORDER BY polname) FROM pg_policy WHERE polrelid = l.oid)
           IS DISTINCT FROM (SELECT array_agg((polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid))
    UNION ALL
    SELECT p.leaving, format('%s belongs to %s, and %s to %s', p.leaving::regclass, l.relowner::regrole, p.coming::regclass, c.relowner::regrole)
      FROM pair p JOIN pg_class l ON l.oid = p.leaving JOIN pg_class c ON c.oid = p.coming WHERE l.relowner <> c.relowner
  ) AS found ORDER BY what COLLATE "C"`;

const GRANTS = `
  WITH ${PAIRS}, role AS (SELECT oid, quote_ident(rolname) AS name FROM pg_roles UNION ALL SELECT 0, 'PUBLIC'),
  given AS (
    SELECT p.coming, NULL::text AS col, a.grantee, a.privilege_type, a.is_grantable FROM pair p JOIN pg_class l ON l.oid = p.leaving, LATERAL aclexplode(l.relacl) AS a
    UNION
    SELECT p.coming, t.attname, a.grantee, a.privilege_type, a.is_grantable FROM pair p JOIN pg_attribute t ON t.attrelid = p.leaving, LATERAL aclexplode(t.attacl) AS a
  ), has AS (
    SELECT p.coming, NULL::text AS col, a.grantee, a.privilege_type, a.is_grantable
      FROM pair p JOIN pg_class c ON c.oid = p.coming, LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
    UNION
    SELECT p.coming, t.attname, a.grantee, a.privilege_type, a.is_grantable FROM pair p JOIN pg_attribute t ON t.attrelid = p.coming, LATERAL aclexplode(t.attacl) AS a
  )
  SELECT format('GRANT %s%s ON %s TO %s%s;', g.privilege_type, ' (' || quote_ident(g.col) || ')', g.coming::regclass, r.name,
                CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END) AS grant
    FROM given g JOIN role r ON r.oid = g.grantee
   WHERE NOT EXISTS (SELECT FROM has h WHERE h.coming = g.coming AND h.grantee = g.grantee AND h.privilege_type = g.privilege_type
                        AND (h.col IS NULL OR h.col = g.col) AND (h.is_grantable OR NOT g.is_grantable))
  UNION
  SELECT format('GRANT USAGE ON SEQUENCE %s TO %s;', s.oid::regclass, r.name)
    FROM given g JOIN role r ON r.oid = g.grantee
    JOIN pg_attrdef f ON f.adrelid = g.coming JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
   WHERE g.privilege_type = 'INSERT' AND CASE WHEN g.grantee = 0 THEN NOT EXISTS (SELECT FROM aclexplode(s.relacl) AS a WHERE a.grantee = 0 AND a.privilege_type = 'USAGE')
                                              ELSE NOT has_sequence_privilege(g.grantee, s.oid, 'USAGE') END
   ORDER BY 1`;

const COLUMNS = `
  WITH ${PAIRS}, shape AS (
    SELECT attrelid, array_agg(format('%s %s %s', attname, format_type(atttypid, atttypmod), attcollation) ORDER BY attnum) AS columns FROM pg_attribute
     WHERE attnum > 0 AND NOT attisdropped AND attrelid IN (SELECT leaving FROM pair UNION SELECT coming FROM pair) GROUP BY attrelid)
  SELECT p.leaving::regclass::text AS name FROM pair p JOIN shape l ON l.attrelid = p.leaving JOIN shape c ON c.attrelid = p.coming
   WHERE l.columns <> c.columns ORDER BY 1`;

const OTHER_TRIGGERS = `
  WITH ${PAIRS}
  SELECT format('%s of %s', t.tgname, p.leaving::regclass) AS name FROM pair p JOIN pg_trigger t ON t.tgrelid = p.leaving AND NOT t.tgisinternal
    JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace
   WHERE n.nspname <> 'crossfade' AND NOT EXISTS (SELECT FROM pg_trigger o WHERE o.tgrelid = p.coming AND o.tgname = t.tgname) ORDER BY 1`;

/** @param name of the migration */
export async function leftByNames(client: pg.ClientBase, name: string, pairs: readonly SwappedPair[]): Promise<LeftByNames> {
  const tables = [pairs.map(({ leaving }) => quoteTable(leaving)), pairs.map(({ coming }) => quoteTable(coming))];
  const dependents = await queryRows(client, DEPENDENTS, [...tables, [name, reverseName(name)]]);
  const grants = await queryRows(client, GRANTS, tables);
  const columns = await queryRows(client, COLUMNS, tables);
  const triggers = await queryRows(client, OTHER_TRIGGERS, tables);
  return {
    dependents: dependents.map(({ what }) => what!),
    grants: grants.map((row) => row['grant']!),
    otherColumns: columns.map((row) => row['name']!),
    otherTriggers: triggers.map((row) => row['name']!),
  };
}

export interface RenamedTable {
  readonly from: TableName;
  readonly to: TableName;
  /** Loses its name: moved before those that get one. */
  readonly isLeaving: boolean;
}

const OCCUPIED = `
  WITH moved AS (
    SELECT c.oid, c.relname, n.nspname, m.* FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[]) AS m (name, to_schema, to_name, leaving)
      JOIN pg_class c ON c.oid = m.name::regclass JOIN pg_namespace n ON n.oid = c.relnamespace
  ), own AS (
    SELECT m.oid AS root, m.oid FROM moved m UNION SELECT m.oid, i.indexrelid FROM moved m JOIN pg_index i ON i.indrelid = m.oid
    UNION SELECT m.oid, d.objid FROM moved m JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                 AND d.refobjid = m.oid AND d.deptype IN ('a', 'i') JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('S', 'i', 'I')
  ), wanted AS (
    SELECT own.oid, m.to_schema AS schema, c.relname AS name, m.leaving
      FROM moved m JOIN own ON own.root = m.oid JOIN pg_class c ON c.oid = own.oid WHERE m.to_schema <> m.nspname
    UNION SELECT m.oid, m.to_schema, m.to_name, m.leaving FROM moved m WHERE m.to_name <> m.relname
  )
  SELECT DISTINCT o.oid::regclass::text AS name
    FROM wanted w JOIN pg_class o ON o.relname = w.name AND o.oid <> w.oid JOIN pg_namespace n ON n.oid = o.relnamespace AND n.nspname = w.schema
   WHERE w.leaving OR NOT EXISTS (SELECT FROM own JOIN moved m ON m.oid = own.root
                                   WHERE own.oid = o.oid AND m.leaving AND (m.to_schema <> m.nspname OR o.oid = m.oid AND m.to_name <> m.relname))
   ORDER BY 1`;

/** Relations that already have the names which tables of a swap, and what goes along with them, get; but for those that give theirs away before. */
export async function occupiedNames(client: pg.ClientBase, moves: readonly RenamedTable[]): Promise<string[]> {
  const rows = await queryRows(client, OCCUPIED, [
    moves.map(({ from }) => quoteTable(from)),
    moves.map(({ to }) => to.schema),
    moves.map(({ to }) => to.name),
    moves.map(({ isLeaving }) => isLeaving),
  ]);
  return rows.map((row) => row['name']!);
}

/** Of one server, and of one start of it. */
export async function databaseIdentity(client: pg.ClientBase): Promise<string> {
  const [row] = await queryRows(
    client,
    `SELECT oid::text || ' ' || pg_postmaster_start_time()::text AS id FROM pg_database WHERE datname = current_database()`,
  );
  return row!['id']!;
}
