/**
 * SQL of chunks. Guarantee: keys are compared by the source alone, with the operators of the key type's own btree class, so that
 * boundaries in ORDER BY's order and ranges cut the table in the same places.
 */
import { quoteIdent, quoteLiteral, quoteTable } from '#schemas/table.ts';
import type { ChunkQuery, KeyColumn, KeyRange, RelationName } from '../copy-source.ts';

type Comparison = '<=' | '>=' | '>' | '=' | '<';

/** Operators of types outside pg_catalog are not on our search_path: named in full. */
function operator(column: KeyColumn, comparison: Comparison): string {
  return column.operatorSchema === undefined ? comparison : `OPERATOR(${quoteIdent(column.operatorSchema)}.${comparison})`;
}

function literal(column: KeyColumn, value: string): string {
  return `${quoteLiteral(value)}::${column.type}`;
}

function compare(column: KeyColumn, comparison: Comparison, value: string): string {
  return `${quoteIdent(column.name)} ${operator(column, comparison)} ${literal(column, value)}`;
}

/** Lexicographic comparison of the key with `values`. */
function compareKey(key: readonly KeyColumn[], comparison: '>' | '<=', values: readonly string[]): string {
  const first = key[0]!;
  if (key.length === 1) return compare(first, comparison, values[0]!);
  if (key.every((column) => column.operatorSchema === undefined)) {
    return `(${key.map((column) => quoteIdent(column.name)).join(', ')}) ${comparison} (${key.map((column, i) => literal(column, values[i]!)).join(', ')})`;
  }
  const strict = comparison === '>' ? '>' : '<';
  let sql = compare(key.at(-1)!, comparison, values[key.length - 1]!);
  for (let i = key.length - 2; i >= 0; i--) {
    sql = `(${compare(key[i]!, strict, values[i]!)} OR (${compare(key[i]!, '=', values[i]!)} AND ${sql}))`;
  }
  // The index needs a plain condition on the first column.
  return `${compare(first, comparison === '>' ? '>=' : '<=', values[0]!)} AND ${sql}`;
}

export function rangeCondition(key: readonly KeyColumn[], range: KeyRange): string {
  const conditions: string[] = [];
  if (range.after) conditions.push(compareKey(key, '>', range.after));
  if (range.upTo) conditions.push(compareKey(key, '<=', range.upTo));
  if (range.from !== undefined) conditions.push(compare(key[0]!, '>=', range.from));
  if (range.to !== undefined) conditions.push(compare(key[0]!, '<=', range.to));
  return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
}

/** Fails when one of the values is none of its column's type. */
export function castSql(key: readonly KeyColumn[], rows: readonly (readonly string[])[]): string {
  return `VALUES ${rows.map((values) => `(${key.map((column, c) => literal(column, values[c]!)).join(', ')})`).join(', ')}`;
}

/** As `castSql`, with the values as the source prints them: a column for each of the key's, in the order given. */
export function printSql(key: readonly KeyColumn[], rows: readonly (readonly string[])[]): string {
  const columns = key.map((_, c) => `c${c}`).join(', ');
  const values = rows.map((row, i) => `(${i}, ${key.map((column, c) => literal(column, row[c]!)).join(', ')})`);
  return `SELECT ${columns} FROM (VALUES ${values.join(', ')}) k (i, ${columns}) ORDER BY k.i`;
}

/** Fails when a type itself cannot be used. Nothing is evaluated: a domain may take no null. */
export function typesSql(key: readonly KeyColumn[]): string {
  return `SELECT ${key.map((column) => `NULL::${column.type}`).join(', ')} WHERE false`;
}

/** The keys asked for as rows `k (i, c0, c1, …)`. */
function keyValues(query: ChunkQuery): string {
  const rows = (query.keys ?? []).map((values, i) => `(${i}, ${query.key.map((column, c) => literal(column, values[c]!)).join(', ')})`);
  return `(VALUES ${rows.join(', ')}) k (i, ${query.key.map((_, c) => `c${c}`).join(', ')})`;
}

/** Row `t` has the key `k`. */
function keyMatches(query: ChunkQuery): string {
  return query.key.map((column, c) => `t.${quoteIdent(column.name)} ${operator(column, '=')} k.c${c}`).join(' AND ');
}

export function copySql(query: ChunkQuery): string {
  const columns = query.columns.map((column) => `t.${quoteIdent(column)}`).join(', ');
  const from = `${query.wholeTree ? '' : 'ONLY '}${quoteTable(query.relation)} t`;
  const where = query.keys
    ? ` WHERE EXISTS (SELECT FROM ${keyValues(query)} WHERE ${keyMatches(query)})`
    : rangeCondition(query.key, query.range);
  return `COPY (SELECT ${columns} FROM ${from}${where}) TO STDOUT`;
}

/** Indexes of the keys asked for that have no row. */
export function missingSql(query: ChunkQuery): string {
  const from = `${query.wholeTree ? '' : 'ONLY '}${quoteTable(query.relation)} t`;
  return `SELECT k.i FROM ${keyValues(query)} WHERE NOT EXISTS (SELECT FROM ${from} WHERE ${keyMatches(query)})`;
}

export function boundarySql(relation: RelationName, key: readonly KeyColumn[], range: KeyRange, rows: number): string {
  const columns = key.map((column) => quoteIdent(column.name)).join(', ');
  return `SELECT ${columns} FROM ONLY ${quoteTable(relation)}${rangeCondition(key, range)} ORDER BY ${columns} LIMIT 1 OFFSET ${Math.max(0, rows - 1)}`;
}

/** Opens the chunk's transaction: the lock stands before the snapshot, which the first query takes. */
export function beginSql(
  query: ChunkQuery,
  options: { readonly lock: boolean; readonly lockTimeoutMs: number; readonly bounded: boolean },
): string {
  const statements = ['BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', `SET LOCAL lock_timeout = ${options.lockTimeoutMs}`];
  if (options.bounded) statements.push('SET LOCAL enable_seqscan = off');
  if (options.lock) {
    const names = query.lock.map((relation) => `${query.wholeTree ? '' : 'ONLY '}${quoteTable(relation)}`);
    statements.push(`LOCK TABLE ${names.join(', ')} IN ACCESS SHARE MODE`);
  }
  statements.push('SELECT pg_catalog.pg_current_snapshot()::text AS snapshot', shapeSql(query.shapeOf));
  return statements.join('; ');
}

/** One row of JSON per relation; the columns as the stream publishes them. */
export function shapeSql(oids: readonly number[]): string {
  return `SELECT c.oid::text AS oid, c.relfilenode::text AS relfilenode, n.nspname AS schema, c.relname AS name,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod, 'number', a.attnum) ORDER BY a.attnum)
       FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')::text AS columns
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid IN (${oids.length > 0 ? oids.join(', ') : '0'})`;
}

/** Each relation of the trees below `oids`: `root` is the OID asked for. */
export function treeSql(oids: readonly number[]): string {
  return `WITH RECURSIVE tree (root, oid, level) AS (
      SELECT c.oid, c.oid, 0 FROM pg_catalog.pg_class c WHERE c.oid IN (${oids.length > 0 ? oids.join(', ') : '0'})
      UNION ALL
      SELECT t.root, i.inhrelid, t.level + 1 FROM tree t JOIN pg_catalog.pg_class p ON p.oid = t.oid AND p.relkind = 'p'
        JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid WHERE NOT i.inhdetachpending)
    SELECT t.root::text AS root, t.oid::text AS oid, c.relkind AS kind FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid`;
}
