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

/** PostgreSQL takes 100 arguments; each value has two, and a call the mark between them. */
const VALUES_PER_CALL = 48;

/** The row text as long as no value is wide; else its length says that it must be asked for again. */
export function narrowRowText(sql: CanonicalSql, values: readonly string[]): string {
  // concat_ws leaves NULLs out: of each two arguments it prints one.
  return octets(
    sql,
    joined(
      sql,
      values.map((value) => `${value}, CASE WHEN ${isNull(value)} THEN ${nullMark(sql)} END`),
    ),
  );
}

/** The row text of `values`, given its narrow form: evaluates each value again only in a row with a wide one. */
export function rowText(sql: CanonicalSql, narrow: string, values: readonly string[]): string {
  const pieces = values.map((value) => `CASE WHEN ${isNull(value)} THEN ${nullMark(sql)} ELSE (${maybeWide(sql, value)}) END`);
  return `CASE WHEN octet_length(${narrow}) > ${WIDE_BYTES} THEN ${octets(sql, joined(sql, pieces))} ELSE ${narrow} END`;
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

/** With the mark between them. What concat_ws prints is each type's output function's text, in half the calls that concat takes with its marks. */
function joined({ secrets }: CanonicalSql, pieces: readonly string[]): string {
  const join = (some: readonly string[]): string => `concat_ws(${[quoteLiteral(secrets.valueMark), ...some].join(', ')})`;
  const calls: string[] = [];
  for (let at = 0; at < pieces.length; at += VALUES_PER_CALL) calls.push(join(pieces.slice(at, at + VALUES_PER_CALL)));
  return calls.length > 1 ? join(calls) : (calls[0] ?? `''`);
}

/** IS NULL would also be true of a composite whose fields are all NULL. */
function isNull(value: string): string {
  return `${value} IS NOT DISTINCT FROM NULL`;
}

function nullMark({ secrets }: CanonicalSql): string {
  return quoteLiteral(secrets.nullMark);
}

/** In a sub-select, so that the value is printed once. */
function maybeWide(sql: CanonicalSql, value: string): string {
  const { wideA, wideB } = sql.secrets.seeds;
  const digest = `concat('w', octet_length(w.o), ':', ${hash(sql, 'w.o', wideA)}, ':', ${hash(sql, 'w.o', wideB)})`;
  return `SELECT CASE WHEN octet_length(w.o) > ${WIDE_BYTES} THEN ${digest} ELSE w.t END FROM (SELECT t.t, ${octets(sql, 't.t')} AS o FROM (SELECT concat(${value}) AS t OFFSET 0) t OFFSET 0) w`;
}
