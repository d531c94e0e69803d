/**
 * Ranges of a table's key, for comparing a part of a table. Guarantee: a key is in a range here exactly where PostgreSQL's own comparison
 * of the key's first column says so, on the source and on the target alike; ranges whose bounds meet leave no key out and share none.
 */
import { invariant } from '../errors.ts';
import { isComputed, type TableMapping } from '../mapping/compiled-mapping.ts';

/** [low, high) of the key's first column, as text; undefined: no bound. A target's key without a value comes after all others. */
export interface KeyRange {
  readonly low?: string | undefined;
  readonly high?: string | undefined;
}

export type RangeKind = 'integer' | 'uuid';

const INTEGERS: readonly string[] = ['smallint', 'integer', 'bigint'];

/** Undefined: the two sides may order or spell the first key column in two ways, or the target's rows are found by something else. */
export function rangeable(mapping: TableMapping): RangeKind | undefined {
  if (mapping.explode !== undefined || mapping.share !== undefined || mapping.redis !== undefined) return undefined;
  const at = mapping.columns.findIndex((column) => column.target === mapping.targetKey[0]);
  const column = mapping.columns[at];
  if (column === undefined || isComputed(mapping.steps, at)) return undefined;
  if (column.cast !== undefined || column.keyMap !== undefined || column.source.name !== mapping.sourceKey[0]) return undefined;
  const { baseType } = column.source;
  if (baseType === 'uuid') return column.targetBaseType === 'uuid' ? 'uuid' : undefined;
  const width = INTEGERS.indexOf(baseType);
  return width >= 0 && INTEGERS.indexOf(column.targetBaseType) >= width ? 'integer' : undefined;
}

const INT8_LIMIT = 2n ** 63n;
const UUID_LIMIT = 2n ** 128n;
const UUID_DIGITS = 32;

/** Numbers in the order of the keys. @throws InvariantError where the text is no key of the kind. */
export function keyNumber(kind: RangeKind, text: string): bigint {
  if (kind === 'uuid') {
    const digits = text.replaceAll('-', '');
    invariant(/^[0-9a-f]{32}$/i.test(digits), 'a range of uuids has a uuid as its bound');
    return BigInt(`0x${digits}`);
  }
  invariant(/^-?\d{1,19}$/.test(text), 'a range of integers has an integer as its bound');
  const value = BigInt(text);
  invariant(value >= -INT8_LIMIT && value < INT8_LIMIT, "a range's bound is a bigint");
  return value;
}

/** The text that both servers read as this key. */
export function keyTextOf(kind: RangeKind, value: bigint): string {
  if (kind === 'integer') return value.toString();
  invariant(value >= 0n && value < UUID_LIMIT, 'a uuid has 128 bits');
  const digits = value.toString(16).padStart(UUID_DIGITS, '0');
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join('-');
}

interface Interval {
  readonly low: bigint | number;
  readonly high: bigint | number;
  readonly at: number;
}

/** Without the empty ones. */
function sorted(kind: RangeKind, ranges: readonly KeyRange[]): Interval[] {
  const number = (text: string | undefined, otherwise: number): bigint | number => (text === undefined ? otherwise : keyNumber(kind, text));
  const intervals = ranges
    .map(({ low, high }, at): Interval => ({ low: number(low, -Infinity), high: number(high, Infinity), at }))
    .filter(({ low, high }) => low < high)
    .toSorted((one, other) => (one.low < other.low ? -1 : one.low > other.low ? 1 : 0));
  for (const [i, { low }] of intervals.entries()) invariant(i === 0 || intervals[i - 1]!.high <= low, 'ranges share no key');
  return intervals;
}

/** Neighbours that are read as one: one statement, and one line of sums while the sides are equal. */
const JOINED_MAX = 256;

/** The same keys in the keys' order, neighbours joined. @throws InvariantError where two ranges share a key. */
export function joinRanges(mapping: TableMapping, ranges: readonly KeyRange[]): KeyRange[] {
  const kind = rangeable(mapping);
  invariant(kind !== undefined, 'ranges are asked for only of a table that has them');
  const joined: { readonly ranges: KeyRange[]; end: bigint | number }[] = [];
  for (const { low, high, at } of sorted(kind, ranges)) {
    const last = joined.at(-1);
    if (last?.end === low && last.ranges.length < JOINED_MAX) {
      last.ranges.push(ranges[at]!);
      last.end = high;
    } else joined.push({ ranges: [ranges[at]!], end: high });
  }
  return joined.map((group) => ({ low: group.ranges[0]!.low, high: group.ranges.at(-1)!.high }));
}

/** Which of the ranges a key is in; undefined: in none. @throws InvariantError where two ranges share a key. */
export function rangeFinder(kind: RangeKind, ranges: readonly KeyRange[]): (key: string | null | undefined) => number | undefined {
  const intervals = sorted(kind, ranges);
  return (key) => {
    const last = intervals.at(-1);
    if (key === null || key === undefined) return last?.high === Infinity ? last.at : undefined;
    const found = lastBelow(intervals, keyNumber(kind, key));
    return found?.at;
  };
}

function lastBelow(intervals: readonly Interval[], value: bigint): Interval | undefined {
  let [from, to] = [0, intervals.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (intervals[middle]!.low <= value) from = middle + 1;
    else to = middle;
  }
  const candidate = intervals[from - 1];
  return candidate !== undefined && value < candidate.high ? candidate : undefined;
}
