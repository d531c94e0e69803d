/**
 * Two answers to one question. Guarantee: rows are paired by their keys, or by their place, or (a list without order) by all that is no number;
 * numbers are compared as decimals within the tolerance, everything else as text; of a value that may not be shown nothing is told.
 */
import type { Tolerance } from '#schemas/config/check-entry.ts';
import { compareDecimals, isNear } from './decimal.ts';
import type { QueryCheck } from './planned-check.ts';

type Row = readonly (string | null)[];

export interface Compared {
  readonly equal: boolean;
  readonly source: string | null;
  readonly target: string | null;
  readonly message: string;
}

/** Differences named in a message. */
const NAMED_MAX = 3;

function near(source: string | null, target: string | null, tolerance: Tolerance | undefined): boolean {
  if (source === null || target === null) return source === target;
  return tolerance === undefined ? source === target : isNear(source, target, tolerance);
}

type Rules = Pick<QueryCheck, 'keys' | 'columns' | 'tolerance'>;

export function compareKeyed(check: Rules, source: readonly Row[], target: readonly Row[]): Compared {
  const { keys, columns, tolerance } = check;
  const keyOf = (row: Row): string => JSON.stringify(row.slice(0, keys));
  // Of a target that has lost its unique index several rows may have one key: no two are held against one of the source.
  const there = Map.groupBy(target, keyOf);
  const pairs: (readonly [Row | undefined, Row | undefined])[] = [];
  const labels = new Set<string>();
  for (const row of source) {
    const other = there.get(keyOf(row))?.shift();
    const apart = columns.filter((column, i) => i >= keys && other && !near(row[i]!, other[i]!, column.numeric ? tolerance : undefined));
    if (other === undefined || apart.length > 0) pairs.push([row, other]);
    for (const { label } of apart) labels.add(label);
  }
  for (const rows of there.values()) for (const row of rows) pairs.push([undefined, row]);
  const [first = [source[0], target[0]]] = pairs;
  // Of groups that are all equal no single one stands for the rest.
  const isWhole = keys > 0 && pairs.length === 0;
  const shown = {
    source: isWhole ? countOf(source) : shownOf(check, first[0], source),
    target: isWhole ? countOf(target) : shownOf(check, first[1], target),
  };
  if (pairs.length === 0)
    return { ...shown, equal: true, message: `${source.length} ${source.length === 1 ? 'row is' : 'rows are'} equal` };
  return { ...shown, equal: false, message: messageOf(check, pairs, [...labels]) };
}

function messageOf(
  { keys, columns }: Rules,
  pairs: readonly (readonly [Row | undefined, Row | undefined])[],
  labels: readonly string[],
): string {
  const [here, there] = [pairs.filter(([, other]) => other === undefined).length, pairs.filter(([one]) => one === undefined).length];
  const only = [here > 0 ? [`${here} only at the source`] : [], there > 0 ? [`${there} only on the target`] : []].flat();
  const what = pairs.length === 1 ? 'one row differs' : `${pairs.length} rows differ`;
  const where = labels.length === 0 ? '' : ` in ${labels.join(', ')}`;
  const names = columns.slice(0, keys).map(({ label }) => label);
  const named = keys === 0 ? '' : `: ${listed(pairs.map(([one, other]) => describeKey(names, (one ?? other)!)))}`;
  return `${what}${where}${only.length === 0 ? '' : ` (${only.join(', ')})`}${named}`;
}

function listed(all: readonly string[]): string {
  const shown = all.slice(0, NAMED_MAX).join('; ');
  return all.length > NAMED_MAX ? `${shown} and ${all.length - NAMED_MAX} more` : shown;
}

function describeKey(labels: readonly string[], row: Row): string {
  return labels.map((label, i) => `${label} = ${row[i] ?? 'null'}`).join(', ');
}

/** Figures of one row; of many rows that do not differ how many there are. */
function shownOf({ keys, columns }: Pick<QueryCheck, 'keys' | 'columns'>, row: Row | undefined, whole: readonly Row[]): string | null {
  if (row === undefined) return null;
  const values = columns.flatMap(({ shown }, i) => (i >= keys && shown ? [row[i] ?? 'null'] : []));
  return values.length > 0 ? values.join(', ') : countOf(whole);
}

export interface List {
  readonly rows: readonly Row[];
  readonly numeric: readonly boolean[];
  readonly names: readonly string[];
}

export interface ListRules {
  readonly ordered: boolean;
  readonly tolerance: Tolerance;
}

export function compareLists(source: List, target: List, { ordered, tolerance }: ListRules): Compared {
  const shown = (list: List): string => showList(list);
  const base = { source: shown(source), target: shown(target) };
  if (source.numeric.length !== target.numeric.length)
    return { ...base, equal: false, message: `the answers have ${source.numeric.length} and ${target.numeric.length} columns` };
  const numeric = source.numeric.map((one, i) => one && target.numeric[i]!);
  const columns = placesOf([...source.rows, ...target.rows], numeric);
  const [here, there] = ordered ? [source.rows, target.rows] : [inOrder(source.rows, columns), inOrder(target.rows, columns)];
  const apart = new Set<string>();
  let rows = Math.abs(here.length - there.length);
  for (let i = 0; i < Math.min(here.length, there.length); i++) {
    const names = target.names.filter((_, c) => !near(here[i]![c]!, there[i]![c]!, numeric[c]! ? tolerance : undefined));
    if (names.length > 0) rows++;
    for (const name of names) apart.add(name);
  }
  if (rows === 0) return { ...base, equal: true, message: `${here.length} ${here.length === 1 ? 'row is' : 'rows are'} equal` };
  const count = here.length === there.length ? '' : ` (${here.length} at the source, ${there.length} on the target)`;
  const where = apart.size === 0 ? '' : ` in ${[...apart].join(', ')}`;
  return { ...base, equal: false, message: `${rows === 1 ? 'one row differs' : `${rows} rows differ`}${where}${count}` };
}

function showList({ rows, numeric }: List): string {
  const [only] = rows;
  return rows.length === 1 && numeric.length === 1 && numeric[0] === true ? (only![0] ?? 'null') : countOf(rows);
}

function countOf(rows: readonly Row[]): string {
  return rows.length === 1 ? 'one row' : `${rows.length} rows`;
}

interface Place {
  readonly i: number;
  readonly isNumber: boolean;
}

const WHOLE = /^-?\d+$/;

/** In which order columns tell rows apart: all that is no number first, then whole numbers, so that a tolerance does not change who is compared with whom. */
function placesOf(rows: readonly Row[], numeric: readonly boolean[]): readonly Place[] {
  const rankOf = (i: number): number => (!numeric[i]! ? 0 : rows.every((row) => WHOLE.test(row[i] ?? '0')) ? 1 : 2);
  const places = numeric.map((isNumber, i) => ({ isNumber, i, rank: rankOf(i) }));
  return places.toSorted((one, other) => one.rank - other.rank || one.i - other.i);
}

function inOrder(rows: readonly Row[], columns: readonly Place[]): readonly Row[] {
  return rows.toSorted((one, other) => {
    for (const { isNumber, i } of columns) {
      const order = compareValues(one[i]!, other[i]!, isNumber);
      if (order !== 0) return order;
    }
    return 0;
  });
}

function compareValues(one: string | null, other: string | null, isNumber: boolean): number {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  if (isNumber) return compareDecimals(one, other);
  return one < other ? -1 : one > other ? 1 : 0;
}
