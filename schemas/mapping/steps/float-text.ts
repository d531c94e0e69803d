/**
 * Floating point numbers as PostgreSQL prints them. Guarantee: the number nearest to a text (the even one of two), in the fewest digits that
 * are read as that number and as no other by whatever rule a reader breaks ties: never the exact middle between two numbers.
 */
import { parseDecimal, type Decimal } from './decimal.ts';

const NOT_FINITE: Readonly<Record<string, string>> = {
  nan: 'NaN',
  inf: 'Infinity',
  infinity: 'Infinity',
  '+inf': 'Infinity',
  '+infinity': 'Infinity',
  '-inf': '-Infinity',
  '-infinity': '-Infinity',
};

/** Undefined for what is no number, and for one too large, or too small to be other than 0. */
export function doubleText(text: string): string | undefined {
  return textOf(text, (decimal, shown) => inRange(Number(shown), decimal), { shortest: shortestDouble, fixedBelow: 15 });
}

/** As `doubleText`. */
export function realText(text: string): string | undefined {
  return textOf(text, (decimal, shown) => inRange(nearestReal(decimal, Number(shown)), decimal), { shortest: shortestReal, fixedBelow: 6 });
}

interface Width {
  readonly shortest: (value: number) => string;
  /** Exponents from here on are written out. */
  readonly fixedBelow: number;
}

function textOf(text: string, nearest: (decimal: Decimal, shown: string) => number | undefined, width: Width): string | undefined {
  const word = text.toLowerCase();
  if (Object.hasOwn(NOT_FINITE, word)) return NOT_FINITE[word];
  const decimal = parseDecimal(text);
  const value = decimal === undefined ? undefined : nearest(decimal, text);
  if (value === undefined) return undefined;
  if (value === 0) return text.startsWith('-') ? '-0' : '0';
  return spelled(width.shortest(value), width.fixedBelow);
}

function inRange(value: number, { digits }: Decimal): number | undefined {
  return Number.isFinite(value) && (value !== 0 || digits === 0n) ? value : undefined;
}

/** From JavaScript's `-1.25e-7`. */
function spelled(exponential: string, fixedBelow: number): string {
  const { sign, digits: written, exponent } = partsOf(exponential);
  const digits = written[0]! + written.slice(1).replace(/0+$/, '');
  if (exponent < -4 || exponent >= fixedBelow) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return digits.length > exponent + 1 ? `${sign}${whole}.${digits.slice(exponent + 1)}` : sign + whole;
}

function partsOf(exponential: string): { readonly sign: string; readonly digits: string; readonly exponent: number } {
  const [mantissa = '', exponent = '0'] = exponential.split('e');
  const sign = mantissa.startsWith('-') ? '-' : '';
  return { sign, digits: mantissa.slice(sign.length).replace('.', ''), exponent: Number(exponent) };
}

/** The nearest with so many digits behind its point, the even one of two; JavaScript's own takes the larger. */
function rounded(value: number, digits: number): string {
  const nearest = value.toExponential(digits);
  const { sign, digits: shown, exponent } = partsOf(nearest);
  if (Number(shown.at(-1)) % 2 === 0) return nearest;
  const longer = value.toExponential(digits + 1);
  if (!longer.includes('5e') || compare(parseDecimal(longer)!, value) !== 0) return nearest;
  const even = String(BigInt(shown) - 1n);
  return `${sign}${even[0]}.${even.slice(1)}e${exponent}`;
}

const DOUBLE_DIGITS_MAX = 17;

function shortestDouble(value: number): string {
  const shortest = value.toExponential();
  if (!isMiddleOfDoubles(shortest, value)) return shortest;
  for (let digits = partsOf(shortest).digits.length; ; digits++) {
    const longer = rounded(value, digits);
    if (digits >= DOUBLE_DIGITS_MAX || (Number(longer) === value && !isMiddleOfDoubles(longer, value))) return longer;
  }
}

/** Below it a middle has more digits than a number needs. */
const MIDDLES_FROM = 2 ** 52;
/** A middle has 54 bits, so no higher power of ten in it. */
const MIDDLE_TENS_MAX = 23;

