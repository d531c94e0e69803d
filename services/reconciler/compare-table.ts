/**
 * One table, both sides. Guarantee: the verdict holds for the alignment's applied LSN: bucket sums of the snapshots, corrected by the
 * rows that changed between them, then the rows of the buckets that differ, then their columns. Nothing is compared twice until equal.
 */
import type pg from 'pg';
import { invariant } from '#schemas/errors.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { quoteTable } from '#schemas/table.ts';
import { isNoKey } from '#schemas/mapping/key-map.ts';
import { keepsUnmarked } from '#schemas/mapping/kept-rows.ts';
import { rangeable, rangeFinder, type KeyRange } from '#schemas/reconcile/key-range.ts';
import type { DifferenceSample, Inconclusive, ProvedRange, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Side } from '#connectors/probe/postgres/held-snapshot.ts';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { rowsAt, rowsOf } from '#connectors/probe/postgres/computed-scan.ts';
import { keyId, normalizeOnTarget } from '#connectors/probe/postgres/rows-by-key.ts';
import {
  bucketOf,
  countSoftlyDeleted,
  readByIndex,
  type Buckets,
  type ListedRow,
  type Scan,
  type TableProbe,
  type Texts,
} from '#connectors/probe/postgres/table-scan.ts';
import type { AlignedTable, Alignment } from './align.ts';
import { compareBuckets, takenOut } from './dirty-buckets.ts';
import { nameChildren } from './exploded-differences.ts';
import type { VerifyLimits } from './limits.ts';
import { mergeRows, withDeltas, type RowDifference } from './merge.ts';
import type { ScanSessions } from './scan-sessions.ts';
import { keylessDeltas } from './touched-keyless.ts';
import { columnsThatDiffer, judgeTouched, keyObject, type BothScans, type Parts, type TouchedRows } from './touched-rows.ts';

export interface CompareOptions {
  readonly alignment: Alignment;
  /** Of the alignment's snapshots, and nobody else's meanwhile. */
  readonly sessions: ScanSessions;
  readonly plan: DigestPlan;
  readonly limits: VerifyLimits;
  /** Absent: tables are compared whole. */
  readonly ranges: ReadonlyMap<TableProbe, readonly KeyRange[]>;
}

export function verdictWithout(probe: TableProbe, inconclusive: Inconclusive): TableVerdict {
  const { from, to } = probe.mapping;
  return {
    from: `${from.schema}.${from.name}`,
    to: `${to.schema}.${to.name}`,
    rowsSource: 0,
    rowsTarget: 0,
    missing: 0,
    extra: 0,
    different: 0,
    sample: [],
    lsn: null,
    inconclusive,
  };
}

export async function compareTable(table: AlignedTable, options: CompareOptions): Promise<TableVerdict> {
  const { alignment, sessions } = options;
  const { probe } = table;
  if (table.changes.voided) return verdictWithout(probe, table.changes.voided);
  const ranges = options.ranges.get(probe);
  const open = async (side: Side): Promise<Scan> => {
    const client = await sessions.enter(side);
    const begin = async (): Promise<void> => {
      await lockUnmoved({ side, client, table, alignment });
      // All of it is read faster from one end to the other.
      if (ranges?.some(({ low, high }) => (low ?? high) !== undefined) === true) await readByIndex(client);
    };
    await begin();
    const renew = async (): Promise<void> => {
      await alignment[side].enter(client);
      await begin();
    };
    return { client, side, probe, shape: table[side], plan: options.plan, renew };
  };
  try {
    const scans = await bothOpened(open('source'), open('target'));
    const verdict = await compareScans(scans, table, options);
    await Promise.all([alignment.source.stillHeld(), alignment.target.stillHeld(), sessions.leave()]);
    return verdict;
  } catch (error) {
    await sessions.close();
    if (error instanceof TableMoved) return verdictWithout(probe, { cause: 'changed', message: error.message });
    throw error;
  }
}

/** Both have come to an end when this does: a session that is still on its way could not be closed. */
async function bothOpened(...sides: readonly [Promise<Scan>, Promise<Scan>]): Promise<BothScans> {
  const [source, target] = await Promise.allSettled(sides);
  if (source.status === 'rejected') throw source.reason;
  if (target.status === 'rejected') throw target.reason;
  return { source: source.value, target: target.value };
}

