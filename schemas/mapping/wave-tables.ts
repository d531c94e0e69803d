/**
 * What of the matched tables one wave moves: of each table with the units' column the rows of its units, and of the wave `shared` the tables that
 * belong to no unit. Guarantee: a table is in all waves of units or in the shared one, never in both or neither; and no key of one wave's rows can be
 * one of another's, though each wave may be written in another store.
 */
import type { FilterEntry, WaveEntry, WaveOf, WavesEntry } from '../config/migration-file.ts';
import { SHARED_WAVE } from '../config/wave-name.ts';
import { didYouMean } from '../nearest-name.ts';
import type { CatalogKey, CatalogTable } from '../table.ts';
import type { FindingList } from './finding-list.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { canonicalOf } from './row-filter.ts';
import { matchesTable, parseTablePattern, showTable } from './table-pattern.ts';
import { underDomain } from './type-fit.ts';

export function waveTables({ name, waves }: WaveOf, resolved: readonly ResolvedTable[], list: FindingList): ResolvedTable[] {
  checkPatterns(waves, resolved, list);
  const isShared = ({ source }: ResolvedTable): boolean => waves.shared.some((pattern) => matches(pattern, source));
  if (name === SHARED_WAVE) return resolved.filter(isShared);
  const wave = waves.waves.find((one) => one.name === name)!;
  return resolved.filter((one) => !isShared(one)).flatMap((one) => ofUnits({ waves, wave, one, all: resolved }, list) ?? []);
}

interface Part {
  readonly waves: WavesEntry;
  readonly wave: WaveEntry;
  readonly one: ResolvedTable;
  readonly all: readonly ResolvedTable[];
}

/** Undefined: it cannot be told whose its rows are (reported). */
function ofUnits({ waves, wave, one, all }: Part, list: FindingList): ResolvedTable | undefined {
  const { source, entry } = one;
  const column = columnOf(waves, source);
  if (!source.columns.some((its) => its.name === column)) {
    const near = didYouMean(
      column,
      source.columns.map((its) => its.name),
    );
    const remedy = `Name its column: waves: { columns: { ${showTable(source)}: COLUMN } }; or, if it belongs to no unit, the table: waves: { shared: [${showTable(source)}] }.`;
    list.error('CF-1008', `${showTable(source)} has no column "${column}", by which the waves are told${near}`, entry, remedy);
    return undefined;
  }
  const why = unfit(one, column, all);
  if (why !== undefined) {
    list.error(
      'CF-4001',
      `${showTable(source)} cannot move in waves: ${why}`,
      entry,
      'Change its entry, or move the migration as a whole.',
    );
    return undefined;
  }
  if (!areUnitsApart(waves, one, column, list)) return undefined;
  checkKeys(waves, one, column, list);
  const filter: FilterEntry = { ...filterOf(wave, waves), line: waves.line, column: waves.column };
  return { ...one, entry: { ...entry, where: { ...entry.where, [column]: filter }, scope: column } };
}

/** Two texts of the file may be one value of the column: then two waves would move the same rows. */
function areUnitsApart({ waves, line, column: at }: WavesEntry, { source }: ResolvedTable, by: string, list: FindingList): boolean {
  const canonical = canonicalOf(source.columns.find(({ name }) => name === by)!);
  const seen = new Map<string | null, { readonly wave: string; readonly unit: string | null }>();
  for (const { name, units } of waves) {
    for (const unit of units === '*' ? [] : units) {
      const value = unit === null ? null : (canonical?.(unit) ?? unit);
      const other = seen.get(value);
      if (other !== undefined && other.wave !== name) {
        const message = `${other.unit} of wave ${other.wave} and ${unit} of wave ${name} are one value of "${by}" of ${showTable(source)}`;
        list.error('CF-1004', message, { line, column: at }, 'Each unit is in one wave: take one of them out.');
        return false;
      }
      seen.set(value, { wave: name, unit });
    }
  }
  return true;
}

function columnOf({ by, columns }: WavesEntry, source: CatalogTable): string {
  return columns.find(({ table }) => matches(table, source))?.column ?? by;
}

/** All others: those that no wave names, also rows without a unit. */
function filterOf({ units }: WaveEntry, { waves }: WavesEntry): Pick<FilterEntry, 'op' | 'values'> {
  if (units !== '*') return { op: 'in', values: units };
  return { op: 'not-in', values: waves.flatMap(({ units: its }) => (its === '*' ? [] : its)) };
}

function unfit({ entry, source, to }: ResolvedTable, column: string, all: readonly ResolvedTable[]): string | undefined {
  if (entry.where !== undefined && Object.hasOwn(entry.where, column)) return `\`where\` has a condition on "${column}" already`;
  if (entry.explode !== undefined) return 'its rows become rows of their own, which is not built yet';
  if (entry.key !== undefined) return 'its rows get new keys, which is not built yet';
  const twins = all.filter((one) => one.source === source || (one.to.schema === to.schema && one.to.name === to.name));
  return twins.length > 1 ? 'its rows go to several tables, or several tables have rows in its target, which is not built yet' : undefined;
}

/**
 * While its unit is written in one store and others in the other, nobody sees that two rows get one key: what comes over would overwrite the other
 * unit's row, or be refused.
 */
function checkKeys(waves: WavesEntry, { source, target, entry, to }: ResolvedTable, column: string, list: FindingList): void {
  if (waves.distinct.some((pattern) => matches(pattern, source))) return;
  const own = Object.hasOwn(entry.columns, column) ? entry.columns[column] : undefined;
  const sides = [
    { table: source, shown: `${showTable(source)} of the source`, by: column },
    ...(target === undefined ? [] : [{ table: target, shown: `${showTable(to)} of the target`, by: own?.to ?? column }]),
  ];
  for (const { table, shown, by } of sides) {
    const open = keysOf(table).find((key) => !isApart(key, table, by));
    if (open === undefined) continue;
    list.error(
      'CF-4007',
      `the key (${open.columns.join(', ')}) of ${shown} does not hold "${by}": while units are written in both stores, two of them may get one key`,
      entry,
      `Put "${by}" into the key, or see to it that both stores make different keys (docs/waves.md), and say so: waves: { distinct: [${showTable(source)}] }.`,
    );
    return;
  }
}

function keysOf({ primaryKey, uniqueKeys, nullableUniqueKeys = [] }: CatalogTable): CatalogKey[] {
  return [...(primaryKey === undefined ? [] : [primaryKey]), ...uniqueKeys, ...nullableUniqueKeys];
}

/** It holds the unit, or a column that nobody counts up. */
function isApart({ columns }: CatalogKey, table: CatalogTable, by: string): boolean {
  return columns.some((name) => {
    const column = table.columns.find((one) => one.name === name);
    return name === by || (column !== undefined && underDomain(column).typeName === 'uuid');
  });
}

/** A name that nothing has is a mistake: what it was meant for would be judged as if it were not there. */
function checkPatterns(
  { columns, shared, distinct, line, column }: WavesEntry,
  resolved: readonly ResolvedTable[],
  list: FindingList,
): void {
  for (const pattern of [...columns.map(({ table }) => table), ...shared, ...distinct]) {
    if (resolved.some(({ source }) => matches(pattern, source))) continue;
    list.error('CF-1008', `\`waves\` names ${pattern}, which is no table that the file moves`, { line, column });
  }
}

function matches(text: string, table: Pick<CatalogTable, 'schema' | 'name'>): boolean {
  const pattern = parseTablePattern(text);
  return pattern !== undefined && matchesTable(pattern, table);
}
