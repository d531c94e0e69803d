/**
 * Decimal numbers of everyday size, by whole numbers that a double holds exactly. Guarantee: the same text as by BigInt, or undefined: for what is too
 * large, spelt in an unusual way, or to be refused.
 */
import { roundsAway, type Decimal, type Rounding } from './decimal.ts';

export interface Scaling {
  readonly by: Decimal;
  readonly over: Decimal;
  readonly scale: number;
  readonly mode: Rounding | undefined;
}

const POWERS: readonly number[] = Array.from({ length: 16 }, (_, i) => 10 ** i);
const [ZERO, MINUS, POINT] = [0x30, 0x2d, 0x2e] as const;
const DIGITS_MAX = 15;

/** Value × `by` ÷ `over`, to `scale` digits behind the point. Undefined where the file's own numbers are too large. */
export function smallScaler({ by, over, scale, mode }: Scaling): ((text: string) => string | undefined) | undefined {
  const factor = Number(by.digits) * 10 ** (over.scale + scale);
  const divisor = Number(over.digits) * 10 ** by.scale;
  // The sign of a quotient is that of its value here.
  if (!Number.isSafeInteger(factor) || !Number.isSafeInteger(divisor) || factor <= 0 || divisor <= 0 || scale > DIGITS_MAX)
    return undefined;
  return (text) => {
    const places = readNumber(text);
    if (places < 0) return undefined;
    const above = read.amount * factor;
    const below = divisor * POWERS[places]!;
    if (above > Number.MAX_SAFE_INTEGER || below > Number.MAX_SAFE_INTEGER) return undefined;
    const rest = above % below;
    const quotient = (above - rest) / below;
    if (rest === 0) return textOf(quotient, scale, read.negative);
    if (mode === undefined) return undefined;
    const away = roundsAway(mode, { half: 2 * rest - below, isOdd: quotient % 2 !== 0, negative: read.negative });
    return textOf(away ? quotient + 1 : quotient, scale, read.negative);
  };
}

/** What `readNumber` read last: kept here so that the hot path allocates nothing. */
const read = { amount: 0, negative: false };

/** @returns how many digits stand behind the point; -1 where it is no such number. */
function readNumber(text: string): number {
  read.negative = text.charCodeAt(0) === MINUS;
  let amount = 0;
  let point = -1;
  const first = read.negative ? 1 : 0;
  if (text.length - first > DIGITS_MAX || text.length === first) return -1;
  for (let i = first; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit >= 0 && digit <= 9) amount = amount * 10 + digit;
    else if (digit === POINT - ZERO && point < 0 && i > first && i < text.length - 1) point = i;
    else return -1;
  }
  read.amount = amount;
  return point < 0 ? 0 : text.length - 1 - point;
}

/** `digits` / 10^`scale`. */
function textOf(digits: number, scale: number, negative: boolean): string {
  const sign = negative && digits !== 0 ? '-' : '';
  if (scale === 0) return sign + String(digits);
  const power = POWERS[scale]!;
  const behind = digits % power;
  return `${sign}${(digits - behind) / power}.${String(power + behind).slice(1)}`;
}