export type ScanOptions = Pick<CompareOptions, 'limits' | 'ranges'> & { readonly alignment: Pick<Alignment, 'applied'> };

/** Of sessions that are in the snapshots and hold the table. */
export async function compareScans(scans: BothScans, table: AlignedTable, options: ScanOptions): Promise<TableVerdict> {
  return table.probe.key.length > 0 ? compareKeyed(scans, table, options) : compareKeyless(scans, table, options);
}

export class TableMoved extends Error {
  override readonly name = 'TableMoved';
}

export interface Locking {
  readonly side: Side;
  readonly client: pg.ClientBase;
  readonly table: AlignedTable;
  readonly alignment: Alignment;
}

/** Under the lock: is the table still what the snapshot saw? @throws TableMoved */
export async function lockUnmoved({ side, client, table, alignment }: Locking): Promise<void> {
  const name = side === 'source' ? table.probe.mapping.from : table.probe.mapping.to;
  await client.query(`LOCK TABLE ${quoteTable(name)} IN ACCESS SHARE MODE`);
  if (!guarded('verify-shape')) return;
  const [now] = await readShapes(alignment.present[side], [name]);
  if (now?.fingerprint !== table[side].fingerprint)
    throw new TableMoved(`the ${side} table was truncated, rewritten or altered while it was compared`);
}

/** Somebody who waits to alter the table waits for about this long, where it is compared by ranges. */
const LOCK_MS_MAX = 1_000;

function estimate(shape: { readonly rowEstimate: number; readonly pages: number }): number {
  const ROWS_PER_PAGE = 60;
  return shape.rowEstimate > 0 ? shape.rowEstimate : shape.pages * ROWS_PER_PAGE;
}

async function compareKeyed(scans: BothScans, table: AlignedTable, options: ScanOptions): Promise<TableVerdict> {
  const { probe } = table;
  const asked = options.ranges.get(probe);
  const parts = partsOf(scans, asked);
  const touched = await judgeTouched(scans, table.changes, partFinder(probe, asked));
  const unknown = touched.reduce((sum, part) => sum + part.unknown, 0);
  if (unknown > 0) {
    return verdictWithout(probe, { cause: 'changed', message: `${unknown} changed rows cannot be made whole from the stream` });
  }
  const tally = new Tally(options.limits.samples, table);
  const counts = { rowsSource: 0, rowsTarget: 0 };
  const softlyDeleted: number[] = [];
  const ranges: ProvedRange[] = [];
  let lockedAtMs = performance.now();
  for (const [i, part] of parts.entries()) {
    if (performance.now() - lockedAtMs > LOCK_MS_MAX) {
      await Promise.all([scans.source.renew(), scans.target.renew()]);
      lockedAtMs = performance.now();
    }
    const before = tally.differences();
    const rows = await comparePart(part, { touched: touched[i]!, tally, rows: asked ? 0 : rowsOfLarger(table) });
    counts.rowsSource += rows.rowsSource;
    counts.rowsTarget += rows.rowsTarget;
    const soft = await countSoftlyDeleted(part.target);
    if (soft !== undefined) softlyDeleted.push(soft);
    ranges.push({ ...asked?.[i], rows: rows.rowsSource, differences: tally.differences() - before });
  }
  return {
    ...verdictOf(probe, tally),
    ...(softlyDeleted.length > 0 && { softlyDeleted: softlyDeleted.reduce((sum, rows) => sum + rows, 0) }),
    ...counts,
    lsn: formatLsn(options.alignment.applied),
    ...(asked && { ranges }),
  };
}

function partsOf({ source, target }: BothScans, ranges: readonly KeyRange[] | undefined): BothScans[] {
  if (ranges === undefined) return [{ source, target }];
  return ranges.map((one) => {
    const range = one.low === undefined && one.high === undefined ? undefined : one;
    return { source: { ...source, range }, target: { ...target, range } };
  });
}

function partFinder({ mapping }: TableProbe, ranges: readonly KeyRange[] | undefined): Parts {
  if (ranges === undefined) return { count: 1, of: () => 0 };
  const kind = rangeable(mapping);
  invariant(kind !== undefined, 'ranges are asked for only of a table that has them');
  return { count: ranges.length, of: rangeFinder(kind, ranges) };
}

