/**
 * Queries of the file, cut at the tables that they name in braces: `{schema.table}`. Guarantee: each name is a table of the migration on the
 * side that is asked, so that verify can put that table's rows *at one state* in its place; other tables cannot be read by accident.
 */
import type { CheckEntry } from '#schemas/config/check-entry.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { parseTablePattern, showTable } from '#schemas/mapping/table-pattern.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import type { QueryText, SqlCheck } from './planned-check.ts';
import type { Fit } from './view-columns.ts';

/** No array, no JSON: a name, a dot, a name. */
const IN_BRACES = /\{((?:"(?:[^"]|"")+"|[^\s{}"',:.\d][^\s{}"',:.]*)\.(?:"(?:[^"]|"")+"|[^\s{}"',:.]+))\}/g;

type Wrong = (message: string, key: string) => undefined;

/** One query for each side; undefined: something is wrong with it, and told. */
export function compileBoth(
  sql: { readonly source?: string; readonly target: string },
  fit: Pick<Fit, 'tables'>,
  wrong: Wrong,
): { readonly source: QueryText | undefined; readonly target: QueryText } | undefined {
  const target = compileText(sql.target, { side: 'to', tables: fit.tables, preferred: [], wrong });
  const preferred = target?.tables.flat() ?? [];
  const source = sql.source === undefined ? undefined : compileText(sql.source, { side: 'from', tables: fit.tables, preferred, wrong });
  if (target === undefined || (sql.source !== undefined && source === undefined)) return undefined;
  return { source, target };
}

export function compileQuery(entry: Extract<CheckEntry, { kind: 'sql' }>, fit: Fit, wrong: Wrong): SqlCheck | undefined {
  const both = compileBoth(entry, fit, wrong);
  if (both === undefined) return undefined;
  const { source, target } = both;
  const { name, ordered, timeoutSeconds, tolerance, expect } = entry;
  return {
    kind: 'sql',
    name,
    target,
    ordered,
    timeoutSeconds,
    tolerance,
    ...(source === undefined ? { expect: expect ?? null } : { source }),
  };
}

interface In {
  readonly side: 'from' | 'to';
  readonly tables: readonly TableMapping[];
  /** Of several pairs with one source table the one that the target's query names. */
  readonly preferred: readonly TableMapping[];
  readonly wrong: Wrong;
}

function compileText(text: string, { side, tables, preferred, wrong }: In): QueryText | undefined {
  const where = side === 'from' ? 'source' : 'target';
  const texts: string[] = [];
  const named: (readonly TableMapping[])[] = [];
  let at = 0;
  let ok = true;
  const query = text.trim().replace(/;$/, '');
  for (const match of query.matchAll(IN_BRACES)) {
    const pattern = parseTablePattern(match[1]!);
    const pairs = tables.filter((one) => one[side].schema === pattern?.schema && one[side].name === pattern.name);
    if (pairs.length === 0) {
      const names = tables.map((one) => showTable(one[side]));
      wrong(`the migration has no ${where} table ${match[1]!}${didYouMean(match[1]!, names)}`, 'sql');
      ok = false;
    }
    texts.push(query.slice(at, match.index));
    named.push(
      side === 'to' ? pairs : (preferred.length > 0 ? pairs.filter((one) => preferred.includes(one)) : []).concat(pairs).slice(0, 1),
    );
    at = match.index + match[0].length;
  }
  if (named.length > 0) return ok ? { texts: [...texts, query.slice(at)], tables: named } : undefined;
  return wrong(`the query for the ${where} names no table in braces, as in: select count(*) from {public.orders}`, 'sql');
}
