/** A column type under test and how its values are made. */
import { type Make, multirangeOf } from './random-values.ts';

export interface TypeKind {
  /** Column name. */
  readonly name: string;
  readonly sql: string;
  readonly make: Make;
  /** Between the elements of an array (`,` when absent); false: no column of arrays. */
  readonly array?: ';' | false;
  /** A domain that refuses NULL. */
  readonly notNull?: boolean;
}

export const byNumber = (a: string, b: string): number => Number(a) - Number(b);

/** Each range and its multirange, named as PostgreSQL names them. */
export function withMultiranges(ranges: readonly TypeKind[]): readonly TypeKind[] {
  return ranges.flatMap((range) => [
    range,
    { name: range.name.replace('range', 'multirange'), sql: range.sql.replace('range', 'multirange'), make: multirangeOf(range.make) },
  ]);
}
