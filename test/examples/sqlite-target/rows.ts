/** Rows of one table in the file. Guarantee: a key stands once; a null of a column is SQLite's null, all else PostgreSQL's text. */
import type { DatabaseSync } from 'node:sqlite';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent } from '#schemas/table.ts';

export type Value = string | null;
/** Values by index in the mapping's columns. */
export type RowValues = ReadonlyMap<number, Value>;

function nameOf({ to }: TableMapping): string {
  return quoteIdent(`${to.schema}.${to.name}`);
}

function columnNames({ columns }: TableMapping): string[] {
  return columns.map(({ target }) => quoteIdent(target));
}

export function makeTable(database: DatabaseSync, table: TableMapping): void {
  const columns = columnNames(table).map((name) => `${name} TEXT`);
  const key = table.targetKey.length === 0 ? '' : `, PRIMARY KEY (${table.targetKey.map(quoteIdent).join(', ')})`;
  database.exec(`CREATE TABLE IF NOT EXISTS ${nameOf(table)} (${columns.join(', ')}${key})`);
}

export function hasRows(database: DatabaseSync, table: TableMapping): boolean {
  return database.prepare(`SELECT 1 FROM ${nameOf(table)} LIMIT 1`).get() !== undefined;
}

export function emptyTable(database: DatabaseSync, table: TableMapping): void {
  database.exec(`DELETE FROM ${nameOf(table)}`);
}

/** Whole rows; one of the same key is written over. */
export function putRow(database: DatabaseSync, table: TableMapping, row: RowValues): void {
  const values = table.columns.map((_, i) => row.get(i) ?? null);
  database.prepare(`INSERT OR REPLACE INTO ${nameOf(table)} VALUES (${values.map(() => '?').join(', ')})`).run(...values);
}

/** @returns false when there is no such row */
export function patchRow(database: DatabaseSync, table: TableMapping, key: readonly string[], row: RowValues): boolean {
  const names = columnNames(table);
  const set = [...row].map(([i]) => `${names[i]} = ?`).join(', ');
  return database.prepare(`UPDATE ${nameOf(table)} SET ${set} WHERE ${keyIs(table)}`).run(...row.values(), ...key).changes === 1;
}

export function readRow(database: DatabaseSync, table: TableMapping, key: readonly string[]): Map<number, Value> | undefined {
  const row = database.prepare(`SELECT ${columnNames(table).join(', ')} FROM ${nameOf(table)} WHERE ${keyIs(table)}`).get(...key);
  return row && new Map(table.columns.map(({ target }, i) => [i, row[target] as Value]));
}

export function deleteRow(database: DatabaseSync, table: TableMapping, key: readonly string[]): void {
  database.prepare(`DELETE FROM ${nameOf(table)} WHERE ${keyIs(table)}`).run(...key);
}

/** Of a table without a key: so many copies more, or (below 0) fewer. */
export function countRow(database: DatabaseSync, table: TableMapping, row: RowValues, copies: number): void {
  for (let i = 0; i < copies; i++) putRow(database, table, row);
  if (copies >= 0) return;
  const same = columnNames(table).map((name) => `${name} IS ?`);
  database
    .prepare(`DELETE FROM ${nameOf(table)} WHERE rowid IN (SELECT rowid FROM ${nameOf(table)} WHERE ${same.join(' AND ')} LIMIT ?)`)
    .run(...table.columns.map((_, i) => row.get(i) ?? null), -copies);
}

function keyIs({ targetKey }: TableMapping): string {
  return targetKey.map((name) => `${quoteIdent(name)} = ?`).join(' AND ');
}
