/**
 * CRC-32C (Castagnoli), the checksum of Kafka's record batches. Guarantee: `crc32c` over several parts, one after another with the
 * result of the last as the seed, equals that over all of them in one piece.
 */

const POLYNOMIAL = 0x82f63b78;
/** Eight bytes a step: one table for each place of a byte among them. */
const TABLES = Array.from({ length: 8 }, () => new Int32Array(256));
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

for (let byte = 0; byte < 256; byte += 1) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  T0[byte] = crc;
}
for (let place = 1; place < 8; place += 1) {
  const [before, table] = [TABLES[place - 1]!, TABLES[place]!];
  for (let byte = 0; byte < 256; byte += 1) table[byte] = (before[byte]! >>> 8) ^ T0[before[byte]! & 0xff]!;
}

/** Unsigned; `seed` is the checksum of what comes before. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  let at = 0;
  const end = bytes.length;
  // Words are read aligned and in the machine's order, which is little endian wherever Node runs with Kafka's volume in mind.
  while (at < end && ((bytes.byteOffset + at) & 3) !== 0) crc = (crc >>> 8) ^ T0[(crc ^ bytes[at++]!) & 0xff]!;
  const steps = (end - at) >>> 3;
  if (steps > 0) {
    crc = overWords(new Int32Array(bytes.buffer, bytes.byteOffset + at, steps * 2), crc);
    at += steps * 8;
  }
  while (at < end) crc = (crc >>> 8) ^ T0[(crc ^ bytes[at++]!) & 0xff]!;
  return ~crc >>> 0;
}

function overWords(words: Int32Array, start: number): number {
  let crc = start;
  for (let at = 0; at < words.length; at += 2) {
    const low = words[at]! ^ crc;
    const high = words[at + 1]!;
    crc =
      T7[low & 0xff]! ^
      T6[(low >>> 8) & 0xff]! ^
      T5[(low >>> 16) & 0xff]! ^
      T4[low >>> 24]! ^
      T3[high & 0xff]! ^
      T2[(high >>> 8) & 0xff]! ^
      T1[(high >>> 16) & 0xff]! ^
      T0[high >>> 24]!;
  }
  return crc;
}

/** x^8, x^16, x^32, … modulo the polynomial (bits reversed): what 1, 2, 4, … zero bytes behind a checksum multiply it by. */
const POWERS = [0x00800000];
for (let power = 1; power < 32; power += 1) POWERS.push(product(POWERS[power - 1]!, POWERS[power - 1]!));

/**
 * The difference that a change of the first bytes makes to the checksum of all, `bytes` being what stands behind them:
 * `crc32c(AB) ^ crc32c(A'B) === crc32cShift(crc32c(A) ^ crc32c(A'), B.length)` for A and A' of one length.
 */
export function crc32cShift(difference: number, bytes: number): number {
  let crc = difference;
  for (let power = 0, left = bytes; left > 0; power += 1, left >>>= 1) if ((left & 1) === 1) crc = product(crc, POWERS[power]!);
  return crc >>> 0;
}

/** Of two polynomials, modulo ours; bit 31 is the lowest power. */
function product(a: number, b: number): number {
  let sum = 0;
  let shifted = b;
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted;
    shifted = (shifted & 1) === 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return sum >>> 0;
}
