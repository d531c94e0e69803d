/**
 * The mapping of a table backwards: target row → source row. Guarantee: pure; each source column is either under `kept`, and then comes
 * back as the very text that went up, or under `lost` with the reason; what the file filters by to one value comes back as that.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { tableId, type ColumnMapping, type TableMapping } from '../compiled-mapping.ts';
import { SERVER_ONLY, type MappedRow } from '../map-row.ts';
import { numericSize } from '../type-modifier.ts';
import { underDomain } from '../type-fit.ts';
import type { Catalog, CatalogColumn, CatalogTable } from '#schemas/table.ts';
import { invertSteps, toDigits, type Back, type Inverted } from './invert-step.ts';

export interface KeptColumn {
  readonly column: string;
  /** Target columns that it comes back from; none: the filter tells it. */
  readonly from: readonly string[];
}

export interface LostColumn {
  readonly column: string;
  readonly why: string;
}

export interface TableInverse {
  /** All targets of one source table. */
  readonly tables: readonly TableMapping[];
  readonly kept: readonly KeptColumn[];
  readonly lost: readonly LostColumn[];
  /**
   * The columns kept, of the rows that one source row became; a value that only the server knows is left out.
   * @throws StepRefusal for a value that no row that went up has
   */
  down(rows: readonly MappedRow[]): Map<string, string | null>;
}

/** Of each source table that the file maps, in its order. */
export function invertMapping(tables: readonly TableMapping[], source: Catalog): TableInverse[] {
  const byId = new Map(source.tables.map((table) => [tableId(table), table]));
  return [...Map.groupBy(tables, ({ from }) => tableId(from))].flatMap(([id, group]) => {
    const found = byId.get(id);
    return found === undefined ? [] : [invertTables(group, found)];
  });
}

/** `steps`: what computes it, as in a file; absent: the value itself, perhaps of another type. */
export type Way = { readonly value: string | null } | { readonly from: string; readonly back: Back; readonly steps?: readonly StepBlock[] };

/** By source column, of one target. */
type Ways = ReadonlyMap<string, Way>;

function invertTables(all: readonly TableMapping[], source: CatalogTable): TableInverse {
  const tables = all.filter(({ explode }) => explode === undefined);
  // The source computes the others by itself.
  const columns = source.columns.filter(({ generated }) => generated === '');
  const tried = new Map(tables.map((table) => [table, new Map(columns.map((column) => [column.name, wayOf(column, table)]))]));
  const kept: KeptColumn[] = [];
  const lost: LostColumn[] = [];
  for (const { name } of columns) {
    const ways = [...tried].map(([table, tries]) => ({ table, way: tries.get(name)! }));
    const found = ways.filter((one): one is { table: TableMapping; way: Way } => !('why' in one.way));
    // Rows that a filter keeps from one target come back from another.
    if ((found.length === tables.length && tables.length > 0) || found.some(({ table }) => table.filter === undefined))
      kept.push({ column: name, from: found.flatMap(({ way }) => ('from' in way ? [way.from] : [])) });
    else lost.push({ column: name, why: explodedWhy(all, name) ?? reasonOf(ways.map(({ way }) => way)) });
  }
  const names = new Set(kept.map(({ column }) => column));
  const usable = new Map(
    [...tried].map(([{ to }, tries]): [string, Ways] => [
      tableId(to),
      new Map([...tries].filter((entry): entry is [string, Way] => names.has(entry[0]) && !('why' in entry[1]))),
    ]),
  );
  return { tables: tables.length === 0 ? all : tables, kept, lost, down: (rows) => down(usable, rows) };
}

function explodedWhy(tables: readonly TableMapping[], column: string): string | undefined {
  const taken = tables.find(({ explode }) => explode?.name === column);
  return taken && `its elements become rows of ${taken.to.schema}.${taken.to.name}`;
}

const NOWHERE = 'it goes to no column of the target';

function reasonOf(ways: readonly (Way | { readonly why: string })[]): string {
  const reasons = ways.flatMap((way) => ('why' in way ? [way.why] : []));
  return reasons.find((why) => why !== NOWHERE) ?? NOWHERE;
}

