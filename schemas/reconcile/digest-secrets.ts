/**
 * What a comparison keeps secret, so that nobody can choose rows whose digests collide. Guarantee: made of the bytes given and of nothing
 * else; a mark's first character occurs nowhere else in it.
 */
import { seedOf, type SeedPair } from './lookup3.ts';

export interface DigestSecrets {
  /** Stands between the values of a row text. */
  readonly valueMark: string;
  /** Stands for a NULL. */
  readonly nullMark: string;
  /** PostgreSQL's bigints. */
  readonly seeds: {
    readonly key: bigint;
    readonly keyTwin: bigint;
    readonly a: bigint;
    readonly b: bigint;
    readonly wideA: bigint;
    readonly wideB: bigint;
  };
}

export interface DigestSeeds {
  readonly key: SeedPair;
  readonly row: SeedPair;
  readonly wide: SeedPair;
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const MARK_LETTERS = 11;
const SEED_BYTES = 8;
export const SECRET_BYTES = 6 * SEED_BYTES + 2 * MARK_LETTERS;

/** @param entropy SECRET_BYTES random bytes. */
export function digestSecrets(entropy: Uint8Array): DigestSecrets {
  if (entropy.length !== SECRET_BYTES) throw new RangeError(`${SECRET_BYTES} bytes make the secrets, not ${entropy.length}`);
  const view = new DataView(entropy.buffer, entropy.byteOffset, entropy.byteLength);
  const seed = (i: number): bigint => view.getBigInt64(i * SEED_BYTES);
  const mark = (first: string, from: number): string =>
    first + Array.from(entropy.subarray(from, from + MARK_LETTERS), (byte) => LETTERS[byte % LETTERS.length]).join('');
  return {
    valueMark: mark('|', 6 * SEED_BYTES),
    nullMark: mark('~', 6 * SEED_BYTES + MARK_LETTERS),
    seeds: { key: seed(0), keyTwin: seed(1), a: seed(2), b: seed(3), wideA: seed(4), wideB: seed(5) },
  };
}

export function digestSeeds({ seeds }: DigestSecrets): DigestSeeds {
  return {
    key: { a: seedOf(seeds.key), b: seedOf(seeds.keyTwin) },
    row: { a: seedOf(seeds.a), b: seedOf(seeds.b) },
    wide: { a: seedOf(seeds.wideA), b: seedOf(seeds.wideB) },
  };
}
