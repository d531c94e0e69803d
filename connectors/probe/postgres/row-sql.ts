/**
 * Canonical row text and its digest, in SQL. Guarantee: two rows of the same columns have the same text exactly when each column is
 * null on both sides or has the same output text on both.
 *
 * `record`: PostgreSQL's own ROW(…)::text, injective (null is nothing, the empty text is quoted, specials are quoted and doubled) and
 * the cheapest; digest lanes are hashtextextended under two secret seeds. Which blanks it quotes depends on the server's locale and
 * library, so it is used only where platform.ts has seen both servers agree. `portable`: netstrings with lengths in characters
 * (independent of the server's encoding) and SHA-256 over UTF-8 with a secret salt, two lanes of 56 bits.
 * Lanes are summed, never combined by XOR: the same change twice must not cancel.
 */
import { randomBytes } from 'node:crypto';
import { quoteLiteral } from '#schemas/table.ts';
import { outputText } from './column-sql.ts';

export interface DigestPlan {
  readonly kind: 'record' | 'portable';
  /** Secrets of this run: nobody can choose rows that collide. */
  readonly seeds: { readonly key: bigint; readonly a: bigint; readonly b: bigint; readonly salt: string };
}

export function newDigestPlan(kind: DigestPlan['kind']): DigestPlan {
  const seed = (): bigint => randomBytes(8).readBigInt64BE() / 2n;
  return { kind, seeds: { key: seed(), a: seed(), b: seed(), salt: randomBytes(16).toString('hex') } };
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
  // Without the barrier the planner would put the values' expressions into every place where they are used.
  const barrier = 'OFFSET 0';
  const names = source.values.map((_, i) => `v${i}`);
  const where = source.where.length > 0 ? ` WHERE ${source.where.map((one) => `(${one})`).join(' AND ')}` : '';
  const asText = plan.kind === 'portable';
  const values = source.values.map((value, i) => `${asText ? outputText(value) : value} AS v${i}`).join(', ');
  const row = rowText(plan, names);
  const keyNames = source.key.map((i) => `v${i}`);
  const key = keyNames.length > 0 ? keyText(plan, keyNames) : row;
  const texts = `SELECT ${key} AS k, ${row} AS r${pass} FROM (SELECT ${values}${extra} FROM ${source.from}${where}${plan.kind === 'record' ? '' : ` ${barrier}`}) l0 ${barrier}`;
  if (plan.kind === 'record') {
    return `SELECT ${fastHash('k', plan.seeds.key)} AS hk, ${fastHash('r', plan.seeds.a)} AS a, ${fastHash('r', plan.seeds.b)} AS b${pass} FROM (${texts}) l1`;
  }
  const hashes = `SELECT ${sha(plan, 'k', 'k')} AS hk, ${sha(plan, 'r', 'r')} AS hr${pass} FROM (${texts}) l1 ${barrier}`;
  return `SELECT ${shaLane('hk', 0, 8)} AS hk, ${shaLane('hr', 0, 7)} AS a, ${shaLane('hr', 7, 7)} AS b${pass} FROM (${hashes}) l2`;
}

/** One text that stands for all values, NULLs included. Portable: `values` are output texts, `-` for NULL, `<characters>:<text>` else. */
export function rowText(plan: DigestPlan, values: readonly string[]): string {
  if (plan.kind === 'record') return `ROW(${values.join(', ')})::text`;
  return values.map((text) => `coalesce(length(${text})::text || ':' || ${text}, '-')`).join(' || ');
}

/** One text for a key; a single column stands for itself. Never NULL: a target may have lost its NOT NULL. */
function keyText(plan: DigestPlan, values: readonly string[]): string {
  const [first] = values;
  if (values.length !== 1 || first === undefined) return rowText(plan, values);
  return `coalesce(${plan.kind === 'portable' ? first : outputText(first)}, '')`;
}

function fastHash(text: string, seed: bigint): string {
  return `hashtextextended(${text} COLLATE "C", (${seed})::bigint)`;
}

function sha(plan: DigestPlan, text: string, use: string): string {
  return `sha256(convert_to(${quoteLiteral(plan.seeds.salt + use)} || ${text}, 'UTF8'))`;
}

/** `<<` and `|` have equal precedence in PostgreSQL: every shift has its own parentheses. */
function shaLane(hash: string, from: number, bytes: number): string {
  const parts = Array.from({ length: bytes }, (_, i) => `(get_byte(${hash}, ${from + i})::bigint << ${8 * (bytes - 1 - i)})`);
  return `(${parts.join(' | ')})`;
}