function isMiddleOfDoubles(exponential: string, value: number): boolean {
  if (Math.abs(value) < MIDDLES_FROM) return false;
  const { digits, exponent } = partsOf(exponential);
  const tens = exponent + 1 - digits.length;
  if (tens > MIDDLE_TENS_MAX) return false;
  const magnitude = Math.abs(value);
  const middle = BigInt(digits) * 8n * 10n ** BigInt(Math.max(tens, 0));
  // Whole numbers of quarters: below 2^52 stand halves.
  const [exact, below, above] = [magnitude, neighbour(magnitude, -1), neighbour(magnitude, 1)].map((one) => BigInt(one * 4));
  const scale = 10n ** BigInt(Math.max(-tens, 0));
  return middle === (exact! + above!) * scale || middle === (exact! + below!) * scale;
}

const doubleBits = new BigInt64Array(1);
const double = new Float64Array(doubleBits.buffer);

function neighbour(value: number, step: number): number {
  double[0] = value;
  doubleBits[0]! += BigInt(step);
  return double[0];
}

const realBits = new Int32Array(1);
const real = new Float32Array(realBits.buffer);
const REAL_INFINITY = 2 ** 128;

/** The neighbour of a real towards `value`; the one beyond the largest is 2^128. */
function realTowards(from: number, value: number): number {
  if (from === 0) return Math.sign(value) * 2 ** -149;
  if (!Number.isFinite(from)) return Math.sign(from) * 3.402_823_466_385_288_6e38;
  real[0] = from;
  realBits[0]! += Math.abs(value) > Math.abs(from) ? 1 : -1;
  return Number.isFinite(real[0]) ? real[0] : Math.sign(from) * REAL_INFINITY;
}

/** Of a decimal, by the double next to it: rounded twice only where that is as good as once. */
function nearestReal(decimal: Decimal, value: number): number {
  const near = Math.fround(value);
  if (near === value || !Number.isFinite(value)) return near;
  const other = realTowards(near, value);
  const here = Number.isFinite(near) ? near : Math.sign(near) * REAL_INFINITY;
  if (value !== (here + other) / 2) return near;
  const side = compare(decimal, value);
  if (side === 0) return near;
  const chosen = side > 0 ? Math.max(here, other) : Math.min(here, other);
  return Math.fround(chosen);
}

/** Of a decimal with a double, exactly. */
function compare({ digits, scale }: Decimal, value: number): number {
  let [mantissa, twos] = [value, 0];
  for (; !Number.isInteger(mantissa); twos++) mantissa *= 2;
  const [one, other] = [digits << BigInt(twos), BigInt(mantissa) * 10n ** BigInt(scale)];
  return one < other ? -1 : Number(one > other);
}

const REAL_DIGITS_MAX = 9;
const SMALLEST_NORMAL_REAL = 2 ** -126;

function shortestReal(value: number): string {
  // A real has room for no two texts of six digits: what fewer would tell ends in zeros.
  for (let digits = Math.abs(value) < SMALLEST_NORMAL_REAL ? 0 : 5; digits < REAL_DIGITS_MAX - 1; digits++) {
    const nearest = rounded(value, digits);
    if (isOnly(nearest, value)) return nearest;
    // Below a power of two the numbers stand closer than above it: the nearest may miss where the next one up fits.
    const up = oneUp(nearest);
    if (isPowerOfTwo(value) && isOnly(up, value)) return up;
  }
  return rounded(value, REAL_DIGITS_MAX - 1);
}

/** Whether `text` is read as this real, and is no middle. */
function isOnly(text: string, value: number): boolean {
  const decimal = parseDecimal(text)!;
  const read = Number(text);
  if (nearestReal(decimal, read) !== value) return false;
  return read === value || read !== (value + realTowards(value, read)) / 2 || compare(decimal, read) !== 0;
}

function oneUp(exponential: string): string {
  const { sign, digits, exponent } = partsOf(exponential);
  const next = String(BigInt(digits) + 1n);
  return `${sign}${next[0]}.${next.slice(1)}e${exponent + next.length - digits.length}`;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(Math.abs(value)));
}
