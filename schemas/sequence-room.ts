/**
 * Whether the sequences of the side that will serve have values left. Guarantee: pure; what is left is counted within the sequence's own range and that of the
 * columns that take its values, whichever is smaller.
 */
import type { SequenceNext } from './sequence-start.ts';

export interface SequenceRoom {
  /** `public.orders_id_seq`. */
  readonly name: string;
  readonly increment: bigint;
  readonly min: bigint;
  readonly max: bigint;
  readonly cycles: boolean;
  /** Types of the columns that take its values. */
  readonly types: readonly string[];
  /** Where it would go on. */
  readonly next: SequenceNext;
}

export interface SequenceVerdict {
  /** It hands out nothing that could be stored. */
  readonly used: readonly string[];
  /** Worth a look: nearly used up, or it begins again. */
  readonly noted: readonly string[];
}

const BITS: Readonly<Record<string, bigint>> = { smallint: 15n, integer: 31n, bigint: 63n };
/** Of the range, in hundredths. */
const NEARLY = 90n;

export function judgeSequences(sequences: readonly SequenceRoom[]): SequenceVerdict {
  const used: string[] = [];
  const noted: string[] = [];
  for (const one of sequences) {
    const { name, next, cycles } = one;
    const { end, start } = rangeOf(one);
    const range = `its range ends at ${end}`;
    if (next.kind === 'exhausted') used.push(`${name} would go on at ${next.beyond}, and ${range}`);
    else if (one.increment > 0n ? next.next > end : next.next < end) used.push(`${name} would go on at ${next.next}, and ${range}`);
    else if (cycles) noted.push(`${name} begins again at its end (CYCLE), with values that rows may have`);
    else if (abs(next.next - start) * 100n > abs(end - start) * NEARLY)
      noted.push(`${name} has ${abs(end - next.next) / abs(one.increment)} values left of ${abs(end - start) / abs(one.increment)}`);
  }
  return { used, noted };
}

/** From where it counts to where it ends, in its own direction. */
function rangeOf({ increment, min, max, types }: SequenceRoom): { readonly start: bigint; readonly end: bigint } {
  const bits = types.flatMap((type) => BITS[type] ?? []);
  const most = bits.reduce((least, one) => (one < least ? one : least), 63n);
  const [low, high] = [-(1n << most), (1n << most) - 1n];
  const [from, to] = [min < low ? low : min, max > high ? high : max];
  return increment > 0n ? { start: from, end: to } : { start: to, end: from };
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}
