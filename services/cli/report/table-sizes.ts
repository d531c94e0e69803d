/** How much stands in tables. Guarantee: estimates of the server's own unless counting was asked for; partitions are summed; what is not there has no size. */
import type pg from 'pg';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import type { TableSize } from '#schemas/report/report-document.ts';
import { quoteTable } from '#schemas/table.ts';

export interface SizedTable {
  readonly schema: string;
  readonly name: string;
}

export type TableSizes = ReadonlyMap<string, TableSize>;

export function sizeOf(sizes: TableSizes | undefined, table: SizedTable): TableSize | null {
  return sizes?.get(quoteTable(table)) ?? null;
}

/** A root and what hangs below it. A table never analysed has -1 rows by the catalogue: the statistics' live rows say more. */
const SIZES = `
  WITH RECURSIVE asked (schema, name, oid) AS (
    SELECT u.s, u.t, c.oid FROM unnest($1::text[], $2::text[]) AS u (s, t)
      JOIN pg_namespace n ON n.nspname = u.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.t
  ), member (schema, name, oid) AS (
    SELECT schema, name, oid FROM asked UNION SELECT m.schema, m.name, i.inhrelid FROM member m JOIN pg_inherits i ON i.inhparent = m.oid
  )
  SELECT m.schema, m.name, sum(pg_total_relation_size(c.oid))::text AS bytes,
         sum(CASE WHEN c.relkind = 'p' THEN 0 WHEN c.reltuples >= 0 THEN greatest(c.reltuples, 0) ELSE pg_stat_get_live_tuples(c.oid) END)::bigint::text AS rows
    FROM member m JOIN pg_class c ON c.oid = m.oid GROUP BY 1, 2`;

export async function readTableSizes(client: pg.Client, tables: readonly SizedTable[], count: boolean): Promise<TableSizes> {
  const rows = await queryRows(client, SIZES, [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]);
  const sizes = new Map<string, TableSize>();
  for (const row of rows) {
    const table = quoteTable({ schema: row['schema']!, name: row['name']! });
    const counted = count ? await queryRow(client, `SELECT count(*)::text AS rows FROM ${table}`) : undefined;
    sizes.set(table, { rows: Number((counted ?? row)['rows']), isExact: counted !== undefined, bytes: Number(row['bytes']) });
  }
  return sizes;
}
