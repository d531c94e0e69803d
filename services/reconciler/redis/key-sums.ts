/**
 * Which names do two sides have? Guarantee: a name that only one of them has is in a bucket that `isDirty` tells (but for 2^-128), and all that
 * is kept is a sum for each bucket; a name that was met twice makes its bucket dirty, and nothing worse.
 */
import { randomBytes } from 'node:crypto';
import { Buckets } from '#schemas/reconcile/buckets.ts';
import { digestSecrets, SECRET_BYTES } from '#schemas/reconcile/digest-secrets.ts';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';

const NAMES_PER_BUCKET = 128;
const BUCKETS_MIN = 1_024;
const BUCKETS_MAX = 131_072;

/** Of one side's keys. */
class KeySum {
  readonly #buckets: Buckets;
  readonly #digester: RowDigester;
  rows = 0;

  constructor(buckets: Buckets, digester: RowDigester) {
    this.#buckets = buckets;
    this.#digester = digester;
  }

  add(name: string): void {
    const lanes = this.#lanes(name);
    this.#buckets.add(this.#buckets.of(lanes), lanes);
    this.rows++;
  }

  bucketOf(name: string): number {
    return this.#buckets.of(this.#lanes(name));
  }

  #lanes(name: string): Int32Array {
    const bytes = Buffer.from(name);
    return this.#digester.keyOf(bytes, 0, bytes.length);
  }
}

export class KeySums {
  readonly source: KeySum;
  readonly target: KeySum;
  readonly #sides: readonly [Buckets, Buckets];

  constructor(names: number) {
    const wanted = Math.min(BUCKETS_MAX, Math.max(BUCKETS_MIN, names / NAMES_PER_BUCKET));
    const count = 2 ** Math.ceil(Math.log2(wanted));
    const digester = new RowDigester(digestSecrets(randomBytes(SECRET_BYTES)));
    this.#sides = [new Buckets(count, 0), new Buckets(count, 0)];
    this.source = new KeySum(this.#sides[0], digester);
    this.target = new KeySum(this.#sides[1], digester);
  }

  /** Undefined: both have the same names. */
  differing(): ((name: string) => boolean) | undefined {
    const [one, other] = this.#sides;
    const dirty = new Set<number>();
    for (let bucket = 0; bucket < one.count; bucket++) {
      const [a, b] = [one.state(bucket), other.state(bucket)];
      if (a.rows !== b.rows || a.a !== b.a || a.b !== b.b) dirty.add(bucket);
    }
    return dirty.size === 0 ? undefined : (name) => dirty.has(this.source.bucketOf(name));
  }
}
