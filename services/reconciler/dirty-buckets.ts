/**
 * Where two sides differ, by sums of hash buckets. Guarantee: the buckets named hold every row that differs; a side's rows that are judged
 * elsewhere are taken out at each level alike; equal sides move a line per 64 Ki rows, and nothing is compared twice until equal.
 *
 * Two levels, both in the snapshots that the scans are in: large buckets over all rows, then small ones over the large ones that differ.
 */
import { sumsOf } from '#connectors/probe/postgres/computed-scan.ts';
import { addTo, bucketOf, slices, type BucketSum, type Buckets } from '#connectors/probe/postgres/table-scan.ts';
import type { BothScans } from './touched-rows.ts';

/** What a clean comparison moves is a line for each of these. */
const ROWS_PER_LARGE_BUCKET = 65_536;
/** A bucket that is listed holds at least about this many rows, so that one difference costs a short listing. */
const ROWS_PER_SMALL_BUCKET = 128;
const BUCKETS_MAX = 131_072;

export interface HashedRows {
  readonly hash: bigint;
  readonly sum: Readonly<BucketSum>;
}

/** What is added to the sums of a side. */
export interface Corrections {
  readonly source: readonly HashedRows[];
  readonly target: readonly HashedRows[];
}

/** Rows that the sums hold and that are judged elsewhere. */
export function takenOut(rows: readonly HashedRows[]): HashedRows[] {
  return rows.map(({ hash, sum }) => ({ hash, sum: { rows: -sum.rows, a: -sum.a, b: -sum.b } }));
}

export interface BucketVerdict {
  /** Counted, before any correction. */
  readonly rowsSource: number;
  readonly rowsTarget: number;
  /** To be listed; undefined: the sides are equal. */
  readonly dirty: Buckets | undefined;
}

/** Of the buckets that all rows are summed in first. @param rows About how many a statement reads. */
export function largeMask(rows: number): bigint {
  const wanted = Math.min(BUCKETS_MAX, rows / ROWS_PER_LARGE_BUCKET);
  return wanted < 1 ? 0n : 2n ** BigInt(Math.floor(Math.log2(wanted))) - 1n;
}

/** @param rows About how many the scans read. */
export async function compareBuckets(scans: BothScans, rows: number, corrections: Corrections): Promise<BucketVerdict> {
  // Each slice of a scan answers with a line for each bucket.
  const statements = Math.max(slices(scans.source).length, slices(scans.target).length);
  const large = largeMask(rows / statements);
  const [source, target] = await Promise.all([sumsOf(scans.source, large), sumsOf(scans.target, large)]);
  const counted = { rowsSource: total(source), rowsTarget: total(target) };
  correct({ source, target }, corrections, (hash) => bucketOf(hash, large));
  const differing = dirtyBuckets(source, target);
  if (differing.length === 0) return { ...counted, dirty: undefined };
  const within: Buckets = { mask: large, names: differing };
  const rowsEach = rowsIn(differing, source, target) / differing.length;
  return { ...counted, dirty: await narrow(scans, { within, corrections, rowsEach, statements }) };
}

interface Narrowing {
  readonly within: Buckets;
  readonly corrections: Corrections;
  /** In a bucket of `within`. */
  readonly rowsEach: number;
  readonly statements: number;
}

async function narrow(scans: BothScans, { within, corrections, rowsEach, statements }: Narrowing): Promise<Buckets> {
  // For one difference: as many lines of sums as rows to be listed then.
  const rowsPerBucket = Math.max(ROWS_PER_SMALL_BUCKET, Math.sqrt(rowsEach * statements));
  const wanted = Math.min(BUCKETS_MAX / within.names.length, rowsEach / rowsPerBucket);
  if (wanted < 2) return within;
  const small = (within.mask + 1n) * 2n ** BigInt(Math.ceil(Math.log2(wanted))) - 1n;
  const [source, target] = await Promise.all([sumsOf(scans.source, small, within), sumsOf(scans.target, small, within)]);
  const names = new Set(within.names);
  correct({ source, target }, corrections, (hash) => (names.has(bucketOf(hash, within.mask)) ? bucketOf(hash, small) : undefined));
  return { mask: small, names: dirtyBuckets(source, target) };
}

type Sums = Map<string, BucketSum>;

interface BothSums {
  readonly source: Sums;
  readonly target: Sums;
}

function correct({ source, target }: BothSums, corrections: Corrections, bucket: (hash: bigint) => string | undefined): void {
  const apply = (sums: Sums, rows: readonly HashedRows[]): void => {
    for (const { hash, sum } of rows) {
      const name = bucket(hash);
      if (name !== undefined) addTo(sums, name, sum);
    }
  };
  apply(source, corrections.source);
  apply(target, corrections.target);
}

function total(sums: Sums): number {
  let rows = 0n;
  for (const sum of sums.values()) rows += sum.rows;
  return Number(rows);
}

const ZERO: BucketSum = { rows: 0n, a: 0n, b: 0n };

function rowsIn(buckets: readonly string[], source: Sums, target: Sums): number {
  let rows = 0;
  for (const bucket of buckets) rows += Math.max(Number(source.get(bucket)?.rows ?? 0n), Number(target.get(bucket)?.rows ?? 0n));
  return rows;
}

function dirtyBuckets(source: Sums, target: Sums): string[] {
  return [...new Set([...source.keys(), ...target.keys()])].filter((bucket) => {
    const one = source.get(bucket) ?? ZERO;
    const other = target.get(bucket) ?? ZERO;
    return one.rows !== other.rows || one.a !== other.a || one.b !== other.b;
  });
}
