/**
 * One table of one side against what the log makes of it. Guarantee: sums by bucket, then key by key where they differ, all of one snapshot and
 * one state of the log; rows that are open or set aside are taken out on both sides and counted, and nothing is compared twice until equal.
 */
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import { idOf } from '#schemas/reconcile/table-aggregate.ts';
import { rowsOf, sumsOf } from '#connectors/probe/postgres/computed-scan.ts';
import { type BucketSum, type ListedRow, type Scan, type Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { Equality, MirrorDifference, MirrorVerdict } from './mirror-verdict.ts';
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
  const mask = table.mask;
  const sums = await sumsOf(scan, mask);
  const dirty = differingBuckets(sums, state(), mask);
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
    outcome: tally.differences > 0 ? 'differs' : 'equal',
    rows: Number(rows),
    buckets: dirty.length,
    differences: tally.differences,
    sample: tally.sample,
    open: tally.open.size,
    held: tally.held,
    lsn: lsn === undefined ? null : formatLsn(lsn),
  };
}

const NOTHING: BucketSum = { rows: 0n, a: 0n, b: 0n };

function differingBuckets(sums: ReadonlyMap<string, BucketSum>, state: MirrorState, mask: bigint): number[] {
  return Array.from({ length: Number(mask) + 1 }, (_, bucket) => bucket).filter((bucket) => {
    const sum = sums.get(String(bucket)) ?? NOTHING;
    const known = state.bucket(bucket);
    return Number(sum.rows) !== known.rows || BigInt.asUintN(64, sum.a) !== known.a || BigInt.asUintN(64, sum.b) !== known.b;
  });
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
  for (const row of listed) {
    const key = table.texts.key(row.key);
    const id = idOf(key);
    const known = state.at(key);
    wanted.delete(id);
    if (held.has(id)) tally.held++;
    else if (known === undefined) found.push({ key, difference: named(table, row, 'extra') });
    else if ('open' in known) {
      tally.open.add(id);
      // The source's own row at this state: what the log left out is in it. Wide values are not known by it, so a later change may open it again.
      if (scan.side === 'source') table.settle(key, { lanes: wordsOf(row), declared: [], wide: undefined }, state);
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
  tally.differences += found.length;
  const some = found.slice(0, Math.max(0, samples - tally.sample.length));
  tally.sample.push(...(await withNames(comparison, mask, some)));
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
