/**
 * What is known of each table's parts. Guarantee: a part is proved only by a comparison that found it equal, and changed as soon as the log
 * has a change of it that no comparison begun later has seen; the parts of a table hold all its rows, each in one of them.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import { type KeyRange, rangeable, rangeFinder } from '#schemas/reconcile/key-range.ts';
import type { InconclusiveCause, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { type Coverage, coverageOf, newPart, type Part, takenOver } from './schedule.ts';
import { tableName } from './table-name.ts';
import type { Touched } from './touched-keys.ts';

export interface ComparedPart {
  readonly table: TableMapping;
  /** Absent: the whole table. */
  readonly range?: KeyRange;
}

export type PartOf = Part<ComparedPart>;

export interface Outcome {
  readonly verdict: TableVerdict;
  /** Since when the parts had changes that this comparison may not have seen, if it says nothing. */
  readonly changed: ReadonlyMap<PartOf, number>;
  readonly open: readonly DriftFinding[];
  readonly atMs: number;
}

export interface Failure {
  readonly atMs: number;
  /** Why nothing was said. */
  readonly cause: InconclusiveCause;
}

/** Until a range was compared. */
const ROWS_PER_RANGE = 8_192;
/** Until a table was: a round should not take all that nobody knows. */
const ROWS_UNKNOWN = 50_000;
/** A table is asked again whether it can be cut. */
const CUT_AGAIN_MS = 3_600_000;
/** A range that has grown beyond this many times its size is cut. */
const GROWTH_MAX = 4;

interface TableParts {
  readonly table: TableMapping;
  parts: readonly PartOf[];
  /** Which of the parts a source key's first column is in; undefined: there is one part. */
  find: ((key: string | null | undefined) => number | undefined) | undefined;
  /** When it was last asked how it can be cut. */
  askedAtMs: number | undefined;
}

export class MonitoredTables {
  readonly #tables: readonly TableParts[];

  constructor(tables: readonly TableMapping[]) {
    this.#tables = tables.map((table) => ({ table, parts: [newPart({ table }, ROWS_UNKNOWN)], find: undefined, askedAtMs: undefined }));
  }

  get parts(): readonly PartOf[] {
    return this.#tables.flatMap(({ parts }) => parts);
  }

  /** Tables that could be cut, or have outgrown how they are; each is given once an hour. */
  uncut(nowMs: number): readonly TableMapping[] {
    const isDue = ({ table, parts, askedAtMs }: TableParts): boolean =>
      rangeable(table) !== undefined &&
      (askedAtMs === undefined || (nowMs - askedAtMs >= CUT_AGAIN_MS && parts.some(({ rows }) => rows > GROWTH_MAX * ROWS_PER_RANGE)));
    const due = this.#tables.filter(isDue);
    for (const one of due) one.askedAtMs = nowMs;
    return due.map(({ table }) => table);
  }

  cut(table: TableMapping, ranges: readonly KeyRange[]): void {
    const one = this.#tables.find((known) => known.table === table);
    const kind = rangeable(table);
    if (one === undefined || kind === undefined) return;
    const { parts: before, find: findBefore } = one;
    if (isSame(before, ranges)) return;
    const rowsBefore = before.reduce((sum, { rows }) => sum + rows, 0);
    const rowsEach = Math.max(ROWS_PER_RANGE, Math.ceil(findBefore === undefined ? 0 : rowsBefore / ranges.length));
    // Both are in the keys' order: the parts of before that a new one has rows in common with are neighbours.
    const parts = ranges.map((range): PartOf => {
      const from = range.low === undefined ? 0 : (findBefore?.(range.low) ?? 0);
      const last = range.high === undefined ? before.length - 1 : (findBefore?.(range.high) ?? 0);
      // The upper bound is none of its own keys.
      const to = last > from && before[last]!.what.range?.low === range.high ? last - 1 : last;
      return { ...newPart({ table, range }, rowsEach), ...takenOver(before.slice(from, to + 1)) };
    });
    one.parts = parts;
    one.find = finderOf(kind, ranges);
  }

  touch(touched: ReadonlyMap<string, Touched>, nowMs: number): void {
    if (touched.size === 0) return;
    for (const { table, parts, find } of this.#tables) {
      const keys = touched.get(tableName(table.from));
      if (keys === undefined) continue;
      if (keys === 'all' || find === undefined) for (const part of parts) part.changedAtMs ??= nowMs;
      else
        for (const key of keys) {
          const at = find(key);
          // A key that none of the ranges can hold: the table is not what it was.
          for (const part of at === undefined ? parts : [parts[at]!]) part.changedAtMs ??= nowMs;
        }
    }
  }

