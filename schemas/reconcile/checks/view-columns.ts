/**
 * Which columns of a target table both sides can be asked for in SQL. Guarantee: of a column that is given, source and target print the same
 * text exactly when the value is what the pipeline would have written; of any other it is told why not.
 */
import { isComputed, tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { keepsUnmarked } from '#schemas/mapping/kept-rows.ts';
import { underDomain } from '#schemas/mapping/type-fit.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import type { Catalog, CatalogColumn } from '#schemas/table.ts';
import type { TableName } from './planned-check.ts';

export interface Fit {
  readonly tables: readonly TableMapping[];
  readonly source: Catalog;
  readonly target: Catalog;
}

export type ColumnClass = 'number' | 'moment' | 'other';

const NUMBERS: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision']);
export const MOMENTS: ReadonlySet<string> = new Set(['date', 'timestamp without time zone', 'timestamp with time zone']);

/** Type under a domain, and what can be done with its values. */
export function classOf({ target }: Fit, table: TableName, column: string): { readonly kind: ColumnClass; readonly type: string } {
  const found = columnOf(target, table, column);
  const type = found === undefined ? 'text' : underDomain(found).baseType;
  return { kind: NUMBERS.has(type) ? 'number' : MOMENTS.has(type) ? 'moment' : 'other', type };
}

function columnOf({ tables }: Catalog, table: TableName, name: string): CatalogColumn | undefined {
  return tables.find((one) => tableId(one) === tableId(table))?.columns.find((one) => one.name === name);
}

/** Undefined: the column may be asked for on both sides. */
export function whyNot({ source, target }: Fit, mapping: TableMapping, name: string): string | undefined {
  const at = mapping.columns.findIndex((column) => column.target === name);
  const column = mapping.columns[at];
  if (column === undefined)
    return `is not filled by the migration${didYouMean(
      name,
      mapping.columns.map((one) => one.target),
    )}`;
  if (isComputed(mapping.steps, at)) return 'is computed by steps, which the source cannot do in SQL: ask for it with sql';
  if (column.keyMap !== undefined || column.source.baseType === column.targetBaseType) return undefined;
  const found = columnOf(target, mapping.to, name);
  const plain = column.targetBaseType.replace(/(?:\[\])+$/, '');
  const known = found?.builtin === true || source.types.some((type) => `${type.schema}.${type.name}` === plain);
  return known ? undefined : `has the type ${plain}, which the source does not know: ask for it with sql`;
}

/** Why rows of a target table cannot be held against the source's by a view. */
export function whyNoView(pairs: readonly TableMapping[]): string | undefined {
  if (pairs.some(({ explode }) => explode !== undefined)) return 'its rows are the elements of an array: ask with sql';
  if (pairs.some((pair) => keepsUnmarked(pair))) return 'it keeps rows that the source deleted, so the two sides are not to be equal';
  return undefined;
}

/** Those that feed the columns: all that share the table, or of merged rows the one that has them. */
export function pairsFor(pairs: readonly TableMapping[], columns: readonly string[]): readonly TableMapping[] {
  if (!pairs.some(({ merge }) => merge !== undefined)) return pairs;
  return pairs.filter((pair) => columns.every((name) => pair.columns.some((column) => column.target === name))).slice(0, 1);
}
