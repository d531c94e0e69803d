/**
 * The questions of declared checks, as SQL over views. Guarantee: answers do not depend on the order in which rows are met, nor on either
 * server's collation: floating point is summed as decimals, and texts are put in order byte by byte.
 */
import { quoteLiteral } from '#schemas/table.ts';

function column(i: number, alias = 'v'): string {
  return `${alias}.c${i}`;
}

/** Sums of the columns after the first `groups`, for each value of these. */
export function sumSql(view: string, groups: number, sums: number): string {
  const keys = range(groups).map((i) => column(i));
  const values = range(sums).map((i) => `sum((${column(groups + i)})::numeric)::text`);
  return `SELECT ${[...keys, ...values].map(named).join(', ')} FROM ${view} v${keys.length > 0 ? ` GROUP BY ${keys.join(', ')}` : ''}`;
}

/** Smallest and largest of the first `types.length` columns, then how many of the next ones are null. */
export function rangeSql(view: string, types: readonly (string | undefined)[], nulls: number): string {
  const ends = types.flatMap((type, i) => {
    const value = type === undefined ? `${column(i)} COLLATE "C"` : `(${column(i)})::${type}`;
    return [`min(${value})::text`, `max(${value})::text`];
  });
  const counts = range(nulls).map((i) => `count(1) FILTER (WHERE ${column(types.length + i)} IS NULL)::text`);
  return `SELECT ${[...ends, ...counts].map(named).join(', ')} FROM ${view} v`;
}

/** How many parents have how many children. */
export function childrenSql(child: string, parent: string, width: number): string {
  const keys = range(width).map((i) => column(i, 'p'));
  const counted = `SELECT count(v.c0) AS n FROM ${parent} p LEFT JOIN ${child} v ON ${joined(width)} GROUP BY ${keys.join(', ')}`;
  return `SELECT q.n::text AS r0, count(1)::text AS r1 FROM (${counted}) q GROUP BY q.n`;
}

/** 32 bits of a hash decide: the same rows on both sides, and at every time. */
const SAMPLE_SPACE = 2 ** 32;

export interface Sample {
  readonly child: string;
  readonly parent: string | undefined;
  /** The first columns of `child` are its key, then those that refer to the parent. */
  readonly keys: number;
  readonly refs: number;
  readonly childColumns: number;
  readonly parentColumns: number;
  readonly percent: number;
}

export function sampleSql({ child, parent, keys, refs, childColumns, parentColumns, percent }: Sample): string {
  const text = `concat_ws(${quoteLiteral('\u001F')}, ${range(keys)
    .map((i) => column(i))
    .join(', ')})`;
  const hash = `('x' || substr(encode(sha256(convert_to(${text}, 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint`;
  const values = [
    ...range(childColumns).map((i) => column(i)),
    ...range(parent === undefined ? 0 : parentColumns).map((i) => column(i, 'p')),
  ];
  const join = parent === undefined ? '' : ` LEFT JOIN ${parent} p ON ${joined(refs, keys)}`;
  return `SELECT ${values.map(named).join(', ')} FROM ${child} v${join} WHERE ${hash} < ${Math.ceil((percent / 100) * SAMPLE_SPACE)}`;
}

/** Children whose parent is not there: a null refers to nothing. */
export function orphanSql(child: string, parent: string, width: number): string {
  const set = range(width).map((i) => `${column(i)} IS NOT NULL`);
  return `SELECT count(1)::text AS r0 FROM ${child} v WHERE ${set.join(' AND ')} AND NOT EXISTS (SELECT FROM ${parent} p WHERE ${joined(width)})`;
}

function joined(width: number, offset = 0): string {
  return range(width)
    .map((i) => `${column(offset + i)} = ${column(i, 'p')}`)
    .join(' AND ');
}

function named(expression: string, i: number): string {
  return `${expression} AS r${i}`;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