  touchAll(nowMs: number): void {
    for (const { parts } of this.#tables) for (const part of parts) part.changedAtMs ??= nowMs;
  }

  /** With the rest of each table that is chosen for the larger part: all of it is read from one end to the other, and no slower than half of it by its index. */
  filledUp(chosen: readonly PartOf[]): readonly PartOf[] {
    const own = new Set(chosen);
    const rowsOf = (parts: readonly PartOf[]): number => parts.reduce((sum, { rows }) => sum + rows, 0);
    const added = this.#tables.flatMap(({ parts }) => {
      const rest = parts.filter((part) => !own.has(part));
      return rest.length < parts.length && rowsOf(rest) * 2 <= rowsOf(parts) ? rest : [];
    });
    return [...chosen, ...added];
  }

  /** @returns since when they had changes: those are seen by the comparison that begins now */
  begin(parts: readonly PartOf[]): ReadonlyMap<PartOf, number> {
    const changed = new Map<PartOf, number>();
    for (const part of parts) {
      if (part.changedAtMs !== undefined) changed.set(part, part.changedAtMs);
      part.changedAtMs = undefined;
    }
    return changed;
  }

  failed(parts: readonly PartOf[], changed: ReadonlyMap<PartOf, number>, { atMs, cause }: Failure): void {
    for (const part of parts) {
      part.verdict = 'inconclusive';
      part.cause = cause;
      part.failures++;
      part.comparedAtMs = atMs;
      part.changedAtMs = changed.get(part) ?? part.changedAtMs;
    }
  }

  /** @param parts All that were compared of the verdict's table. */
  compared(parts: readonly PartOf[], { verdict, changed, open, atMs }: Outcome): void {
    if (verdict.inconclusive !== undefined) return this.failed(parts, changed, { atMs, cause: verdict.inconclusive.cause });
    const mine = open.filter(({ from, to }) => from === verdict.from && to === verdict.to);
    const shareOf = sharesOf(parts, verdict);
    for (const part of parts) {
      const { rows, hasUnnamed } = shareOf(part);
      const found = part.what.range === undefined ? mine : mine.filter((finding) => this.#partOf(part.what.table, finding) === part);
      part.comparedAtMs = atMs;
      part.failures = 0;
      part.rows = rows;
      part.verdict = found.length > 0 || hasUnnamed ? 'differs' : 'equal';
      if (part.verdict === 'equal') part.provedAtMs = atMs;
      part.urgent = found.some(({ state }) => state === 'suspected' || state === 'repairing');
    }
  }

  /** The parts that findings are in, to be looked at first. */
  pressing(open: readonly DriftFinding[]): void {
    for (const finding of open)
      for (const { table, parts } of this.#tables) {
        if (tableName(table.from) !== finding.from || tableName(table.to) !== finding.to) continue;
        const own = this.#partOf(table, finding);
        for (const part of own === undefined ? parts : [own]) part.urgent = true;
      }
  }

  /** Whether a finding's row was among what these parts of one table compared; undefined: all of the table was. */
  coversOf(parts: readonly PartOf[]): ((finding: DriftFinding) => boolean) | undefined {
    const [first] = parts;
    if (first === undefined) return () => false;
    const all = this.#of(first.what.table).parts;
    if (parts.length === all.length) return undefined;
    const compared = new Set(parts);
    return (finding) => {
      const own = this.#partOf(first.what.table, finding);
      return own !== undefined && compared.has(own);
    };
  }

  partsOf(verdict: TableVerdict): number {
    const one = this.#tables.find(({ table }) => tableName(table.from) === verdict.from && tableName(table.to) === verdict.to);
    return one?.parts.length ?? 0;
  }

  coverage(): Coverage {
    return coverageOf(this.parts);
  }

  #of(table: TableMapping): TableParts {
    return this.#tables.find((one) => one.table === table)!;
  }

  /** Undefined where the finding's place is not known. */
  #partOf(table: TableMapping, { key, sourceKey }: DriftFinding): PartOf | undefined {
    const { parts, find } = this.#of(table);
    if (find === undefined) return parts[0];
    // Of a table that can be cut the first column of either key has the same texts.
    const first = sourceKey?.[0] ?? key?.[table.targetKey[0]!];
    return first === undefined && key === null ? undefined : parts[find(first) ?? -1];
  }
}

function isSame(parts: readonly PartOf[], ranges: readonly KeyRange[]): boolean {
  const same = ({ what: { range } }: PartOf, i: number): boolean => range?.low === ranges[i]?.low && range?.high === ranges[i]?.high;
  return parts.length === ranges.length && parts.every(same);
}

/** As `rangeFinder`; undefined also for what is no key of the kind: tables change, and this is asked of whatever the log and the target hold. */
function finderOf(...of: Parameters<typeof rangeFinder>): ReturnType<typeof rangeFinder> {
  const find = rangeFinder(...of);
  return (key) => {
    try {
      return find(key);
    } catch {
      return undefined;
    }
  };
}

interface Share {
  readonly rows: number;
  /** Rows differ that no finding places in one of the parts. */
  readonly hasUnnamed: boolean;
}

/** Neighbours were compared as one: its rows are taken to be spread evenly. */
function sharesOf(parts: readonly PartOf[], { ranges, sample, ...verdict }: TableVerdict): (part: PartOf) => Share {
  const differences = verdict.missing + verdict.extra + verdict.different;
  const isNamed = sample.length >= differences && sample.every(({ sourceKey }) => sourceKey !== undefined);
  const [first] = parts;
  const kind = first === undefined ? undefined : rangeable(first.what.table);
  if (ranges === undefined || kind === undefined)
    return () => ({ rows: Math.max(verdict.rowsSource, verdict.rowsTarget), hasUnnamed: differences > 0 && !isNamed });
  const find = rangeFinder(kind, ranges);
  const placeOf = ({ what: { range } }: PartOf): number =>
    range?.low === undefined ? ranges.findIndex(({ low }) => low === undefined) : (find(range.low) ?? -1);
  const counts = Map.groupBy(parts, placeOf);
  return (part) => {
    const place = placeOf(part);
    const range = ranges[place];
    const together = counts.get(place)?.length ?? 1;
    return { rows: Math.ceil((range?.rows ?? 0) / together), hasUnnamed: !isNamed && (range?.differences ?? 0) > 0 };
  };
}
