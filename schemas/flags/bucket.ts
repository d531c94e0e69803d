/**
 * Which hundredths of a percent a unit belongs to. Guarantee: the same for one salt and unit in every process and language, for ever, and a unit
 * that is below a percentage is below every higher one: a ramp only ever adds units.
 *
 * bucket = floor(u × 10,000 / 2^32), where u is the first four bytes, high byte first, of SHA-256 of `salt`, a zero byte, and the unit, in UTF-8.
 */
import { createHash } from 'node:crypto';

const BUCKETS = 10_000;

/** 0 to 9,999. */
export function bucketOf(salt: string, unit: string): number {
  const digest = createHash('sha256').update(`${salt}\0${unit}`, 'utf8').digest();
  return Math.floor((digest.readUInt32BE(0) * BUCKETS) / 2 ** 32);
}

export function isWithin(bucket: number, percent: number): boolean {
  return bucket < Math.round((percent * BUCKETS) / 100);
}
