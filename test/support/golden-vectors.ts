/** The golden vectors of schemas/reconcile, as values. */
import { readFileSync } from 'node:fs';
import type { DigestSecrets } from '#schemas/reconcile/digest-secrets.ts';

interface WrittenVector {
  readonly about: string;
  readonly row: readonly (string | null | { readonly repeat: string; readonly times: number })[];
  readonly key: readonly number[];
  readonly text?: string;
  readonly keyHash: string;
  readonly a: string;
  readonly b: string;
}

export interface GoldenVector {
  readonly about: string;
  readonly row: readonly (string | null)[];
  readonly key: readonly number[];
  /** Row text; left out where it is long. */
  readonly text: string | undefined;
  readonly keyHash: bigint;
  readonly a: bigint;
  readonly b: bigint;
}

interface Written {
  readonly secrets: Omit<DigestSecrets, 'seeds'> & { readonly seeds: Readonly<Record<keyof DigestSecrets['seeds'], string>> };
  readonly vectors: readonly WrittenVector[];
}

export function goldenVectors(): { readonly secrets: DigestSecrets; readonly vectors: readonly GoldenVector[] } {
  const file = new URL('../../schemas/reconcile/golden-vectors.json', import.meta.url);
  const { secrets, vectors } = JSON.parse(readFileSync(file, 'utf8')) as Written;
  const { key, keyTwin, a, b, wideA, wideB } = secrets.seeds;
  return {
    secrets: {
      ...secrets,
      seeds: { key: BigInt(key), keyTwin: BigInt(keyTwin), a: BigInt(a), b: BigInt(b), wideA: BigInt(wideA), wideB: BigInt(wideB) },
    },
    vectors: vectors.map((one) => ({
      about: one.about,
      row: one.row.map((value) => (value === null || typeof value === 'string' ? value : value.repeat.repeat(value.times))),
      key: one.key,
      text: one.text,
      keyHash: BigInt(one.keyHash),
      a: BigInt(one.a),
      b: BigInt(one.b),
    })),
  };
}
