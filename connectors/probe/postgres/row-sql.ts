/**
 * Rows of a table with their digests, as a sub-select. Guarantee: the one canonical row text of schemas/reconcile/SPEC.md, so two rows have
 * the same lanes exactly when each column is null on both sides or has the same output text on both, but for a hash's own collisions.
 * Lanes are summed, never combined by XOR: the same change twice must not cancel.
 */
import { randomBytes } from 'node:crypto';
import { digestSecrets, SECRET_BYTES } from '#schemas/reconcile/digest-secrets.ts';
import { hash, narrowRowText, rowText, singleKeyText, type CanonicalSql } from './canonical-sql.ts';

/** With secrets of this run: nobody can choose rows that collide. */
export type DigestPlan = CanonicalSql;

export function newDigestPlan(options: Pick<DigestPlan, 'converted'>): DigestPlan {
  return { ...options, secrets: digestSecrets(randomBytes(SECRET_BYTES)) };
}

export interface DigestSource {
  /** FROM item; expressions refer to its alias. */
  readonly from: string;
  readonly where: readonly string[];
  /** One expression per mapped column, in target order. */
  readonly values: readonly string[];
  /** Indexes in `values` of the target key; empty: the row is its own key. */
  readonly key: readonly number[];
  /** Further expressions to pass through, `expression AS name`. */
  readonly extra?: readonly { readonly expression: string; readonly name: string }[];
}

/** A sub-select with columns hk (hash of the key), a, b (lanes of the row), and the extra ones. */
export function digestSelect(plan: DigestPlan, source: DigestSource): string {
  const extra = (source.extra ?? []).map(({ expression, name }) => `, ${expression} AS ${name}`).join('');
  const pass = (source.extra ?? []).map(({ name }) => `, ${name}`).join('');
  // Without the barriers the planner would put the values' expressions into every place where they are used.
  const barrier = 'OFFSET 0';
  const names = source.values.map((_, i) => `v${i}`);
  const where = source.where.length > 0 ? ` WHERE ${source.where.map((one) => `(${one})`).join(' AND ')}` : '';
  const values = source.values.map((value, i) => `${value} AS v${i}`).join(', ');
  const { seeds } = plan.secrets;
  const keys = source.key.map((i) => `v${i}`);
  const [narrowKey, key] = keySql(plan, keys);
  const printed = `SELECT ${narrowRowText(plan, names)} AS nr, ${narrowKey} AS nk, ${names.join(', ')}${pass} FROM (SELECT ${values}${extra} FROM ${source.from}${where} ${barrier}) l0 ${barrier}`;
  const texts = `SELECT ${rowText(plan, 'nr', names)} AS r, ${key} AS k${pass} FROM (${printed}) l1 ${barrier}`;
  const hashedKey = hash(plan, keys.length > 0 ? 'k' : 'r', seeds.key);
  return `SELECT ${hashedKey} AS hk, ${hash(plan, 'r', seeds.a)} AS a, ${hash(plan, 'r', seeds.b)} AS b${pass} FROM (${texts}) l2`;
}

/** The key's narrow text, and its text over that one. */
function keySql(plan: DigestPlan, keys: readonly string[]): readonly [string, string] {
  const [first] = keys;
  if (first === undefined) return ['NULL', 'NULL'];
  return keys.length === 1 ? [singleKeyText(plan, first), 'nk'] : [narrowRowText(plan, keys), rowText(plan, 'nk', keys)];
}
