/**
 * Canonical row text and its digest (schemas/reconcile/SPEC.md) in SQL. Guarantee: for the same texts the lanes are those of
 * schemas/reconcile/row-digester.ts, in any database that is told by `converted` whether its encoding is another than UTF-8, under any locale.
 */
import { quoteLiteral } from '#schemas/table.ts';
import type { DigestSecrets } from '#schemas/reconcile/digest-secrets.ts';
import { WIDE_BYTES } from '#schemas/reconcile/row-digester.ts';

export interface CanonicalSql {
  readonly secrets: DigestSecrets;
  /** The server's encoding is not UTF-8: texts are converted before they are measured and hashed. Right everywhere, at half the speed. */
  readonly converted: boolean;
}

/** PostgreSQL takes 100 arguments; each value has two. */
const VALUES_PER_CALL = 48;

/** The row text as long as no value is wide; else its length says that it must be asked for again. */
export function narrowRowText(sql: CanonicalSql, values: readonly string[]): string {
  return octets(sql, concat(values.flatMap((value) => [value, mark(sql, value)])));
}

/** The row text of `values`, given its narrow form: evaluates each value again only in a row with a wide one. */
export function rowText(sql: CanonicalSql, narrow: string, values: readonly string[]): string {
  const pieces = values.flatMap((value) => [`(${maybeWide(sql, value)})`, mark(sql, value)]);
  return `CASE WHEN octet_length(${narrow}) > ${WIDE_BYTES} THEN ${octets(sql, concat(pieces))} ELSE ${narrow} END`;
}

/** The text of a key of one column, which stands for itself. Never NULL: a target may have lost its NOT NULL. */
export function singleKeyText(sql: CanonicalSql, value: string): string {
  return octets(sql, `concat(${value})`);
}

/** PostgreSQL's 64-bit hash of what the functions above give. A record of one bytea has that column's hash. */
export function hash({ converted }: CanonicalSql, text: string, seed: bigint): string {
  return converted ? `hash_record_extended(ROW(${text}), '${seed}'::bigint)` : `hashtextextended(${text} COLLATE "C", '${seed}'::bigint)`;
}

function octets({ converted }: CanonicalSql, text: string): string {
  return converted ? `convert_to(${text}, 'UTF8')` : text;
}

/** What concat() prints is each type's output function's text. */
function concat(pieces: readonly string[]): string {
  const calls: string[] = [];
  for (let at = 0; at < pieces.length; at += 2 * VALUES_PER_CALL)
    calls.push(`concat(${pieces.slice(at, at + 2 * VALUES_PER_CALL).join(', ')})`);
  return calls.length > 0 ? calls.join(' || ') : `''`;
}

/** IS NULL would also be true of a composite whose fields are all NULL. */
function mark({ secrets }: CanonicalSql, value: string): string {
  return `CASE WHEN ${value} IS NOT DISTINCT FROM NULL THEN ${quoteLiteral(secrets.nullMark)} ELSE ${quoteLiteral(secrets.valueMark)} END`;
}

/** In a sub-select, so that the value is printed once. */
function maybeWide(sql: CanonicalSql, value: string): string {
  const { wideA, wideB } = sql.secrets.seeds;
  const digest = `concat('w', octet_length(w.o), ':', ${hash(sql, 'w.o', wideA)}, ':', ${hash(sql, 'w.o', wideB)})`;
  return `SELECT CASE WHEN octet_length(w.o) > ${WIDE_BYTES} THEN ${digest} ELSE w.t END FROM (SELECT t.t, ${octets(sql, 't.t')} AS o FROM (SELECT concat(${value}) AS t OFFSET 0) t OFFSET 0) w`;
}
