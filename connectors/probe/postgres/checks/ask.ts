/**
 * Questions of checks to a server. Guarantee: each is one statement (the extended protocol takes no second one) in a read-only transaction,
 * and an answer that is too long to be compared says so.
 */
import type pg from 'pg';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import type { Texts } from '../table-scan.ts';
import type { TypedColumn } from './view-sql.ts';

export interface Answer {
  readonly rows: readonly Texts[];
  /** Of each column whether it is a number. */
  readonly numeric: readonly boolean[];
  readonly names: readonly string[];
  /** There are more rows than these. */
  readonly cut: boolean;
}

/** int8, int2, int4, float4, float8, numeric. */
const NUMERIC_OIDS: ReadonlySet<number> = new Set([20, 21, 23, 700, 701, 1700]);

export interface Question {
  readonly sql: string;
  readonly values: readonly unknown[];
  readonly rowsMax: number;
  /** What stands for the tables that it names: `"name" AS (…)`. */
  readonly tables?: readonly string[];
}

export async function ask(client: pg.ClientBase, { sql, values, rowsMax, tables = [] }: Question): Promise<Answer> {
  // A comment at the query's end must not swallow what follows it.
  const named = [...tables, `"crossfade answer" AS (${sql}\n)`].join(', ');
  const text = `WITH ${named} TABLE "crossfade answer" LIMIT ${rowsMax + 1}`;
  const config: pg.QueryArrayConfig & { readonly queryMode: 'extended' } = {
    text,
    values: [...values],
    rowMode: 'array',
    queryMode: 'extended',
  };
  const { rows, fields } = await client.query<(string | null)[]>(config);
  return {
    rows: rows.slice(0, rowsMax),
    numeric: fields.map(({ dataTypeID }) => NUMERIC_OIDS.has(dataTypeID)),
    names: fields.map(({ name }) => name),
    cut: rows.length > rowsMax,
  };
}

/** Columns of a table with their types, without modifiers: what stands there already need not be cut to size. */
export async function typedColumns(client: pg.ClientBase, oid: number, names: readonly string[]): Promise<TypedColumn[]> {
  const rows = await queryRows(
    client,
    `SELECT attname AS name, format_type(atttypid, -1) AS type FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped AND attname = ANY($2::text[])`,
    [oid, names],
  );
  const types = new Map(rows.map((row) => [row['name'], row['type']]));
  return names.flatMap((name) => {
    const type = types.get(name);
    return typeof type === 'string' ? [{ name, type }] : [];
  });
}

export interface PlainReference {
  readonly child: { readonly schema: string; readonly name: string };
  readonly columns: readonly string[];
  readonly parent: { readonly schema: string; readonly name: string };
  readonly parentColumns: readonly string[];
  /** Of the child's rows `v`, those that count. */
  readonly where: readonly string[];
  /** Equality of some column is an extension's: it is looked for where extensions are. */
  readonly ofExtension?: true;
}

/** Rows of the table itself that refer to no row of the other. */
export async function countOrphans(client: pg.ClientBase, { child, parent, ofExtension, ...reference }: PlainReference): Promise<number> {
  if (ofExtension) {
    const schemas = `(SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace)`;
    await client.query(`SELECT set_config('search_path', 'pg_catalog, ' || ${schemas}, true)`);
  }
  const quoted = reference.columns.map((name) => quoteIdent(name));
  const joined = quoted.map((column, i) => `p.${quoteIdent(reference.parentColumns[i]!)} = v.${column}`).join(' AND ');
  const where = [...quoted.map((column) => `v.${column} IS NOT NULL`), ...reference.where];
  const sql = `SELECT count(1)::text AS n FROM ${quoteTable(child)} v WHERE ${where.join(' AND ')} AND NOT EXISTS (SELECT FROM ${quoteTable(parent)} p WHERE ${joined})`;
  return Number((await queryRow(client, sql))!['n']);
}
