/**
 * `crossfade/testing`: the mapping of a migration file as a function, for tests in vitest or any other runner. Guarantee: the function of
 * the pipeline itself, from files only: no server is asked, and the same row always gives the same rows.
 */
import { isAbsolute, join } from 'node:path';
import { PipelineError } from '#schemas/errors.ts';
import { mapRow, SERVER_ONLY, type MappedRow } from '#schemas/mapping/map-row.ts';
import { invertMapping, type LostColumn, type TableInverse } from '#schemas/mapping/inverse/invert-table.ts';
import { parseTablePattern, showTable } from '#schemas/mapping/table-pattern.ts';
import { sourceText } from '#schemas/mapping/value-text.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';
import { loadFile, targetNamed } from '../migration-input.ts';
import { loadTests } from './load-tests.ts';

/** By column; what is not named is null. */
export type GivenRow = Readonly<Record<string, string | number | bigint | boolean | null>>;

export interface TargetRow {
  /** `schema.table` of the target. */
  readonly to: string;
  /** As PostgreSQL prints the values. Columns that only a server can cast are not there. */
  readonly row: Readonly<Record<string, string | null>>;
}

export interface MappingFunction {
  /**
   * The target rows of a row of the source table `schema.table`; none where the filter leaves it out.
   * @throws PipelineError CF-4002 where the row is refused, CF-1008 for a table or column that is not there
   */
  (table: string, row: GivenRow): TargetRow[];
  /** The target rows of a source row back to it: the columns that come back as they were. */
  back(table: string, rows: readonly TargetRow[]): Readonly<Record<string, string | null>>;
  /** Source columns that do not come back, and why. */
  lost(table: string): readonly LostColumn[];
}

export interface MappingOptions {
  /** Where a relative path begins; the working directory when absent. */
  readonly directory?: string;
  /** Which of the file's targets; needed where it has several. */
  readonly target?: string;
  /** That the file refers to; the process's own when absent. URLs of servers may be missing, keys of steps may not. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** @throws PipelineError CF-1002 to CF-1010 where the file, or the catalogues beside it, cannot be used. */
export async function mappingOf(
  file: string,
  { directory = process.cwd(), env = process.env, target }: MappingOptions = {},
): Promise<MappingFunction> {
  const path = isAbsolute(file) ? file : join(directory, file);
  const loaded = targetNamed(await loadFile({ path, typed: file, env, offline: true }), target);
  const { mapping, catalogues } = await loadTests(loaded, path);
  const inverses = invertMapping(mapping.tables, catalogues.source);
  const find = (table: string): TableInverse => findTable(table, inverses);
  const map = (table: string, row: GivenRow): TargetRow[] => {
    const { tables } = find(table);
    const outcome = mapRow(tables, readRow(row, columnsOf(tables[0]!.from, catalogues.source)));
    if (outcome.kind === 'refused') throw new PipelineError(outcome.code, `${table}: ${outcome.message}`);
    return outcome.rows.map(({ to, values }) => ({
      to: showTable(to),
      row: Object.fromEntries([...values].filter((entry): entry is [string, string | null] => entry[1] !== SERVER_ONLY)),
    }));
  };
  return Object.assign(map, {
    back: (table: string, rows: readonly TargetRow[]) => Object.fromEntries(find(table).down(rows.map(mappedRow))),
    lost: (table: string) => find(table).lost,
  });
}

function mappedRow({ to, row }: TargetRow): MappedRow {
  return { to: parseTablePattern(to)!, values: new Map(Object.entries(row)) };
}

function findTable(name: string, inverses: readonly TableInverse[]): TableInverse {
  const wanted = parseTablePattern(name);
  const found = wanted && inverses.find(({ tables }) => tableId(tables[0]!.from) === tableId(wanted));
  if (found !== undefined) return found;
  const names = inverses.map(({ tables }) => showTable(tables[0]!.from));
  throw new PipelineError('CF-1008', `the file maps no table ${name}${didYouMean(name, names)}`);
}

function columnsOf(table: { readonly schema: string; readonly name: string }, source: Catalog): CatalogTable {
  return source.tables.find((one) => tableId(one) === tableId(table))!;
}

function readRow(given: GivenRow, table: CatalogTable): Map<string, string | null> {
  const row = new Map<string, string | null>(table.columns.map(({ name }) => [name, null]));
  for (const [name, value] of Object.entries(given)) {
    const column = table.columns.find((one) => one.name === name);
    if (column === undefined)
      throw new PipelineError('CF-1008', `${showTable(table)} has no column "${name}"${didYouMean(name, row.keys())}`);
    const text = value === null ? null : sourceText(column, String(value));
    if (text === undefined) throw new PipelineError('CF-1004', `${JSON.stringify(String(value))} is no ${column.type} ("${name}")`);
    row.set(name, text);
  }
  return row;
}
