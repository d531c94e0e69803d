/**
 * One table of one side against what the log makes of it. Guarantee: sums by bucket, then key by key where they differ, all of one snapshot and
 * one state of the log; rows that are open or set aside are taken out on both sides and counted, and nothing is compared twice until equal.
 */
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import { DecimalSum } from '#schemas/reconcile/decimal-sum.ts';
import { idOf } from '#schemas/reconcile/table-aggregate.ts';
import { rowsAt, rowsOf, sumsOf } from '#connectors/probe/postgres/computed-scan.ts';
import { keyId } from '#connectors/probe/postgres/rows-by-key.ts';
import { type BucketSum, type ListedRow, type Scan, type Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { Equality, MirrorDifference, MirrorSum, MirrorVerdict } from './mirror-verdict.ts';
import { lanesOf, type MirrorState, type TableMirror } from './table-mirror.ts';

export interface SideComparison {
  readonly equality: Equality;
  readonly table: TableMirror;
  readonly scan: Scan;
  /** The state of the log that the snapshot shows: asked for anew whenever the log may have gone on. @throws NotAligned */
  readonly state: () => MirrorState;
  /** Key digests of rows that the target has set aside. */
  readonly held: ReadonlySet<string>;
  /** Rows of the buckets on the other side, to name a key of which only the digest is known. */
  readonly others: (mask: bigint, buckets: readonly string[]) => AsyncIterable<ListedRow>;
  readonly samples: number;
  readonly lsn: Lsn | undefined;
}

/** So many are listed at one go: some ten thousand rows. */
const LISTED_BUCKETS = 256;

interface Found {
  readonly key: Int32Array;
  readonly difference: MirrorDifference;
}

export async function compareSide(comparison: SideComparison): Promise<MirrorVerdict> {
  const { table, scan, state, equality, lsn } = comparison;
  const { mask, summed } = table;
  const sums = await sumsOf({ ...scan, summed }, mask);
  const at = state();
  const dirty = differingBuckets(sums, at, mask);
  const totals = totalsOf(table, sums, at);
  const tally: Tally = { differences: 0, open: new Set(), held: 0, sample: [] };
  for (let from = 0; from < dirty.length; from += LISTED_BUCKETS)
    await compareRows(comparison, mask, { buckets: dirty.slice(from, from + LISTED_BUCKETS), tally });
  const { from, to } = table.probe.mapping;
  let rows = 0n;
  for (const sum of sums.values()) rows += sum.rows;
  return {
    from: `${from.schema}.${from.name}`,
    to: `${to.schema}.${to.name}`,
    equality,
    outcome: tally.differences > 0 || sumsAreApart(totals, tally) ? 'differs' : 'equal',
    rows: Number(rows),
    buckets: dirty.length,
    differences: tally.differences,
    sample: tally.sample,
    open: tally.open.size,
    held: tally.held,
    sums: totals,
    lsn: lsn === undefined ? null : formatLsn(lsn),
  };
}

const NOTHING: BucketSum = { rows: 0n, a: 0n, b: 0n };

function differingBuckets(sums: ReadonlyMap<string, BucketSum>, state: MirrorState, mask: bigint): number[] {
  return Array.from({ length: Number(mask) + 1 }, (_, bucket) => bucket).filter((bucket) => {
    const sum = sums.get(String(bucket)) ?? NOTHING;
    const known = state.bucket(bucket);
    if (Number(sum.rows) !== known.rows || BigInt.asUintN(64, sum.a) !== known.a || BigInt.asUintN(64, sum.b) !== known.b) return true;
    return state.declaredOf(bucket).some((total, i) => total.value !== (sum.declared?.[i]?.value ?? null));
  });
}

function totalsOf(table: TableMirror, sums: ReadonlyMap<string, BucketSum>, state: MirrorState): MirrorSum[] {
  const { probe, summed } = table;
  const [log, side] = [summed.map(() => new DecimalSum()), summed.map(() => new DecimalSum())];
  for (let bucket = 0; bucket <= Number(table.mask); bucket++) {
    for (const [i, sum] of state.declaredOf(bucket).entries()) log[i]!.addAll(sum);
    for (const [i, sum] of (sums.get(String(bucket))?.declared ?? []).entries()) side[i]!.addAll(sum);
  }
  return summed.map((column, i) => ({ column: probe.mapping.columns[column]!.target, log: log[i]!.value, side: side[i]!.value }));
}

/** Of rows that are all equal by their digests, and all known: so one of the two is wrong. */
function sumsAreApart(sums: readonly MirrorSum[], { open, held }: Tally): boolean {
  return open.size === 0 && held === 0 && sums.some(({ log, side }) => log !== side);
}

interface Tally {
  differences: number;
  readonly open: Set<string>;
  held: number;
  readonly sample: MirrorDifference[];
}

async function compareRows(
  comparison: SideComparison,
  mask: bigint,
  { buckets, tally }: { readonly buckets: readonly number[]; readonly tally: Tally },
): Promise<void> {
  const { table, scan, held, samples } = comparison;
  const listed: ListedRow[] = [];
  for await (const row of rowsOf(scan, { mask, names: buckets.map(String) })) listed.push(row);
  const state = comparison.state();
  const wanted = state.rowsIn(new Set(buckets));
  const found: Found[] = [];
  const settled: Settled[] = [];
  const seen = new Set<string>();
  for (const row of listed) {
    const key = table.texts.key(row.key);
    const id = idOf(key);
    const known = state.at(key);
    wanted.delete(id);
    // On a target that has lost its unique index a row may stand twice.
    const isDoubled = seen.has(id);
    seen.add(id);
    if (held.has(id)) tally.held++;
    else if (known === undefined || isDoubled) found.push({ key, difference: named(table, row, 'extra') });
    else if ('open' in known) {
      tally.open.add(id);
      if (scan.side === 'source') settled.push({ key, row });
    } else {
      const [a, b] = lanesOf(known.lanes);
      if (a !== row.a || b !== row.b) found.push({ key, difference: named(table, row, 'different') });
    }
  }
  for (const [id, { key }] of wanted) {
    if (held.has(id)) {
      tally.held++;
      continue;
    }
    const texts = table.late.textsOf(key);
    found.push({ key, difference: texts === undefined ? { kind: 'missing', key: null } : missing(table, texts) });
  }
  await settle(comparison, settled, state);
  tally.differences += found.length;
  const some = found.slice(0, Math.max(0, samples - tally.sample.length));
  tally.sample.push(...(await withNames(comparison, mask, some)));
}

interface Settled {
  readonly key: Int32Array;
  readonly row: ListedRow;
}

/** The source's own rows at this state: what the log left out is in them. Wide values are not known by it, so a later change may open one again. */
async function settle({ table, scan, state }: SideComparison, open: readonly Settled[], listedAt: MirrorState): Promise<void> {
  const { summed } = table;
  if (open.length === 0) return;
  const keys = open.map(({ row }) => row.sourceKey);
  const rows = summed.length === 0 ? undefined : await rowsAt(scan, keys);
  // The log may have gone on while the numbers were read.
  const now = rows === undefined ? listedAt : state();
  for (const [i, { key, row }] of open.entries()) {
    const texts = rows?.get(keyId(keys[i]!))?.texts;
    if (rows !== undefined && texts === undefined) continue;
    const declared = summed.map((column) => texts![column]!);
    table.settle(key, { lanes: wordsOf(row), declared, wide: undefined }, now);
  }
}

function named({ probe }: TableMirror, { key, sourceKey }: ListedRow, kind: 'extra' | 'different'): MirrorDifference {
  // Key columns are the source's texts on both sides, or the table is not kept.
  const source = sourceKey.length > 0 ? sourceKey : key;
  return { kind, key: keyObject(probe.mapping.targetKey, key), sourceKey: source.map((text) => text ?? '') };
}

function missing({ probe }: TableMirror, texts: Texts): MirrorDifference {
  return { kind: 'missing', key: keyObject(probe.mapping.targetKey, texts), sourceKey: texts.map((text) => text ?? '') };
}

function keyObject(names: readonly string[], key: Texts): Readonly<Record<string, string | null>> {
  return Object.fromEntries(names.map((name, i) => [name, key[i] ?? null]));
}

/** Of a row that only the log has the digest of the key is known: the other side may still have the row, and so its key. */
async function withNames(comparison: SideComparison, mask: bigint, found: readonly Found[]): Promise<MirrorDifference[]> {
  const unnamed = found.filter(({ difference }) => difference.key === null);
  if (unnamed.length === 0) return found.map(({ difference }) => difference);
  const { table } = comparison;
  const buckets = [...new Set(unnamed.map(({ key }) => String(table.bucketOf(key))))];
  const names = new Map<string, MirrorDifference>();
  const wanted = new Set(unnamed.map(({ key }) => idOf(key)));
  for await (const row of comparison.others(mask, buckets)) {
    const id = idOf(table.texts.key(row.key));
    if (wanted.has(id)) names.set(id, missing(table, row.sourceKey.length > 0 ? row.sourceKey : row.key));
  }
  return found.map(({ key, difference }) => (difference.key === null ? (names.get(idOf(key)) ?? difference) : difference));
}

function wordsOf({ a, b }: ListedRow): Int32Array {
  const words = [a >> 32n, a, b >> 32n, b];
  return Int32Array.from(words, (word) => Number(BigInt.asIntN(32, word)));
}