function down(usable: ReadonlyMap<string, Ways>, rows: readonly MappedRow[]): Map<string, string | null> {
  const source = new Map<string, string | null>();
  for (const { to, values } of rows) {
    for (const [column, way] of usable.get(tableId(to)) ?? []) {
      const value = 'value' in way ? way.value : (values.get(way.from) ?? null);
      if (value === SERVER_ONLY) continue;
      source.set(column, value === null || 'value' in way ? value : way.back(value));
    }
  }
  return source;
}

/** How a column of the source comes back from one target. */
export function wayOf(column: CatalogColumn, table: TableMapping): Way | { readonly why: string } {
  const only = table.filter?.conditions.find((one) => one.column === column.name && one.op === 'in' && one.values.length === 1);
  if (only !== undefined) return { value: only.values[0] ?? null };
  return mappedWay(column, table);
}

/** The same, whatever the filter tells. */
export function mappedWay(column: CatalogColumn, table: TableMapping): Way | { readonly why: string } {
  const tries = [...directWays(column, table), ...computedWays(column, table)];
  const found = tries.find((one) => 'back' in one.inverted);
  if (found !== undefined && 'back' in found.inverted)
    return { from: found.target, back: found.inverted.back, ...(found.steps !== undefined && { steps: found.steps }) };
  const [first] = tries;
  if (first !== undefined && 'why' in first.inverted) return { why: `"${first.target}": ${first.inverted.why}` };
  return { why: NOWHERE };
}

interface Try {
  readonly target: string;
  readonly inverted: { readonly back: Back } | { readonly why: string };
  readonly steps?: readonly StepBlock[];
}

function directWays(column: CatalogColumn, table: TableMapping): Try[] {
  return table.columns
    .filter(({ source }) => source.name === column.name)
    .map((mapped) => ({ target: mapped.target, inverted: invertCast(mapped) }));
}

function computedWays(column: CatalogColumn, { columns, steps }: TableMapping): Try[] {
  const index = steps?.inputs.findIndex(({ name }) => name === column.name) ?? -1;
  if (steps === undefined || index < 0) return [];
  return steps.computed
    .filter(({ from }) => from.includes(index))
    .map(({ target, from, steps: blocks, column: at }) => {
      const inverted: Inverted = from.length > 1 ? { why: 'it is made of several columns' } : invertSteps(column, blocks, columns[at]!);
      return { target, inverted, ...('steps' in inverted && { steps: inverted.steps }) };
    });
}

const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);
/** Casts of these to text give the text that stands in the column. */
const PLAIN: ReadonlySet<string> = new Set([...WHOLE, 'numeric', 'uuid', 'date', 'timestamp without time zone', 'character varying']);

/** Casts that a server computes. */
function invertCast({ source, cast, targetType, targetBaseType }: ColumnMapping): Try['inverted'] {
  if (cast === undefined) return { back: (text) => text };
  const { baseType, typmod } = underDomain(source);
  if (targetBaseType === 'text' && PLAIN.has(baseType)) return { back: (text) => text };
  if (WHOLE.has(baseType) && (WHOLE.has(targetBaseType) || targetBaseType === 'numeric') && keepsWhole(targetType))
    return { back: (text) => toDigits(text, 0) };
  const size = baseType === 'numeric' ? numericSize(typmod) : undefined;
  if (size !== undefined && targetBaseType === 'numeric' && scaleOf(targetType) >= size.scale)
    return { back: (text) => toDigits(text, size.scale) };
  return {
    why: cast.sql.includes('AT TIME ZONE')
      ? 'a time zone is not undone at the hours that the clocks change'
      : `it is cast to ${targetType}`,
  };
}

/** Digits behind the point that a numeric keeps. */
function scaleOf(type: string): number {
  const match = /^numeric\(\d+(?:,(-?\d+))?\)$/.exec(type);
  return match === null ? Infinity : Number(match[1] ?? 0);
}

function keepsWhole(type: string): boolean {
  return scaleOf(type) >= 0;
}
