/** Plain data as one text, for digests. Guarantee: the same for equal data, whatever the order of its keys; of a secret its fingerprint alone. */
import { Secret } from '../config/secret.ts';

export function canonicalJson(value: unknown): string {
  return JSON.stringify(plain(value));
}

function plain(value: unknown): unknown {
  if (value instanceof Secret) return { secret: value.fingerprint() };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, plain(inner)]);
}
