/**
 * Avro's numbers in binary. Guarantee: every 64-bit integer goes through unchanged: as a number where that is exact, else as a BigInt.
 */
import type { Slab } from './slab.ts';

/** Below this, twice a number and one more are still exact. */
export const EXACT_MAX = 2 ** 52 - 1;

const LOW = 2 ** 28;

export function writeLong(out: Slab, whole: number | bigint): void {
  out.room(10);
  // Rounding never takes a number past the limit, and numbers are compared quicker than a BigInt with one.
  const value = Number(whole);
  if (value > EXACT_MAX || value < -EXACT_MAX) {
    writeBigLong(out, BigInt(whole));
    return;
  }
  const zigzag = value >= 0 ? 2 * value : -2 * value - 1;
  const b = out.buffer;
  let p = out.pos;
  let low: number;
  if (zigzag >= LOW) {
    const high = Math.floor(zigzag / LOW);
    low = zigzag - high * LOW;
    b[p] = (low & 0x7f) | 0x80;
    b[p + 1] = ((low >>> 7) & 0x7f) | 0x80;
    b[p + 2] = ((low >>> 14) & 0x7f) | 0x80;
    b[p + 3] = (low >>> 21) | 0x80;
    p += 4;
    low = high;
  } else {
    low = zigzag;
  }
  while (low > 0x7f) {
    b[p++] = (low & 0x7f) | 0x80;
    low >>>= 7;
  }
  b[p++] = low;
  out.pos = p;
}

/** Every row has some: a few BigInts, instead of some for each byte. From EXACT_MAX on the first four bytes are never the last. */
function writeBigLong(out: Slab, value: bigint): void {
  const zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const b = out.buffer;
  const p = writeFourSevens(b, out.pos, Number(zigzag & 0xfffffffn));
  out.pos = writeHigh(b, p, Number(zigzag >> 28n));
}

/** What stands behind the lowest 28 bits. @returns the place behind it. */
function writeHigh(b: Buffer, at: number, bits: number): number {
  let p = at;
  let high = bits;
  while (high >= LOW) {
    p = writeFourSevens(b, p, high % LOW);
    high = Math.floor(high / LOW);
  }
  while (high > 0x7f) {
    b[p++] = (high & 0x7f) | 0x80;
    high >>>= 7;
  }
  b[p++] = high;
  return p;
}

/** A thousand times `micros`, which are not below 0 and at most EXACT_MAX / 2: every block has it, so without BigInts. */
export function writeNanos(out: Slab, micros: number): void {
  if (micros <= EXACT_MAX / 1000) {
    writeLong(out, 1000 * micros);
    return;
  }
  const upper = Math.floor(micros / LOW);
  const lower = 2000 * (micros - upper * LOW);
  const carried = Math.floor(lower / LOW);
  out.room(10);
  out.pos = writeHigh(out.buffer, writeFourSevens(out.buffer, out.pos, lower - carried * LOW), 2000 * upper + carried);
}

function writeFourSevens(b: Buffer, p: number, bits: number): number {
  b[p] = (bits & 0x7f) | 0x80;
  b[p + 1] = ((bits >>> 7) & 0x7f) | 0x80;
  b[p + 2] = ((bits >>> 14) & 0x7f) | 0x80;
  b[p + 3] = (bits >>> 21) | 0x80;
  return p + 4;
}

/** A length, a count or a union's branch. */
export function writeSize(out: Slab, size: number): void {
  if (size < 64) {
    out.room(1);
    out.buffer[out.pos++] = size << 1;
  } else writeLong(out, size);
}

/** A place in a buffer of Avro. */
export class AvroCursor {
  b: Buffer;
  at: number;

  constructor(b: Buffer, at: number) {
    this.b = b;
    this.at = at;
  }

  /** Exact: a BigInt from ±2^52 on. */
  long(): number | bigint {
    const b = this.b;
    let byte = b[this.at++]!;
    let low = byte & 0x7f;
    for (let shift = 7; byte > 0x7f; shift += 7) {
      if (shift === 28) return this.#longRest(low);
      byte = b[this.at++]!;
      low |= (byte & 0x7f) << shift;
    }
    return (low >>> 1) ^ -(low & 1);
  }

  #longRest(low: number): number | bigint {
    const b = this.b;
    let byte = 0x80;
    let middle = 0;
    let high = 0;
    let shift = 0;
    for (; byte > 0x7f && shift < 28; shift += 7) {
      byte = b[this.at++]!;
      middle |= (byte & 0x7f) << shift;
    }
    for (shift = 0; byte > 0x7f && shift < 14; shift += 7) {
      byte = b[this.at++]!;
      high |= (byte & 0x7f) << shift;
    }
    if (high === 0 && middle < 1 << 24) {
      const zigzag = middle * LOW + low;
      return (zigzag & 1) === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    }
    const zigzag = (BigInt(high) << 56n) | (BigInt(middle) << 28n) | BigInt(low);
    return BigInt.asIntN(64, (zigzag >> 1n) ^ -(zigzag & 1n));
  }

  /** A length, a count or a branch: never above what a number holds. */
  size(): number {
    const byte = this.b[this.at]!;
    if (byte < 0x80) {
      this.at++;
      return (byte >>> 1) ^ -(byte & 1);
    }
    return Number(this.long());
  }

  float(): number {
    this.at += 4;
    return this.b.readFloatLE(this.at - 4);
  }

  double(): number {
    this.at += 8;
    return this.b.readDoubleLE(this.at - 8);
  }

  /** Passes a string or bytes. @returns where it began; `at` is its end. */
  span(): number {
    const length = this.size();
    const start = this.at;
    this.at += length;
    return start;
  }
}
