/**
 * Which way a migration is compared: from the side that serves to the other. Guarantee: pure; while the target serves, rows of the source that
 * the file's `where` never moved are not held against anything, for the target does not have them; a table that does not go back is named.
 */
import type { MigrationFile } from '../config/migration-file.ts';
import { type CompiledMapping, type RowFilter, type TableMapping, tableId } from '../mapping/compiled-mapping.ts';

export interface Direction {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
}

export interface ComparedDirection extends Direction {
  /** Rows of the side that does not serve that count; undefined: all. */
  readonly targetRows: (table: TableMapping) => RowFilter | undefined;
  /** Tables of the file that are not compared, as `schema.table` of its source. */
  readonly left: readonly string[];
}

/** @param back The derived way back; undefined where there is none. @returns undefined: the target serves, and nothing goes back. */
export function servingDirection(
  forward: Direction,
  back: Direction | undefined,
  serves: 'source' | 'target',
): ComparedDirection | undefined {
  if (serves === 'source') return { ...forward, targetRows: () => undefined, left: [] };
  if (back === undefined) return undefined;
  // One pair each way: a source table whose rows go to several targets does not go back.
  const there = new Map(forward.mapping.tables.map((table) => [tableId(table.from), table]));
  const reached = new Set(back.mapping.tables.map(({ to }) => tableId(to)));
  return {
    ...back,
    targetRows: ({ to }) => there.get(tableId(to))?.filter,
    left: forward.mapping.tables.filter(({ from }) => !reached.has(tableId(from))).map(({ from }) => `${from.schema}.${from.name}`),
  };
}
