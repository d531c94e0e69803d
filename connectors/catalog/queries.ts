/**
 * The queries that read a catalogue. Guarantee: set-based (a fixed number of queries for any number of tables), plain catalogue
 * reads that any role may do, and no lock that waits: sizes are asked only of tables that nobody holds exclusively.
 *
 * Each gives one JSON text per row, so that the client's type parsers cannot change a value. `$1` is an array of schema names or
 * NULL for all user schemas. The session's search_path must be pg_catalog: type names then come out with their schema.
 */

const USER_SCHEMA = `n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'crossfade') AND ($1::text[] IS NULL OR n.nspname = ANY ($1::text[]))`;

function json(body: string): string {
  return `SELECT pg_catalog.to_json(q)::text AS j FROM (${body}) q`;
}

/** `$1` is unused but keeps all queries alike. */
export const SERVER_QUERY: string = json(`
  SELECT pg_catalog.current_setting('server_version_num')::int AS "serverVersion",
         pg_catalog.current_setting('search_path') AS "searchPath",
         d.datname AS database, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collation,
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata) AS "largeObjects",
         (SELECT pg_catalog.json_agg(n.nspname ORDER BY n.nspname) FROM pg_catalog.pg_namespace n WHERE ${USER_SCHEMA}) AS schemas,
         (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', e.extname, 'schema', n.nspname, 'version', e.extversion) ORDER BY e.extname)
            FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace) AS extensions,
         (SELECT pg_catalog.json_agg(s.typname || ' to ' || t.typname)
            FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type s ON s.oid = c.castsource JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
           WHERE s.typnamespace = 'pg_catalog'::regnamespace AND t.typnamespace = 'pg_catalog'::regnamespace) AS casts
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`);

/** Tables, partitioned roots and their leaves; `root` is the OID of a partition's topmost parent. */
export const RELATION_QUERY: string = json(`
  WITH locked AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
     WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
  SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relispartition AS partition,
         c.relreplident AS "replicaIdentity", c.relpersistence = 'u' AS unlogged, c.relrowsecurity AS "rowSecurity",
         c.relfilenode::bigint AS relfilenode, c.reltuples AS tuples, c.relpages AS pages,
         CASE WHEN k.relation IS NULL THEN pg_catalog.pg_relation_size(c.oid) ELSE c.relpages * 8192::bigint END AS "heapBytes",
         CASE WHEN k.relation IS NULL THEN pg_catalog.pg_table_size(c.oid) ELSE c.relpages * 8192::bigint END AS bytes,
         pg_catalog.pg_stat_get_live_tuples(c.oid) AS "liveTuples",
         CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid::bigint END AS root,
         CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS "partitionKey",
         (c.relhassubclass AND c.relkind = 'r') AS "hasChildren",
         e.extname AS extension
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN locked k ON k.relation = c.oid
    LEFT JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid AND x.objsubid = 0
                                    AND x.deptype = 'e' AND x.refclassid = 'pg_catalog.pg_extension'::regclass
    LEFT JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND ${USER_SCHEMA}
   ORDER BY n.nspname, c.relname`);

