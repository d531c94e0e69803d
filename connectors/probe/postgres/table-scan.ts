/**
 * Reads of one table on one side, each inside a held snapshot. Guarantee: every row of the snapshot that the mapping selects is
 * counted in exactly one bucket, by the hash of its key as the target spells it; sums and listings use the same digest.
 */
import type pg from 'pg';
import type { RowFilter, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { aliveSql, softDeleteOf } from '#schemas/mapping/kept-rows.ts';
import { filterSql } from '#schemas/mapping/row-filter.ts';
import { comparedSql } from '#schemas/mapping/share.ts';
import { DecimalSum } from '#schemas/reconcile/decimal-sum.ts';
import type { KeyRange } from '#schemas/reconcile/key-range.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { columnSql, outputText, type ColumnSql } from './column-sql.ts';
import { CHILD_COUNT, childrenSql, groupedChildren, sourceCount, sourceHas } from './exploded-rows.ts';
import { readColumns, rowImage, type RowImage } from './row-image.ts';
import { rangeConditions } from './range-sql.ts';
import { digestSelect, type DigestPlan } from './row-sql.ts';
import type { Side } from './held-snapshot.ts';
import type { Shape } from './shape.ts';

export type Texts = readonly (string | null)[];

/** Everything the scans need to know of one mapped table. */
export interface TableProbe {
  readonly mapping: TableMapping;
  readonly columns: readonly ColumnSql[];
  /** Indexes in `mapping.columns` of the target key; empty = keyless. */
  readonly key: readonly number[];
  /** Source columns that are mapped, keys or filtered on. */
  readonly sourceColumns: readonly string[];
  /** Values of the source columns, in their order, as the mapping's columns. */
  readonly image: RowImage;
  /** Whether the source server knows a type. */
  readonly known: (type: string) => boolean;
  /** Rows of the target that count, by its own columns; undefined: all. */
  readonly targetRows?: RowFilter | undefined;
}

export interface BucketSum {
  rows: bigint;
  a: bigint;
  b: bigint;
  /** Of the scan's summed columns; absent: it has none. */
  declared?: readonly DecimalSum[];
}

/** A slice's statement stays short on a big table: 1 GiB of 8 KiB pages. */
const SLICE_PAGES = 131_072;
const FETCH_ROWS = 10_000;

export function tableProbe(mapping: TableMapping, known: (type: string) => boolean, targetRows?: RowFilter): TableProbe {
  const sourceColumns = readColumns(mapping);
  return {
    mapping,
    columns: mapping.columns.map((column, i) =>
      mapping.explode !== undefined && i === mapping.columns.length - 1 ? childrenSql(mapping, known) : columnSql(column, known),
    ),
    key: mapping.targetKey.map((name) => mapping.columns.findIndex((column) => column.target === name)),
    sourceColumns,
    image: rowImage(mapping, sourceColumns),
    known,
    targetRows,
  };
}

/** FROM item with alias t; a plain table without its inheritance children. */
export function fromItem(probe: TableProbe, side: Side, shape: Shape): string {
  if (side === 'target' && probe.mapping.explode !== undefined) return groupedChildren(probe.mapping, shape.kind !== 'p', probe.known);
  const table = side === 'source' ? probe.mapping.from : probe.mapping.to;
  return `${shape.kind === 'p' ? '' : 'ONLY '}${quoteTable(table)} AS t`;
}

/** Canonical value expressions, one per mapped column. */
export function valueExpressions(probe: TableProbe, side: Side): string[] {
  return probe.mapping.columns.map((column, i) => {
    const sql = probe.columns[i]!;
    return side === 'source' ? sql.onSource(`t.${quoteIdent(column.source.name)}`) : sql.onTarget(`t.${quoteIdent(column.target)}`);
  });
}

/** Of the rows that count: those that the mapping selects, and on the target those that are its own (or nobody's), not softly deleted, and of `targetRows`. */
export function conditions(probe: TableProbe, side: Side): string[] {
  const named = (column: string): string => `t.${quoteIdent(column)}`;
  const { filter, explode } = probe.mapping;
  if (side === 'source') return [filter ? filterSql(filter, named) : [], explode ? sourceHas(explode, named(explode.name)) : []].flat();
  const soft = softDeleteOf(probe.mapping);
  return [
    comparedSql(probe.mapping, named) ?? [],
    soft === undefined ? [] : aliveSql(soft, 't.'),
    probe.targetRows === undefined ? [] : filterSql(probe.targetRows, named),
  ].flat();
}

/** Those of the rows that the scan reads, or a part of it that `slices` names. */
export function scanConditions({ probe, side, range }: Scan, slice: readonly string[] = []): string[] {
  return [...conditions(probe, side), ...rangeConditions({ mapping: probe.mapping, side, range }), ...slice];
}

/** Rows of the target that are softly deleted: no scan sees them. Undefined where none is. */
export async function countSoftlyDeleted({ client, probe, side, shape, range }: Scan): Promise<number | undefined> {
  const { mapping } = probe;
  const soft = softDeleteOf(mapping);
  if (soft === undefined) return undefined;
  const where = [`NOT (${aliveSql(soft, 't.')})`, ...rangeConditions({ mapping, side, range })].map((one) => `(${one})`).join(' AND ');
  const sql = `SELECT count(1)::text AS n FROM ${fromItem(probe, side, shape)} WHERE ${where}`;
  const [row] = await queryRows(client, sql);
  return Number(row!['n']);
}

export interface Scan {
  readonly client: pg.ClientBase;
  readonly side: Side;
  readonly probe: TableProbe;
  readonly shape: Shape;
  readonly plan: DigestPlan;
  /** Of sums and listings; absent: the whole table. Rows asked for by key are found wherever they are. */
  readonly range?: KeyRange | undefined;
  /** Indexes in `mapping.columns` of number columns whose sums come with those of the buckets. */
  readonly summed?: readonly number[];
  /** Lets the table's lock go and takes it again, in the same snapshot. @throws when the table moved meanwhile. */
  readonly renew: () => Promise<void>;
}

/** For the rest of the transaction. A table without statistics would be read whole for each of its ranges. */
export async function readByIndex(client: pg.ClientBase): Promise<void> {
  await client.query('SET LOCAL enable_seqscan = off');
}

/** How many rows of the target a row `t` stands for; undefined: one. */
export function weightSql({ mapping }: TableProbe, side: Side): string | undefined {
  const { explode } = mapping;
  if (explode === undefined) return undefined;
  return side === 'target' ? `t.${quoteIdent(CHILD_COUNT)}` : sourceCount(explode, `t.${quoteIdent(explode.name)}`);
}

/** Some of the buckets that a key's hash falls into: `hash & mask`. */
export interface Buckets {
  readonly mask: bigint;
  readonly names: readonly string[];
}

function inBuckets({ mask, names }: Buckets): string {
  return `(d.hk & ${mask}) = ANY('{${names.join(',')}}'::bigint[])`;
}

/** Count and lane sums per bucket (`hash & mask`), of all that the scan reads or of what lies in other buckets, slice by slice. */
export async function bucketSums(scan: Scan, mask: bigint, within?: Buckets): Promise<Map<string, BucketSum>> {
  const sums = new Map<string, BucketSum>();
  let first = true;
  const weight = weightSql(scan.probe, scan.side);
  const { summed = [] } = scan;
  const totals = summed.map((_, i) => `, sum(d.u${i})::text AS u${i}`).join('');
  // Children lie anywhere: a parent's are put together in one go.
  const whole = scan.side === 'target' && weight !== undefined;
  for (const slice of whole ? [[]] : slices(scan)) {
    // Somebody who waits to alter the table waits for one slice, not for the whole scan.
    if (!first) await scan.renew();
    first = false;
    const values = valueExpressions(scan.probe, scan.side);
    const numbers = summed.map((column, i) => ({ expression: `(${outputText(values[column]!)})::numeric`, name: `u${i}` }));
    const select = digestSelect(scan.plan, {
      from: fromItem(scan.probe, scan.side, scan.shape),
      where: scanConditions(scan, slice),
      values,
      key: scan.probe.key,
      extra: [...(weight === undefined ? [] : [{ expression: weight, name: 'w' }]), ...numbers],
    });
    const where = within === undefined ? '' : ` WHERE ${inBuckets(within)}`;
    const count = weight === undefined ? 'count(1)' : 'sum(d.w)';
    // Of one bucket no row's key is asked for, so the server neither prints nor hashes it.
    const [bucket, grouping] =
      mask === 0n ? [`'${bucketOf(0n, mask)}'`, 'HAVING count(1) > 0'] : [`(d.hk & ${mask})::text`, `GROUP BY d.hk & ${mask}`];
    const rows = await queryRows(
      scan.client,
      `SELECT ${bucket} AS bucket, ${count}::text AS n, sum(d.a)::text AS a, sum(d.b)::text AS b${totals} FROM (${select}) d${where} ${grouping}`,
    );
    for (const row of rows) {
      const declared = declaredSums(summed.map((_, i) => row[`u${i}`] ?? null));
      addTo(sums, row['bucket']!, { rows: BigInt(row['n']!), a: BigInt(row['a']!), b: BigInt(row['b']!), ...declared });
    }
  }
  return sums;
}

/** Of values, or sums of values, as texts. */
export function declaredSums(texts: Texts): Pick<BucketSum, 'declared'> {
  if (texts.length === 0) return {};
  const declared = texts.map((text) => {
    const sum = new DecimalSum();
    sum.add(text, 1);
    return sum;
  });
  return { declared };
}

/** The bucket that SQL's `hash & mask` names. */
export function bucketOf(hash: bigint, mask: bigint): string {
  return (hash & mask).toString();
}

export function addTo(sums: Map<string, BucketSum>, bucket: string, by: Readonly<BucketSum>): void {
  const sum = sums.get(bucket) ?? { rows: 0n, a: 0n, b: 0n };
  sum.rows += by.rows;
  sum.a += by.a;
  sum.b += by.b;
  if (by.declared !== undefined) {
    sum.declared ??= by.declared.map(() => new DecimalSum());
    for (const [i, one] of sum.declared.entries()) one.addAll(by.declared[i]!);
  }
  sums.set(bucket, sum);
}

/** Conditions that cut the table by physical place: within one snapshot a row version does not move. A range lies in an index, uncut. */
export function slices({ range, shape: { pages } }: Pick<Scan, 'range' | 'shape'>): string[][] {
  if (range !== undefined) return [[]];
  const cuts: string[][] = [];
  for (let from = 0; from === 0 || from < pages; from += SLICE_PAGES) {
    const last = from + SLICE_PAGES >= pages;
    const low = from === 0 ? [] : [`t.ctid >= '(${from},0)'::tid`];
    cuts.push(last ? low : [...low, `t.ctid < '(${from + SLICE_PAGES},0)'::tid`]);
  }
  return cuts;
}

export interface ListedRow {
  readonly hash: bigint;
  /** Target key texts; empty for a keyless table. */
  readonly key: Texts;
  /** Source key texts, from the source side only. */
  readonly sourceKey: Texts;
  readonly a: bigint;
  readonly b: bigint;
  /** How many equal rows: more than one only without a key. */
  readonly rows: bigint;
}

/** Rows of the buckets named, in the order of their hash. */
export async function* listRows(scan: Scan, buckets: Buckets): AsyncGenerator<ListedRow> {
  const { probe, side } = scan;
  const values = valueExpressions(probe, side);
  const keys = probe.key.map((i) => values[i]!);
  const sourceKey = side === 'source' ? probe.mapping.sourceKey : [];
  const extra = [
    ...keys.map((value, i) => ({ expression: outputText(value), name: `q${i}` })),
    ...sourceKey.map((name, i) => ({ expression: outputText(`t.${quoteIdent(name)}`), name: `s${i}` })),
  ];
  const select = digestSelect(scan.plan, {
    from: fromItem(probe, side, scan.shape),
    where: scanConditions(scan),
    values,
    key: probe.key,
    extra,
  });
  const wanted = inBuckets(buckets);
  const names = extra.map(({ name }) => `, d.${name}`).join('');
  const digest = 'd.hk::text AS h, d.a::text AS x, d.b::text AS y';
  const sql =
    probe.key.length > 0
      ? `SELECT ${digest}, '1' AS n${names} FROM (${select}) d WHERE ${wanted} ORDER BY d.hk`
      : `SELECT ${digest}, count(1)::text AS n FROM (${select}) d WHERE ${wanted} GROUP BY d.hk, d.a, d.b ORDER BY d.hk`;
  for await (const row of cursor(scan.client, sql)) {
    yield {
      hash: BigInt(row['h']!),
      a: BigInt(row['x']!),
      b: BigInt(row['y']!),
      rows: BigInt(row['n']!),
      key: keys.map((_, i) => row[`q${i}`] ?? null),
      sourceKey: sourceKey.map((_, i) => row[`s${i}`] ?? null),
    };
  }
}

let cursors = 0;

/** A server-side cursor: neither side holds the answer in memory. */
export async function* cursor(
  client: pg.ClientBase,
  sql: string,
  values: readonly unknown[] = [],
): AsyncGenerator<Record<string, string | null>> {
  const name = `verify_${++cursors}`;
  await client.query(`DECLARE ${name} NO SCROLL CURSOR FOR ${sql}`, [...values]);
  for (;;) {
    const rows = await queryRows(client, `FETCH ${FETCH_ROWS} FROM ${name}`);
    yield* rows;
    if (rows.length < FETCH_ROWS) break;
  }
  await client.query(`CLOSE ${name}`);
}
