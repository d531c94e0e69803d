/**
 * Sums of rows by bucket. Guarantee: after any additions and removals, in any order, each bucket holds the count, the lanes' sums modulo
 * 2^64 and the declared columns' sums of what is left in it, as SQL computes them; a bucket costs 24 bytes and its declared sums.
 */
import { DecimalSum } from './decimal-sum.ts';
import { laneValue } from './lookup3.ts';

export interface BucketState {
  readonly rows: number;
  /** Modulo 2^64, unsigned. */
  readonly a: bigint;
  readonly b: bigint;
  /** Of the declared columns, as `trim_scale(sum(…))` prints. */
  readonly sums: readonly (string | null)[];
}

const LANE_WORDS = 4;

export class Buckets {
  readonly count: number;
  readonly #rows: Float64Array;
  readonly #lanes: Int32Array;
  readonly #sums: readonly (readonly DecimalSum[])[];

  /** @param count A power of two. */
  constructor(count: number, declared: number) {
    this.count = count;
    this.#rows = new Float64Array(count);
    this.#lanes = new Int32Array(LANE_WORDS * count);
    this.#sums = Array.from({ length: declared > 0 ? count : 0 }, () => Array.from({ length: declared }, () => new DecimalSum()));
  }

  /** The bucket of a key, by the low bits of its first hash, as in SQL (`hk & mask`). */
  of(keyLanes: Int32Array): number {
    return keyLanes[1]! & (this.count - 1);
  }

  add(bucket: number, lanes: Int32Array, at = 0): void {
    this.#rows[bucket]!++;
    const sums = this.#lanes;
    for (let lane = 0; lane < LANE_WORDS; lane += 2) {
      const i = LANE_WORDS * bucket + lane;
      const low = (sums[i + 1]! >>> 0) + (lanes[at + lane + 1]! >>> 0);
      sums[i + 1] = low;
      sums[i] = sums[i]! + lanes[at + lane]! + (low > 0xffff_ffff ? 1 : 0);
    }
  }

  subtract(bucket: number, lanes: Int32Array, at = 0): void {
    this.#rows[bucket]!--;
    const sums = this.#lanes;
    for (let lane = 0; lane < LANE_WORDS; lane += 2) {
      const i = LANE_WORDS * bucket + lane;
      const low = (sums[i + 1]! >>> 0) - (lanes[at + lane + 1]! >>> 0);
      sums[i + 1] = low;
      sums[i] = sums[i]! - lanes[at + lane]! - (low < 0 ? 1 : 0);
    }
  }

  addDeclared(bucket: number, values: readonly (string | null)[], sign: 1 | -1): void {
    const sums = this.#sums[bucket] ?? [];
    for (let i = 0; i < sums.length; i++) sums[i]!.add(values[i] ?? null, sign);
  }

  /** Of the declared columns, as copies. */
  declaredOf(bucket: number): readonly DecimalSum[] {
    return (this.#sums[bucket] ?? []).map((sum) => sum.copy());
  }

  clear(): void {
    this.#rows.fill(0);
    this.#lanes.fill(0);
    for (const sums of this.#sums) for (const sum of sums) sum.clear();
  }

  state(bucket: number): BucketState {
    const unsigned = (at: number): bigint => BigInt.asUintN(64, laneValue(this.#lanes, LANE_WORDS * bucket + at));
    const sums = (this.#sums[bucket] ?? []).map((sum) => sum.value);
    return { rows: this.#rows[bucket]!, a: unsigned(0), b: unsigned(2), sums };
  }
}
