/**
 * Which column of a source table is which of a target table. Guarantee: no column is used twice; a match that is not by the very same name
 * has its reason, and is made only where it is the only one of its sound and the types fit; the rest is left open.
 */
import { differenceOf, soundOf, soundWithin } from '#schemas/name-words.ts';
import { nearestName } from '#schemas/nearest-name.ts';
import type { CatalogColumn, CatalogTable } from '#schemas/table.ts';
import { losslessCast } from '#schemas/mapping/lossless-cast.ts';
import { fitTypes, type TypeWorld } from '#schemas/mapping/type-fit.ts';

export interface ColumnMatch {
  readonly source: CatalogColumn;
  readonly target: CatalogColumn;
  /** Absent: the names are the same. */
  readonly reason?: string;
  /** Set where the file must declare a cast, and the cast loses nothing. */
  readonly cast?: string;
}

export interface ColumnMatches {
  readonly matches: readonly ColumnMatch[];
  /** Source columns without a counterpart. */
  readonly left: readonly CatalogColumn[];
  /** Target columns that nothing goes to. */
  readonly unfed: readonly CatalogColumn[];
}

export function matchColumns(source: CatalogTable, target: CatalogTable, world: TypeWorld): ColumnMatches {
  const targets = new Map(target.columns.map((column) => [column.name, column]));
  const matches: ColumnMatch[] = [];
  const add = (from: CatalogColumn, to: CatalogColumn, reason?: string): void => {
    const cast = losslessCast(from, to, world);
    matches.push({ source: from, target: to, ...(reason !== undefined && { reason }), ...(cast !== undefined && { cast }) });
  };
  for (const column of source.columns) {
    const same = targets.get(column.name);
    if (same !== undefined) add(column, same);
  }
  // The table's own name before a column's says nothing: customer.name may be customers.customer_name.
  const tables = [source.name, target.name];
  for (const keyOf of [soundOf, (name: string): string => soundWithin(name, tables)]) {
    const isFree = (side: 'source' | 'target', column: CatalogColumn): boolean =>
      column.generated === '' && !matches.some((match) => match[side].name === column.name);
    const from = Map.groupBy(
      source.columns.filter((column) => isFree('source', column)),
      (column) => keyOf(column.name),
    );
    const to = Map.groupBy(
      target.columns.filter((column) => isFree('target', column)),
      (column) => keyOf(column.name),
    );
    for (const [key, [column, ...others]] of from) {
      const fitting = (to.get(key) ?? []).filter((one) => column !== undefined && passes(column, one, world));
      if (key === '' || column === undefined || others.length > 0 || fitting.length !== 1) continue;
      add(column, fitting[0]!, keyOf === soundOf ? differenceOf(column.name, fitting[0]!.name) : "but for the table's name");
    }
  }
  return {
    matches,
    left: source.columns.filter(({ name }) => !matches.some((match) => match.source.name === name)),
    unfed: target.columns.filter(({ name }) => !matches.some((match) => match.target.name === name)),
  };
}

/** By itself, or with a cast that loses nothing. */
function passes(source: CatalogColumn, target: CatalogColumn, world: TypeWorld): boolean {
  return fitTypes(source, target, world).kind !== 'no' || losslessCast(source, target, world) !== undefined;
}

const CANDIDATES_MAX = 3;

/** Open target columns that it might be: the nearest name first, then those whose type takes its values. */
export function candidatesFor(column: CatalogColumn, unfed: readonly CatalogColumn[], world: TypeWorld): readonly CatalogColumn[] {
  const open = unfed.filter((one) => one.generated === '');
  const words = soundOf(column.name);
  const near = nearestName(
    column.name,
    open.map((one) => one.name),
  );
  const rank = (one: CatalogColumn): number => {
    if (one.name === near) return 0;
    const sound = soundOf(one.name);
    if (words !== '' && sound !== '' && (sound.includes(words) || words.includes(sound))) return 1;
    return passes(column, one, world) ? 2 : 3;
  };
  return open
    .map((one) => ({ one, rank: rank(one) }))
    .filter((ranked) => ranked.rank < 3)
    .toSorted((a, b) => a.rank - b.rank)
    .slice(0, CANDIDATES_MAX)
    .map(({ one }) => one);
}