function rowsOfLarger({ source, target }: AlignedTable): number {
  return Math.max(estimate(source), estimate(target));
}

interface ComparingPart {
  readonly touched: TouchedRows;
  readonly tally: Tally;
  /** About how many the part has. */
  readonly rows: number;
}

async function comparePart(
  scans: BothScans,
  { touched, tally, rows }: ComparingPart,
): Promise<Pick<TableVerdict, 'rowsSource' | 'rowsTarget'>> {
  const counted = await compareBuckets(scans, rows, { source: takenOut(touched.sourceRows), target: takenOut(touched.targetRows) });
  for (const one of touched.differences) tally.add(one, 1);
  if (counted.dirty) await listDifferences(scans, counted.dirty, { touched, tally });
  const touchedRows = Number(touched.sourceRows.reduce((sum, row) => sum + row.sum.rows, 0n));
  return { rowsSource: counted.rowsSource - touchedRows + touched.rowsAtApplied, rowsTarget: counted.rowsTarget };
}

/** Counts and names what differs. */
export class Tally {
  readonly counts = { missing: 0, extra: 0, different: 0 };
  readonly sample: DifferenceSample[] = [];
  readonly max: number;
  held = 0;
  kept = 0;
  readonly #heldKeys: ReadonlySet<string>;
  readonly #keeps: boolean;

  constructor(max: number, { held, probe }: Pick<AlignedTable, 'held' | 'probe'>) {
    this.max = max;
    this.#heldKeys = held;
    this.#keeps = keepsUnmarked(probe.mapping);
  }

  differences(): number {
    return this.counts.missing + this.counts.extra + this.counts.different;
  }

  add(difference: DifferenceSample, rows: number): void {
    if (difference.kind === 'extra' && this.#keeps) {
      this.kept += rows;
      return;
    }
    const held = this.#count(difference.kind, rows, difference.sourceKey);
    if (this.sample.length < this.max) this.sample.push(held ? { ...difference, cause: 'held' } : difference);
  }

  addUnnamed({ kind, rows, sourceKey }: RowDifference): void {
    this.#count(kind, rows, sourceKey);
  }

  #count(kind: DifferenceSample['kind'], rows: number, key: readonly (string | null)[] | undefined): boolean {
    this.counts[kind] += rows;
    const held = key !== undefined && this.#heldKeys.size > 0 && this.#heldKeys.has(JSON.stringify(key));
    if (held) this.held += rows;
    return held;
  }
}

export function verdictOf(probe: TableProbe, tally: Tally): Omit<TableVerdict, 'rowsSource' | 'rowsTarget' | 'lsn'> {
  const { from, to, steps } = probe.mapping;
  return {
    from: `${from.schema}.${from.name}`,
    to: `${to.schema}.${to.name}`,
    ...tally.counts,
    ...(tally.held > 0 && { held: tally.held }),
    ...(tally.kept > 0 && { kept: tally.kept }),
    sample: tally.sample,
    ...(steps !== undefined && { sharedFunctionOnly: steps.computed.map(({ target }) => target) }),
  };
}

const CONFIRM_ROWS = 500;

interface Listing {
  readonly touched: TouchedRows;
  readonly tally: Tally;
}

async function listDifferences(scans: BothScans, dirty: Buckets, { touched, tally }: Listing): Promise<void> {
  const differences = mergeRows(rowsOf(scans.source, dirty), rowsOf(scans.target, dirty), {
    keyed: true,
    skipSource: (row) => touched.sourceKeys.has(keyId(row.sourceKey)),
    skipTarget: (row) => touched.targetKeys.has(keyId(row.key)),
  });
  const waiting: RowDifference[] = [];
  const isExploded = scans.source.probe.mapping.explode !== undefined;
  const confirmAll = isExploded || scans.source.probe.columns.some((column) => !column.settled);
  let found = 0;
  for await (const one of differences) {
    found++;
    if (one.kind !== 'different' && !isExploded) tally.add(sampleOf(scans.source.probe, one, []), one.rows);
    else if (waiting.length < tally.max || confirmAll) waiting.push(one);
    else tally.addUnnamed(one);
  }
  invariant(found > 0, 'sums differ where a row does');
  // The listings' cursors are done: the same sessions may fetch rows now.
  for (let from = 0; from < waiting.length; from += CONFIRM_ROWS) {
    const some = waiting.slice(from, from + CONFIRM_ROWS);
    if (isExploded) for (const one of await nameChildren(scans, some)) tally.add(one, 1);
    else await nameColumns(scans, some, tally);
  }
}

