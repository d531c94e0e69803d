/**
 * The mapping of a table backwards: target row → source row. Guarantee: pure; each source column is either under `kept`, and then comes
 * back as the very text that went up, or under `lost` with the reason; what the file filters by to one value comes back as that.
 */
import { tableId, type ColumnMapping, type TableMapping } from '../compiled-mapping.ts';
import { SERVER_ONLY, type MappedValue } from '../map-row.ts';
import { numericSize } from '../type-modifier.ts';
import { underDomain } from '../type-fit.ts';
import type { Catalog, CatalogColumn, CatalogTable } from '#schemas/table.ts';
import { invertSteps, toDigits, type Back, type Inverted } from './invert-step.ts';

export interface KeptColumn {
  readonly column: string;
  /** Target column that it comes back from; absent: the filter tells it. */
  readonly from?: string;
}

export interface LostColumn {
  readonly column: string;
  readonly why: string;
}

export interface TableInverse {
  readonly table: TableMapping;
  readonly kept: readonly KeptColumn[];
  readonly lost: readonly LostColumn[];
  /** The columns kept; a value that only the server knows is left out. @throws StepRefusal for a value that no row that went up has */
  down(row: ReadonlyMap<string, MappedValue>): Map<string, string | null>;
}

/** Of each table that the file maps, in its order. */
export function invertMapping(tables: readonly TableMapping[], source: Catalog): TableInverse[] {
  const byId = new Map(source.tables.map((table) => [tableId(table), table]));
  return tables.flatMap((table) => {
    const found = byId.get(tableId(table.from));
    return found === undefined ? [] : [invertTable(table, found)];
  });
}

type Way = { readonly value: string | null } | { readonly from: string; readonly back: Back };

function invertTable(table: TableMapping, source: CatalogTable): TableInverse {
  const ways = new Map<string, Way>();
  const lost: LostColumn[] = [];
  for (const column of source.columns) {
    // The source computes it by itself.
    if (column.generated !== '') continue;
    const way = wayOf(column, table);
    if ('why' in way) lost.push({ column: column.name, why: way.why });
    else ways.set(column.name, way);
  }
  const kept = [...ways].map(([column, way]) => ({ column, ...('from' in way && { from: way.from }) }));
  return { table, kept, lost, down: (row) => down(ways, row) };
}

function down(ways: ReadonlyMap<string, Way>, row: ReadonlyMap<string, MappedValue>): Map<string, string | null> {
  const source = new Map<string, string | null>();
  for (const [column, way] of ways) {
    if ('value' in way) {
      source.set(column, way.value);
      continue;
    }
    const value = row.get(way.from) ?? null;
    if (value !== SERVER_ONLY) source.set(column, value === null ? null : way.back(value));
  }
  return source;
}

function wayOf(column: CatalogColumn, table: TableMapping): Way | { readonly why: string } {
  const only = table.filter?.conditions.find((one) => one.column === column.name && one.op === 'in' && one.values.length === 1);
  if (only !== undefined) return { value: only.values[0]! };
  const tries = [...directWays(column, table), ...computedWays(column, table)];
  const found = tries.find((one) => 'back' in one.inverted);
  if (found !== undefined && 'back' in found.inverted) return { from: found.target, back: found.inverted.back };
  const [first] = tries;
  if (first !== undefined && 'why' in first.inverted) return { why: `"${first.target}": ${first.inverted.why}` };
  return { why: 'it goes to no column of the target' };
}

interface Try {
  readonly target: string;
  readonly inverted: Inverted;
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
    .map(({ target, from, steps: blocks, column: at }) => ({
      target,
      inverted: from.length > 1 ? { why: 'it is made of several columns' } : invertSteps(column, blocks, columns[at]!),
    }));
}

const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);
/** Casts of these to text give the text that stands in the column. */
const PLAIN: ReadonlySet<string> = new Set([...WHOLE, 'numeric', 'uuid', 'date', 'timestamp without time zone', 'character varying']);

/** Casts that a server computes. */
function invertCast({ source, cast, targetType, targetBaseType }: ColumnMapping): Inverted {
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
