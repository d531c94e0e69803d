/**
 * `shadow:` of the file against the migration's tables. Guarantee: what is planned can be asked on both sides (its tables are moved, each
 * parameter has a value), and all that cannot is told at once, each at its place.
 */
import type { ShadowEntry } from '#schemas/config/shadow-entry.ts';
import type { Finding } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { compileBoth } from '../checks/compile-query.ts';
import type { QueryText, ShadowCheck } from '../checks/planned-check.ts';

export interface CompiledShadow {
  readonly queries: readonly ShadowCheck[];
  readonly findings: readonly Finding[];
}

export function compileShadow(
  { path, shadow = [] }: { readonly path: string; readonly shadow?: readonly ShadowEntry[] },
  mapping: Pick<CompiledMapping, 'tables'>,
): CompiledShadow {
  const list = new FindingList(path);
  const queries = shadow.flatMap((entry) => {
    const wrong = (message: string, key: string): undefined => {
      const place = entry.places[key] ?? entry;
      list.error('CF-4001', `query "${entry.name}": ${message}`, place, 'Mend the query in the file (docs/shadow.md).');
    };
    return compileEntry(entry, mapping, wrong) ?? [];
  });
  return { queries, findings: list.findings };
}

function compileEntry(
  { name, sql, parameters, ordered, ignore, tolerance, timing }: ShadowEntry,
  mapping: Pick<CompiledMapping, 'tables'>,
  wrong: (message: string, key: string) => undefined,
): ShadowCheck | undefined {
  const both = compileBoth(sql, mapping, wrong);
  const asked = sql.source === sql.target ? (['target'] as const) : (['source', 'target'] as const);
  const unfit = asked.flatMap((side) => unfitParameters(sql[side], parameters[0]!.length) ?? []);
  for (const message of unfit) wrong(message, parameters[0]!.length === 0 ? 'sql' : 'parameters');
  if (both?.source === undefined || unfit.length > 0) return undefined;
  return { kind: 'shadow', name, source: both.source, target: both.target, parameters, ordered, ignore, tolerance, timing };
}

/** Texts, quoted names and comments hold no parameters. */
const NO_CODE = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*.*?\*\//gs;

function unfitParameters(sql: string, values: number): string | undefined {
  const used = new Set([...sql.replaceAll(NO_CODE, ' ').matchAll(/\$(\d+)/g)].map((match) => Number(match[1])));
  const highest = Math.max(0, ...used);
  if (highest > values)
    return `it has a parameter $${highest}, but ${values === 0 ? 'no values are given' : `each set has ${count(values)}`}`;
  const unused = Array.from({ length: values }, (_, i) => i + 1).find((n) => !used.has(n));
  return unused === undefined ? undefined : `each set has ${count(values)}, but the query does not use $${unused}`;
}

function count(values: number): string {
  return values === 1 ? 'one value' : `${values} values`;
}

/** The query as the application asks it, with `name` for the tables in braces. */
export function plainSql({ texts, tables }: QueryText, name: (pairs: QueryText['tables'][number]) => string): string {
  return texts[0]! + tables.map((pairs, i) => name(pairs) + texts[i + 1]!).join('');
}
