/** Decimal texts compared exactly. Guarantee: no floating point; a text that is no finite number is near itself only. */
import type { Tolerance } from '#schemas/config/check-entry.ts';

interface Decimal {
  readonly digits: bigint;
  /** Digits behind the point. */
  readonly scale: number;
}

const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,4}))?$/i;
/** 1e400 stays a number, 1e9999 costs no memory. */
const SCALE_MAX = 2_000;

function parseDecimal(text: string): Decimal | undefined {
  const match = DECIMAL.exec(text);
  const whole = match?.[2] ?? '';
  const part = match?.[3] ?? '';
  if (!match || whole + part === '') return undefined;
  const scale = part.length - Number(match[4] ?? 0);
  if (Math.abs(scale) > SCALE_MAX) return undefined;
  const digits = BigInt(whole + part) * (match[1] === '-' ? -1n : 1n);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

function atScale({ digits, scale }: Decimal, wanted: number): bigint {
  return digits * 10n ** BigInt(wanted - scale);
}

function magnitude(value: bigint): bigint {
  return value < 0n ? -value : value;
}

/** Whether the target's number lies within the tolerance around the source's. */
export function isNear(source: string, target: string, tolerance: Tolerance): boolean {
  if (source === target) return true;
  const [one, other, amount] = [source, target, tolerance.amount].map(parseDecimal);
  if (one === undefined || other === undefined || amount === undefined) return false;
  const scale = Math.max(one.scale, other.scale);
  const apart = magnitude(atScale(one, scale) - atScale(other, scale));
  const scaled = apart * 10n ** BigInt(amount.scale);
  if (tolerance.unit === 'absolute') return scaled <= amount.digits * 10n ** BigInt(scale);
  return scaled * 100n <= magnitude(atScale(one, scale)) * amount.digits;
}

/** Order of numbers; of texts that are none, by their text, behind all numbers. */
export function compareDecimals(one: string, other: string): number {
  const [a, b] = [parseDecimal(one), parseDecimal(other)];
  if (a === undefined || b === undefined) return a === b ? (one < other ? -1 : one > other ? 1 : 0) : a === undefined ? 1 : -1;
  const scale = Math.max(a.scale, b.scale);
  const apart = atScale(a, scale) - atScale(b, scale);
  return apart < 0n ? -1 : apart > 0n ? 1 : 0;
}