/** Columns of tables that are no partitions. */
export const COLUMN_QUERY: string = json(`
  WITH RECURSIVE domain (oid, base, typmod) AS (
      SELECT t.oid, t.typbasetype, t.typtypmod FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
      UNION ALL
      SELECT d.oid, t.typbasetype, CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE d.typmod END
        FROM domain d JOIN pg_catalog.pg_type t ON t.oid = d.base WHERE t.typtype = 'd'
  ), bottom AS (
      SELECT d.oid, pg_catalog.json_strip_nulls(pg_catalog.json_build_object('typeOid', b.oid::bigint, 'typmod', d.typmod, 'typtype', b.typtype,
             'type', pg_catalog.format_type(b.oid, d.typmod), 'baseType', pg_catalog.format_type(b.oid, -1),
             'builtin', b.typnamespace = 'pg_catalog'::regnamespace, 'elementOid', COALESCE(e.oid::bigint, 0), 'typeName', COALESCE(e.typname, b.typname),
             'delimiter', NULLIF(e.typdelim, ','),
             'extension', (SELECT x.extname FROM pg_catalog.pg_depend y JOIN pg_catalog.pg_extension x ON x.oid = y.refobjid
                            WHERE y.classid = 'pg_catalog.pg_type'::regclass AND y.objid = COALESCE(e.oid, b.oid) AND y.objsubid = 0 AND y.deptype = 'e'))) AS base
        FROM domain d JOIN pg_catalog.pg_type b ON b.oid = d.base LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND e.typarray = b.oid
       WHERE b.typtype <> 'd'
  ), owned AS (
      SELECT DISTINCT x.refobjid, x.refobjsubid FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_class s ON s.oid = x.objid AND s.relkind = 'S'
       WHERE x.classid = 'pg_catalog.pg_class'::regclass AND x.refclassid = 'pg_catalog.pg_class'::regclass AND x.deptype IN ('a', 'i')
  )
  SELECT a.attrelid::bigint AS "table", a.attname AS name, a.atttypid::bigint AS "typeOid", a.atttypmod AS typmod,
         pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, pg_catalog.format_type(a.atttypid, -1) AS "baseType",
         t.typtype AS typtype, t.typnamespace = 'pg_catalog'::regnamespace AS builtin,
         COALESCE(et.oid::bigint, 0) AS "elementOid", NULLIF(et.typdelim, ',') AS delimiter,
         a.attnotnull AS "notNull", CASE WHEN a.attndims > 1 THEN a.attndims END AS dimensions, a.attgenerated AS generated, a.attidentity AS identity,
         a.atthasdef AND a.attgenerated = '' AS "hasDefault", t.typlen AS "typeLength",
         e.extname AS extension, COALESCE(et.typname, t.typname) AS "typeName",
         b.base AS "domainBase",
         pg_catalog.pg_get_expr(f.adbin, f.adrelid) AS "defaultSql", (o.refobjid IS NOT NULL) AS "ownsSequence",
         CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0
              THEN pg_catalog.format('%I.%I', cn.nspname, co.collname) END AS collation
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_type et ON et.oid = t.typelem AND et.typarray = t.oid
    LEFT JOIN bottom b ON b.oid = t.oid
    LEFT JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_type'::regclass AND x.objid = COALESCE(et.oid, t.oid) AND x.objsubid = 0
                                    AND x.deptype = 'e' AND x.refclassid = 'pg_catalog.pg_extension'::regclass
    LEFT JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
    LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
    LEFT JOIN owned o ON o.refobjid = a.attrelid AND o.refobjsubid = a.attnum
    LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
    LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
   WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition AND ${USER_SCHEMA}
   ORDER BY a.attrelid, a.attnum`);

/** Unique indexes that can identify a row: whole table, plain columns, checked at once. */
export const INDEX_QUERY: string = json(`
  SELECT i.indrelid::bigint AS "table", ic.relname AS name, i.indisprimary AS "primary", i.indisreplident AS "replicaIdentity",
         k.columns, k.nullable, NOT k.exact AS inexact
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
      SELECT pg_catalog.json_agg(a.attname ORDER BY u.ord) AS columns, pg_catalog.bool_or(NOT a.attnotnull) AS nullable,
             pg_catalog.bool_and(COALESCE(co.collisdeterministic, true)) AS exact
        FROM ROWS FROM (pg_catalog.unnest(i.indkey::int2[]), pg_catalog.unnest(i.indcollation::oid[])) WITH ORDINALITY AS u (attnum, coll, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
        LEFT JOIN pg_catalog.pg_collation co ON co.oid = u.coll
       WHERE u.ord <= i.indnkeyatts) k
   WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
     AND c.relpersistence <> 't' AND (k.exact OR i.indisprimary OR i.indisreplident) AND ${USER_SCHEMA}
   ORDER BY i.indrelid, ic.relname`);