function sampleOf(probe: TableProbe, { kind, key, sourceKey }: RowDifference, columns: readonly string[]): DifferenceSample {
  const known = sourceKey.length > 0 ? sourceKey : sameKeyTexts(probe) && !key.some(isNoKey) ? key : [];
  return { key: keyObject(probe, key), kind, columns, ...(known.length > 0 && !known.includes(null) && { sourceKey: known as string[] }) };
}

/** Whether the target's key texts are the source's. */
function sameKeyTexts(probe: TableProbe): boolean {
  return probe.key.every((i) => {
    const { cast, keyMap } = probe.mapping.columns[i]!;
    return probe.columns[i]!.onText === undefined && (cast === undefined || keyMap !== undefined);
  });
}

/** Reads the rows themselves: which columns differ? None may: two servers can quote one row in two ways. */
async function nameColumns(scans: BothScans, differences: readonly RowDifference[], tally: Tally): Promise<void> {
  const { probe } = scans.source;
  const [here, there] = await Promise.all([
    rowsAt(
      scans.source,
      differences.map((one) => one.sourceKey),
    ),
    rowsAt(
      scans.target,
      differences.map((one) => one.key),
    ),
  ]);
  const found = differences.map((one) => ({
    one,
    source: here.get(keyId(one.sourceKey))?.texts,
    target: there.get(keyId(one.key))?.texts,
  }));
  const unsettled = found.filter(({ source }) => source !== undefined);
  const normal = probe.columns.every((column) => column.settled)
    ? unsettled.map(({ source }) => source!)
    : await normalizeOnTarget(
        scans.target.client,
        probe,
        unsettled.map(({ source }) => source!),
      );
  const texts = new Map<RowDifference, Texts>(unsettled.map(({ one }, i) => [one, normal[i]!]));
  for (const { one, target } of found) {
    const columns = columnsThatDiffer(scans, texts.get(one), target);
    if (columns.length > 0 || target === undefined) tally.add(sampleOf(probe, one, columns), one.rows);
  }
}

async function compareKeyless(scans: BothScans, table: AlignedTable, { alignment, limits }: ScanOptions): Promise<TableVerdict> {
  const deltas = await keylessDeltas(scans, table.changes);
  if (!deltas)
    return verdictWithout(table.probe, {
      cause: 'changed',
      message: 'a changed row is not whole in the stream: REPLICA IDENTITY FULL is needed',
    });
  const gained = deltas.map(({ hash, a, b, rows }) => ({ hash, sum: { rows, a: rows * a, b: rows * b } }));
  const counted = await compareBuckets(scans, rowsOfLarger(table), { source: gained, target: [] });
  const tally = new Tally(limits.samples, table);
  if (counted.dirty) await listKeyless(scans, counted.dirty, { deltas, tally });
  const net = Number(deltas.reduce((sum, { rows }) => sum + rows, 0n));
  return {
    ...verdictOf(table.probe, tally),
    rowsSource: counted.rowsSource + net,
    rowsTarget: counted.rowsTarget,
    lsn: formatLsn(alignment.applied),
  };
}

interface KeylessListing {
  readonly deltas: readonly ListedRow[];
  readonly tally: Tally;
}

async function listKeyless(scans: BothScans, dirty: Buckets, { deltas, tally }: KeylessListing): Promise<void> {
  const names = new Set(dirty.names);
  const source = withDeltas(
    rowsOf(scans.source, dirty),
    deltas.filter(({ hash }) => names.has(bucketOf(hash, dirty.mask))),
  );
  const never = (): boolean => false;
  const differences = mergeRows(source, rowsOf(scans.target, dirty), { keyed: false, skipSource: never, skipTarget: never });
  let found = 0;
  for await (const { kind, rows } of differences) {
    found++;
    tally.add({ key: null, kind, columns: [] }, rows);
  }
  invariant(found > 0, 'sums differ where a row does');
}
