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
  const pass = (source.extra ?? []).map(({ name }) => `, ${name}`).join('');
  const names = source.values.map((_, i) => `v${i}`);
  const { from, values, extra } = valueSource(source, names);
  const { seeds } = plan.secrets;
  const keys = source.key.map((i) => values[i]!);
  const [narrowKey, key] = keySql(
    plan,
    keys,
    source.key.map((i) => names[i]!),
  );
  const named = values.map((value, i) => (value === names[i] ? value : `${value} AS ${names[i]}`)).join(', ');
  const printed = `SELECT ${narrowRowText(plan, values)} AS nr, ${narrowKey} AS nk${named && `, ${named}`}${extra} FROM ${from} ${BARRIER}`;
  const texts = `SELECT ${rowText(plan, 'nr', names)} AS r, ${key} AS k${pass} FROM (${printed}) l1 ${BARRIER}`;
  const hashedKey = hash(plan, keys.length > 0 ? 'k' : 'r', seeds.key);
  return `SELECT ${hashedKey} AS hk, ${hash(plan, 'r', seeds.a)} AS a, ${hash(plan, 'r', seeds.b)} AS b${pass} FROM (${texts}) l2`;
}

/** Without it the planner would put expressions into every place where they are used. Each costs a projection of every row. */
const BARRIER = 'OFFSET 0';

/** `t.id`, `t."id"`: as cheap to name again as to compute once. */
const COLUMN = /^\w+\.(?:\w+|"(?:[^"]|"")+")$/;

/** The FROM and WHERE to print values from, what names a value there, and the extra columns. */
function valueSource(
  source: DigestSource,
  names: readonly string[],
): { readonly from: string; readonly values: readonly string[]; readonly extra: string } {
  const where = source.where.length > 0 ? ` WHERE ${source.where.map((one) => `(${one})`).join(' AND ')}` : '';
  const extras = source.extra ?? [];
  const extra = extras.map(({ expression, name }) => `, ${expression} AS ${name}`).join('');
  // A FROM item without a parenthesis is a table: no sub-select whose columns are expressions themselves.
  if (!source.from.includes('(') && source.values.every((value) => COLUMN.test(value)))
    return { from: `${source.from}${where}`, values: source.values, extra };
  const values = source.values.map((value, i) => `${value} AS ${names[i]}`).join(', ');
  return {
    from: `(SELECT ${values}${extra} FROM ${source.from}${where} ${BARRIER}) l0`,
    values: names,
    extra: extras.map(({ name }) => `, ${name}`).join(''),
  };
}

/** The key's narrow text of `values`, and its text over that one, where the values have `names`. */
function keySql(plan: DigestPlan, values: readonly string[], names: readonly string[]): readonly [string, string] {
  const [first] = values;
  if (first === undefined) return ['NULL', 'NULL'];
  return values.length === 1 ? [singleKeyText(plan, first), 'nk'] : [narrowRowText(plan, values), rowText(plan, 'nk', names)];
}