/** Foreign keys and checks, not those that partitions inherit. */
export const CONSTRAINT_QUERY: string = json(`
  SELECT k.conrelid::bigint AS "table", k.conname AS name, k.contype AS type, k.condeferrable AS deferrable,
         pg_catalog.pg_get_constraintdef(k.oid) AS definition, tn.nspname AS "toSchema", tc.relname AS "toTable",
         (SELECT pg_catalog.json_agg(a.attname ORDER BY u.ord) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u (attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS columns,
         (SELECT pg_catalog.json_agg(a.attname ORDER BY u.ord) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u (attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum) AS "toColumns"
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class tc ON tc.oid = k.confrelid
    LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
   WHERE k.contype IN ('f', 'c') AND k.conparentid = 0 AND NOT c.relispartition AND c.relpersistence <> 't' AND ${USER_SCHEMA}
   ORDER BY k.conrelid, k.conname`);

/** A fence's triggers are left out: they let our sinks pass. */
export const TRIGGER_QUERY: string = json(`
  SELECT t.tgrelid::bigint AS "table", t.tgname AS name, t.tgenabled IN ('A', 'R') AS always
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
   WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND NOT c.relispartition AND c.relkind IN ('r', 'p') AND f.nspname <> 'crossfade' AND ${USER_SCHEMA}
   ORDER BY t.tgrelid, t.tgname`);

export const TYPE_QUERY: string = json(`
  SELECT t.oid::bigint AS oid, n.nspname AS schema, t.typname AS name, t.typtype AS kind, e.extname AS extension,
         COALESCE((SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid), '[]') AS labels,
         COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
                     FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS attributes,
         CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod)
                        WHEN 'r' THEN pg_catalog.format_type(g.rngsubtype, -1) END AS base,
         (SELECT pg_catalog.format('%I.%I', cn.nspname, co.collname)
            FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
           WHERE co.oid = COALESCE(g.rngcollation, t.typcollation)
             AND co.oid <> (SELECT b.typcollation FROM pg_catalog.pg_type b WHERE b.oid = COALESCE(g.rngsubtype, t.typbasetype))) AS collation,
         t.typnotnull AS "notNull", t.typdefault AS "defaultSql",
         COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname, 'definition', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.conname)
                     FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), '[]') AS checks
    FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    LEFT JOIN pg_catalog.pg_range g ON g.rngtypid = t.oid
    LEFT JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_type'::regclass AND x.objid = t.oid AND x.deptype = 'e'
                                    AND x.refclassid = 'pg_catalog.pg_extension'::regclass
    LEFT JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
   WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND ${USER_SCHEMA}
   ORDER BY t.oid`);

export const SEQUENCE_QUERY: string = json(`
  SELECT n.nspname AS schema, c.relname AS name,
         CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid)::text END AS "lastValue",
         CASE WHEN oc.oid IS NOT NULL THEN pg_catalog.json_build_object('schema', o.nspname, 'table', oc.relname, 'column', oa.attname) END AS owner
    FROM pg_catalog.pg_sequence s
    JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid AND x.objsubid = 0
                                    AND x.refclassid = 'pg_catalog.pg_class'::regclass AND x.deptype IN ('a', 'i') AND x.refobjsubid > 0
    LEFT JOIN pg_catalog.pg_class oc ON oc.oid = x.refobjid
    LEFT JOIN pg_catalog.pg_namespace o ON o.oid = oc.relnamespace
    LEFT JOIN pg_catalog.pg_attribute oa ON oa.attrelid = x.refobjid AND oa.attnum = x.refobjsubid
   WHERE c.relpersistence <> 't' AND ${USER_SCHEMA}
   ORDER BY n.nspname, c.relname`);

/** Views, materialised views, foreign tables, rules, and old-style inheritance; what an extension owns is left out. */
export const ODDITY_QUERY: string = json(`
  SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized-view' WHEN 'f' THEN 'foreign-table' END AS kind, n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('v', 'm', 'f') AND ${USER_SCHEMA}
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
  UNION ALL
  SELECT 'rule', n.nspname, c.relname || '.' || r.rulename
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND ${USER_SCHEMA}
  UNION ALL
  SELECT 'inheritance', n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r' AND NOT c.relispartition AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) AND ${USER_SCHEMA}
   ORDER BY 1, 2, 3`);
