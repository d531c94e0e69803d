/**
 * Where a sequence goes on. Guarantee: pure; the answer lies beyond every value given, in the sequence's own direction and on its own step, never
 * before where it stands, and inside of its range. A margin gives way to the range, nothing else does.
 */

export interface SequenceFacts {
  readonly increment: bigint;
  readonly min: bigint;
  readonly max: bigint;
  readonly cycles: boolean;
  readonly lastValue: bigint;
  readonly isCalled: boolean;
  /** Outermost values that rows have, one a column. */
  readonly keys: readonly bigint[];
  /** Last values of sequences that fed the same columns, each with how far beyond it is to be kept clear, signed. */
  readonly handedOut: readonly { readonly last: bigint; readonly margin: bigint }[];
}

export type SequenceNext =
  | { readonly kind: 'next'; readonly was: bigint; readonly next: bigint }
  | { readonly kind: 'exhausted'; readonly beyond: bigint };

export function nextOf(facts: SequenceFacts): SequenceNext {
  const was = facts.isCalled ? facts.lastValue + facts.increment : facts.lastValue;
  const tight = firstBeyond(facts, was, [...facts.keys, ...facts.handedOut.map(({ last }) => last)]);
  const wide = firstBeyond(
    facts,
    tight,
    facts.handedOut.map(({ last, margin }) => last + margin),
  );
  const isInside = (value: bigint): boolean => value >= facts.min && value <= facts.max;
  if (isInside(wide)) return { kind: 'next', was, next: wide };
  if (isInside(tight)) return { kind: 'next', was, next: tight };
  // One that begins again promises no value only once: it stays where it is.
  if (facts.cycles) return { kind: 'next', was, next: was };
  return { kind: 'exhausted', beyond: tight };
}

/** `from` itself, or the first of its steps beyond all of `values`. */
function firstBeyond({ increment }: SequenceFacts, from: bigint, values: readonly bigint[]): bigint {
  let next = from;
  for (const value of values) {
    const steps = (value - next) / increment; // toward zero: below zero when `next` is beyond already
    const isBeyond = increment > 0n ? next > value : next < value;
    if (!isBeyond) next += (steps + 1n) * increment;
  }
  return next;
}
