/**
 * The condition that keeps a scan to a range of keys. Guarantee: true for exactly the rows whose key the range holds
 * (schemas/reconcile/key-range.ts), in a form that the key's index answers.
 */
import { keyNumber, keyTextOf, rangeable, type KeyRange } from '#schemas/reconcile/key-range.ts';
import { quoteIdent, quoteLiteral } from '#schemas/table.ts';
import { invariant } from '#schemas/errors.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Side } from './held-snapshot.ts';

export interface RangeScan {
  readonly mapping: TableMapping;
  readonly side: Side;
  readonly range: KeyRange | undefined;
}

/** Conditions over the row `t`; none for a range without bounds. */
export function rangeConditions({ mapping, side, range }: RangeScan): string[] {
  const { low, high } = range ?? {};
  if (low === undefined && high === undefined) return [];
  const kind = rangeable(mapping);
  invariant(kind !== undefined, 'ranges are asked for only of a table that has them');
  const ref = `t.${quoteIdent(side === 'source' ? mapping.sourceKey[0]! : mapping.targetKey[0]!)}`;
  // Every width of integer has an operator with bigint in the index's own family, and none is too narrow for the bound.
  const bound = (text: string): string => `${quoteLiteral(keyTextOf(kind, keyNumber(kind, text)))}::${kind === 'uuid' ? 'uuid' : 'bigint'}`;
  if (low === undefined) return [`${ref} < ${bound(high!)}`];
  const above = `${ref} >= ${bound(low)}`;
  if (high !== undefined) return [above, `${ref} < ${bound(high)}`];
  return [side === 'source' ? above : `${above} OR ${ref} IS NULL`];
}
