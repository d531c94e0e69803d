/**
 * Which source table is which target table, for the first file. Guarantee: every source table is matched, or left with its candidates; no
 * target table is used twice; a match that is not by the very same name has its reason.
 */
import { differenceOf, soundOf } from '#schemas/name-words.ts';
import { nearestName } from '#schemas/nearest-name.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import { typeWorld, type TypeWorld } from '#schemas/mapping/type-fit.ts';
import { matchColumns, type ColumnMatches } from './match-columns.ts';

export interface TableMatch {
  readonly source: CatalogTable;
  readonly target: CatalogTable;
  /** Absent: the names are the same. */
  readonly reason?: string;
  readonly columns: ColumnMatches;
}

export interface OpenTable {
  readonly source: CatalogTable;
  /** Best first. */
  readonly candidates: readonly Candidate[];
}

export interface Candidate {
  readonly target: CatalogTable;
  readonly why: string;
}

export interface TableMatches {
  readonly matches: readonly TableMatch[];
  /** Nothing of that name on the target. */
  readonly open: readonly OpenTable[];
  readonly unlogged: readonly CatalogTable[];
  /** Of the target, fed by nothing. */
  readonly unfed: readonly CatalogTable[];
  readonly world: TypeWorld;
}

export function matchTables(source: Catalog, target: Catalog): TableMatches {
  const world = typeWorld(source, target);
  const own = source.tables.filter((table) => table.extension === undefined);
  const unlogged = own.filter((table) => table.unlogged || table.leaves.some((leaf) => leaf.unlogged === true));
  const logged = own.filter((table) => !unlogged.includes(table));
  const pairs = new Map<CatalogTable, { readonly target: CatalogTable; readonly reason?: string }>();
  const taken = new Set<CatalogTable>();
  const pair = (table: CatalogTable, to: CatalogTable, reason?: string): void => {
    pairs.set(table, { target: to, ...(reason !== undefined && { reason }) });
    taken.add(to);
  };
  const free = (): CatalogTable[] => target.tables.filter((table) => table.extension === undefined && !taken.has(table));
  const bySchema = Map.groupBy(logged, (table) => table.schema);
  const homes = new Map([...bySchema].map(([schema, tables]) => [schema, homeOf(tables, schema, target)]));
  for (const table of logged) {
    const same = free().find((one) => one.schema === homes.get(table.schema) && one.name === table.name);
    if (same !== undefined) pair(table, same);
  }
  for (const [schema, tables] of bySchema) {
    const left = Map.groupBy(
      tables.filter((table) => !pairs.has(table)),
      (table) => soundOf(table.name),
    );
    for (const [sound, [table, ...others]] of left) {
      const alike = free().filter((one) => one.schema === homes.get(schema) && soundOf(one.name) === sound);
      if (sound === '' || table === undefined || others.length > 0 || alike.length !== 1 || !isAlike(table, alike[0]!, world)) continue;
      pair(table, alike[0]!, differenceOf(table.name, alike[0]!.name));
    }
  }
  const open = logged.filter((table) => !pairs.has(table));
  const unfed = free();
  return {
    matches: [...pairs].map(([table, found]) => ({ source: table, ...found, columns: matchColumns(table, found.target, world) })),
    open: open.map((table) => ({ source: table, candidates: candidatesFor(table, unfed, world) })),
    unlogged,
    unfed,
    world,
  };
}

/** The schema of the same name where it has any of the tables, else the one that has most of them. */
function homeOf(tables: readonly CatalogTable[], schema: string, target: Catalog): string {
  for (const nameOf of [(name: string): string => name, soundOf]) {
    const names = new Set(tables.map((table) => nameOf(table.name)));
    const counts = new Map<string, number>();
    for (const table of target.tables) if (names.has(nameOf(table.name))) counts.set(table.schema, (counts.get(table.schema) ?? 0) + 1);
    if (counts.has(schema)) return schema;
    const [most] = [...counts].toSorted((a, b) => b[1] - a[1]);
    if (most !== undefined) return most[0];
  }
  return schema;
}

/** A name of the same sound is not enough: half of the columns must be there too. */
const SHARED_MIN = 0.5;

function isAlike(source: CatalogTable, target: CatalogTable, world: TypeWorld): boolean {
  return sharedPart(source, target, world) >= SHARED_MIN;
}

function sharedPart(source: CatalogTable, target: CatalogTable, world: TypeWorld): number {
  return source.columns.length === 0 ? 0 : matchColumns(source, target, world).matches.length / source.columns.length;
}

interface Sounds {
  readonly name: string;
  readonly columns: ReadonlySet<string>;
}

const heard = new WeakMap<CatalogTable, Sounds>();

function soundsOf(table: CatalogTable): Sounds {
  let sounds = heard.get(table);
  if (sounds === undefined) {
    sounds = { name: soundOf(table.name), columns: new Set(table.columns.map(({ name }) => soundOf(name))) };
    heard.set(table, sounds);
  }
  return sounds;
}

const CANDIDATES_MAX = 3;
/** Of how many tables the columns are matched one by one: catalogues have thousands. */
const LOOKED_AT_MAX = 10;
/** Fewer columns than this are alike by chance. */
const COLUMNS_MIN = 3;

function candidatesFor(table: CatalogTable, targets: readonly CatalogTable[], world: TypeWorld): Candidate[] {
  const near = nearestName(
    table.name,
    targets.map((one) => one.name),
  );
  const sounds = soundsOf(table);
  const looked = targets
    .map((one) => ({
      one,
      isNear: one.name === near || soundsOf(one).name === sounds.name,
      common: sounds.columns.intersection(soundsOf(one).columns).size,
    }))
    .filter(({ isNear, common }) => isNear || (common >= COLUMNS_MIN && common / sounds.columns.size > SHARED_MIN))
    .toSorted((a, b) => Number(b.isNear) - Number(a.isNear) || b.common - a.common || byName(a.one, b.one))
    .slice(0, LOOKED_AT_MAX);
  const found = looked.flatMap(({ one, isNear }): (Candidate & { readonly rank: number })[] => {
    const shared = matchColumns(table, one, world).matches.length;
    const columns = `${shared} of its ${table.columns.length} columns`;
    const sharesMany = shared >= COLUMNS_MIN && shared / table.columns.length > SHARED_MIN;
    if (!sharesMany && !isNear) return [];
    const rank = (isNear ? 1 : 0) + shared / table.columns.length;
    return [{ target: one, why: isNear && !sharesMany ? `a name like it, ${columns}` : columns, rank }];
  });
  return found
    .toSorted((a, b) => b.rank - a.rank || byName(a.target, b.target))
    .slice(0, CANDIDATES_MAX)
    .map(({ target, why }) => ({ target, why }));
}

function byName(a: CatalogTable, b: CatalogTable): number {
  return showTable(a) < showTable(b) ? -1 : 1;
}
