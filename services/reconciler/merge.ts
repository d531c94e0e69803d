/**
 * Two listings in hash order become differences. Guarantee: counts are exact and memory holds one hash value's rows at a time, however
 * many rows differ.
 */
import type { DifferenceKind } from '#schemas/reconcile/verify-result.ts';
import type { ListedRow, Texts } from '#connectors/probe/postgres/table-scan.ts';

export interface RowDifference {
  readonly kind: DifferenceKind;
  readonly key: Texts;
  readonly sourceKey: Texts;
  /** More than one only without a key. */
  readonly rows: number;
}

export interface MergeOptions {
  readonly keyed: boolean;
  /** Rows that were compared one by one already. */
  readonly skipSource: (row: ListedRow) => boolean;
  readonly skipTarget: (row: ListedRow) => boolean;
}

export async function* mergeRows(
  source: AsyncGenerator<ListedRow>,
  target: AsyncGenerator<ListedRow>,
  options: MergeOptions,
): AsyncGenerator<RowDifference> {
  const left = hashRuns(source, options.skipSource);
  const right = hashRuns(target, options.skipTarget);
  let [one, other] = await Promise.all([next(left), next(right)]);
  while (one || other) {
    const takeLeft = one !== undefined && (other === undefined || one.hash <= other.hash);
    const takeRight = other !== undefined && (one === undefined || other.hash <= one.hash);
    yield* compareRun(takeLeft ? one!.rows : [], takeRight ? other!.rows : [], options.keyed);
    [one, other] = await Promise.all([takeLeft ? next(left) : one, takeRight ? next(right) : other]);
  }
}

interface HashRun {
  readonly hash: bigint;
  readonly rows: ListedRow[];
}

async function* hashRuns(rows: AsyncGenerator<ListedRow>, skip: (row: ListedRow) => boolean): AsyncGenerator<HashRun> {
  let run: HashRun | undefined;
  for await (const row of rows) {
    if (skip(row)) continue;
    if (run?.hash === row.hash) run.rows.push(row);
    else {
      if (run) yield run;
      run = { hash: row.hash, rows: [row] };
    }
  }
  if (run) yield run;
}

async function next(runs: AsyncGenerator<HashRun>): Promise<HashRun | undefined> {
  const step = await runs.next();
  return step.done === true ? undefined : step.value;
}

function compareRun(source: readonly ListedRow[], target: readonly ListedRow[], keyed: boolean): RowDifference[] {
  const idOf = (row: ListedRow): string => (keyed ? JSON.stringify(row.key) : `${row.a}:${row.b}`);
  const left = Map.groupBy(source, idOf);
  const right = Map.groupBy(target, idOf);
  const ids = new Set([...left.keys(), ...right.keys()]);
  return [...ids].flatMap((id) => compareOne(left.get(id) ?? [], right.get(id) ?? [], keyed));
}

/** Rows that share a key, or that are equal when there is none. */
function compareOne(source: readonly ListedRow[], target: readonly ListedRow[], keyed: boolean): RowDifference[] {
  const row = source[0] ?? target[0];
  if (!row) return [];
  const { key, sourceKey } = row;
  const surplus = count(source) - count(target);
  const differences: RowDifference[] = [];
  if (surplus > 0) differences.push({ kind: 'missing', key, sourceKey, rows: surplus });
  if (surplus < 0) differences.push({ kind: 'extra', key, sourceKey, rows: -surplus });
  if (!keyed || source.length === 0 || target.length === 0) return differences;
  const equal = source.some((one) => target.some((other) => one.a === other.a && one.b === other.b));
  return equal ? differences : [...differences, { kind: 'different', key, sourceKey, rows: 1 }];
}

function count(rows: readonly ListedRow[]): number {
  return Number(rows.reduce((sum, row) => sum + row.rows, 0n));
}

/** Puts rows that are in no table (rows of changes; counts may be negative) into a listing, keeping its order. */
export async function* withDeltas(rows: AsyncGenerator<ListedRow>, deltas: readonly ListedRow[]): AsyncGenerator<ListedRow> {
  const sorted = deltas.toSorted((one, other) => (one.hash < other.hash ? -1 : one.hash > other.hash ? 1 : 0));
  let at = 0;
  for await (const row of rows) {
    while (at < sorted.length && sorted[at]!.hash < row.hash) yield sorted[at++]!;
    yield row;
  }
  yield* sorted.slice(at);
}
