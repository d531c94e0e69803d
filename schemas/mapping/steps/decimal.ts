/**
 * Decimal numbers as text. Guarantee: exact at any size and scale, without a floating point number anywhere; each rounding mode is the
 * one of its name (half-up is PostgreSQL's own round of numeric: away from zero).
 */
import { StepRefusal } from './step.ts';

export type Rounding = 'half-up' | 'half-down' | 'half-even' | 'up' | 'down' | 'ceiling' | 'floor';

/** The number is `digits` / 10^`scale`; a negative scale counts places before the point, as in numeric(3,-2). */
export interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

/** By far the most. */
const PLAIN = /^-?\d{1,30}$/;
const NUMBER = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/;
/** PostgreSQL's own bounds of numeric. */
const SCALE_MAX = 16_383;
const DIGITS_MAX = 131_072;

/** Undefined where it is no finite number. */
export function parseDecimal(text: string): Decimal | undefined {
  if (PLAIN.test(text)) return { digits: BigInt(text), scale: 0 };
  const match = NUMBER.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', exponent = '0'] = match;
  if (whole.length + fraction.length === 0) return undefined;
  const scale = fraction.length - Number(exponent);
  if (scale > SCALE_MAX || whole.length - Math.min(0, scale) > DIGITS_MAX) return undefined;
  const digits = BigInt(`${sign === '-' ? '-' : ''}${whole}${fraction}`);
  return scale < 0 ? { digits: digits * power(-scale), scale: 0 } : { digits, scale };
}

export function decimalText({ digits, scale }: Decimal): string {
  if (scale <= 0) return (scale === 0 ? digits : digits * power(-scale)).toString();
  const negative = digits < 0n;
  const text = (negative ? -digits : digits).toString().padStart(scale + 1, '0');
  const at = text.length - scale;
  return `${negative ? '-' : ''}${text.slice(0, at)}.${text.slice(at)}`;
}

const POWERS: bigint[] = Array.from({ length: 40 }, (_, i) => 10n ** BigInt(i));

function power(exponent: number): bigint {
  return POWERS[exponent] ?? 10n ** BigInt(exponent);
}

/** True when no digit but zeros stands beyond `scale`, which may be negative. */
export function fitsScale({ digits, scale: has }: Decimal, scale: number): boolean {
  return has <= scale || digits % power(has - scale) === 0n;
}

/** `mode` undefined: a rest is refused. */
export function rescale(value: Decimal, scale: number, mode: Rounding | undefined): Decimal {
  if (value.scale <= scale) return { digits: value.digits * power(scale - value.scale), scale };
  return { digits: divide(value.digits, power(value.scale - scale), mode), scale };
}

/** `value` × `by` ÷ `over`, to `scale` digits behind the point, rounded once. */
export function scaled(
  value: Decimal,
  { by, over, scale, mode }: { readonly by: Decimal; readonly over: Decimal; readonly scale: number; readonly mode: Rounding | undefined },
): Decimal {
  const above = value.digits * by.digits * power(over.scale + scale);
  const below = value.scale + by.scale === 0 ? over.digits : over.digits * power(value.scale + by.scale);
  return { digits: divide(above, below, mode), scale };
}

function divide(above: bigint, below: bigint, mode: Rounding | undefined): bigint {
  const quotient = above / below;
  const rest = above % below;
  if (rest === 0n) return quotient;
  if (mode === undefined) throw new StepRefusal('the value has more digits behind the point than are kept, and no rounding is named');
  const negative = above < 0n !== below < 0n;
  const twice = 2n * (rest < 0n ? -rest : rest);
  const whole = below < 0n ? -below : below;
  const half = twice > whole ? 1 : twice < whole ? -1 : 0;
  return roundsAway(mode, { half, isOdd: quotient % 2n !== 0n, negative }) ? quotient + (negative ? -1n : 1n) : quotient;
}

/** A quotient whose rest is not zero. */
interface Rounded {
  /** Of the rest: above 0 when it is more than one half, 0 when it is just that. */
  readonly half: number;
  readonly isOdd: boolean;
  readonly negative: boolean;
}

/** Whether it is taken away from zero. */
export function roundsAway(mode: Rounding, { half, isOdd, negative }: Rounded): boolean {
  switch (mode) {
    case 'up':
      return true;
    case 'down':
      return false;
    case 'ceiling':
      return !negative;
    case 'floor':
      return negative;
    case 'half-up':
    case 'half-down':
    case 'half-even':
      if (half !== 0) return half > 0;
      return mode === 'half-up' || (mode === 'half-even' && isOdd);
    default:
      return mode satisfies never;
  }
}
