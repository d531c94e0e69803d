/**
 * Two seeded 64-bit hashes of the same bytes at once. Guarantee: each is what PostgreSQL 14 and later computes with `hash_bytes_extended`
 * (SQL: `hashtextextended`) on a little-endian machine: Bob Jenkins's lookup3, whose words are 32 bits wide, as JavaScript's integers are.
 */

/** A 64-bit number as two 32-bit integers. */
export interface Seed {
  readonly high: number;
  readonly low: number;
}

export interface SeedPair {
  readonly a: Seed;
  readonly b: Seed;
}

const INITIAL = 0x9e3779b9 + 3_923_095;
const BLOCK_BYTES = 12;

export function seedOf(value: bigint): Seed {
  return { high: Number(BigInt.asIntN(32, value >> 32n)), low: Number(BigInt.asIntN(32, value)) };
}

/** What `lanes` holds at `at` as PostgreSQL's bigint. */
export function laneValue(lanes: Int32Array, at: number): bigint {
  return (BigInt(lanes[at]!) << 32n) | BigInt(lanes[at + 1]! >>> 0);
}

/** Hashes bytes [start, end) under both seeds into `lanes`: a's high and low word, then b's. */
// oxlint-disable-next-line max-params, max-lines-per-function, complexity -- called per row: no object for the arguments, no call for a round
export function hashPair(bytes: Uint8Array, start: number, end: number, seeds: SeedPair, lanes: Int32Array): void {
  let length = end - start;
  let a = (INITIAL + length) | 0;
  let b = a;
  let c = a;
  let x = a;
  let y = a;
  let z = a;
  const { a: first, b: second } = seeds;
  if ((first.high | first.low) !== 0) {
    a = (a + first.high) | 0;
    b = (b + first.low) | 0;
    a = ((a - c) | 0) ^ ((c << 4) | (c >>> 28)); c = (c + b) | 0;
    b = ((b - a) | 0) ^ ((a << 6) | (a >>> 26)); a = (a + c) | 0;
    c = ((c - b) | 0) ^ ((b << 8) | (b >>> 24)); b = (b + a) | 0;
    a = ((a - c) | 0) ^ ((c << 16) | (c >>> 16)); c = (c + b) | 0;
    b = ((b - a) | 0) ^ ((a << 19) | (a >>> 13)); a = (a + c) | 0;
    c = ((c - b) | 0) ^ ((b << 4) | (b >>> 28)); b = (b + a) | 0;
  } // prettier-ignore
  if ((second.high | second.low) !== 0) {
    x = (x + second.high) | 0;
    y = (y + second.low) | 0;
    x = ((x - z) | 0) ^ ((z << 4) | (z >>> 28)); z = (z + y) | 0;
    y = ((y - x) | 0) ^ ((x << 6) | (x >>> 26)); x = (x + z) | 0;
    z = ((z - y) | 0) ^ ((y << 8) | (y >>> 24)); y = (y + x) | 0;
    x = ((x - z) | 0) ^ ((z << 16) | (z >>> 16)); z = (z + y) | 0;
    y = ((y - x) | 0) ^ ((x << 19) | (x >>> 13)); x = (x + z) | 0;
    z = ((z - y) | 0) ^ ((y << 4) | (y >>> 28)); y = (y + x) | 0;
  } // prettier-ignore
  let p = start;
  for (; length >= BLOCK_BYTES; length -= BLOCK_BYTES, p += BLOCK_BYTES) {
    const u = bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24);
    const v = bytes[p + 4]! | (bytes[p + 5]! << 8) | (bytes[p + 6]! << 16) | (bytes[p + 7]! << 24);
    const w = bytes[p + 8]! | (bytes[p + 9]! << 8) | (bytes[p + 10]! << 16) | (bytes[p + 11]! << 24);
    a = (a + u) | 0;
    b = (b + v) | 0;
    c = (c + w) | 0;
    a = ((a - c) | 0) ^ ((c << 4) | (c >>> 28)); c = (c + b) | 0;
    b = ((b - a) | 0) ^ ((a << 6) | (a >>> 26)); a = (a + c) | 0;
    c = ((c - b) | 0) ^ ((b << 8) | (b >>> 24)); b = (b + a) | 0;
    a = ((a - c) | 0) ^ ((c << 16) | (c >>> 16)); c = (c + b) | 0;
    b = ((b - a) | 0) ^ ((a << 19) | (a >>> 13)); a = (a + c) | 0;
    c = ((c - b) | 0) ^ ((b << 4) | (b >>> 28)); b = (b + a) | 0;
    x = (x + u) | 0;
    y = (y + v) | 0;
    z = (z + w) | 0;
    x = ((x - z) | 0) ^ ((z << 4) | (z >>> 28)); z = (z + y) | 0;
    y = ((y - x) | 0) ^ ((x << 6) | (x >>> 26)); x = (x + z) | 0;
    z = ((z - y) | 0) ^ ((y << 8) | (y >>> 24)); y = (y + x) | 0;
    x = ((x - z) | 0) ^ ((z << 16) | (z >>> 16)); z = (z + y) | 0;
    y = ((y - x) | 0) ^ ((x << 19) | (x >>> 13)); x = (x + z) | 0;
    z = ((z - y) | 0) ^ ((y << 4) | (y >>> 28)); y = (y + x) | 0;
  } // prettier-ignore
  let u = 0;
  let v = 0;
  let w = 0;
  // The third word's lowest byte is the length's: the last bytes lie one higher there.
  for (let i = length - 1; i >= 8; i--) w |= bytes[p + i]! << (8 * (i - 7));
  for (let i = Math.min(length, 8) - 1; i >= 4; i--) v |= bytes[p + i]! << (8 * (i - 4));
  for (let i = Math.min(length, 4) - 1; i >= 0; i--) u |= bytes[p + i]! << (8 * i);
  a = (a + u) | 0;
  b = (b + v) | 0;
  c = (c + w) | 0;
  c = ((c ^ b) - ((b << 14) | (b >>> 18))) | 0;
  a = ((a ^ c) - ((c << 11) | (c >>> 21))) | 0;
  b = ((b ^ a) - ((a << 25) | (a >>> 7))) | 0;
  c = ((c ^ b) - ((b << 16) | (b >>> 16))) | 0;
  a = ((a ^ c) - ((c << 4) | (c >>> 28))) | 0;
  b = ((b ^ a) - ((a << 14) | (a >>> 18))) | 0;
  c = ((c ^ b) - ((b << 24) | (b >>> 8))) | 0;
  x = (x + u) | 0;
  y = (y + v) | 0;
  z = (z + w) | 0;
  z = ((z ^ y) - ((y << 14) | (y >>> 18))) | 0;
  x = ((x ^ z) - ((z << 11) | (z >>> 21))) | 0;
  y = ((y ^ x) - ((x << 25) | (x >>> 7))) | 0;
  z = ((z ^ y) - ((y << 16) | (y >>> 16))) | 0;
  x = ((x ^ z) - ((z << 4) | (z >>> 28))) | 0;
  y = ((y ^ x) - ((x << 14) | (x >>> 18))) | 0;
  z = ((z ^ y) - ((y << 24) | (y >>> 8))) | 0;
  lanes[0] = b;
  lanes[1] = c;
  lanes[2] = y;
  lanes[3] = z;
}
