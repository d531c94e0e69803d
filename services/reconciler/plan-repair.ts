/**
 * What must be copied again for the last verify's differences to go away. Guarantee: every table with a difference is asked for, by
 * key where each differing row is named with its source key, whole where not (no key, more differences than samples, or rows of the
 * target whose source key cannot be told: then the target is emptied first). Rows the source does not have are deleted by the re-copy of their
 * keys, in stream order; one of the whole table takes none away, so behind it those that are named are asked for, however many there are besides.
 */
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';

/** A request is one durable record: more keys than this come in several. */
const KEYS_PER_REQUEST = 10_000;

export interface PlanOptions {
  /** The tables were copied whole a moment ago: to do it again would change nothing. */
  readonly areCopied?: boolean;
}

/** Tables that the mapping no longer has are left out. */
export function planRepair(result: VerifyResult, mapping: CompiledMapping, options: PlanOptions = {}): RecopyRequest[] {
  const requests = result.tables.flatMap((verdict) => {
    const table = mapping.tables.find(({ from, to }) => nameOf(from) === verdict.from && nameOf(to) === verdict.to);
    return table && verdict.missing + verdict.extra + verdict.different > 0 ? planTable(verdict, table, options) : [];
  });
  // A re-copy of a source table brings its rows to all targets that it has.
  const [tables, replaced] = (['table', 'replace'] as const).map((kind) => requests.filter((request) => request.kind === kind));
  const whole = new Map([...tables!, ...replaced!].map((request) => [tableOf(request), request]));
  return requests.filter((request) => (whole.get(tableOf(request)) ?? request) === request);
}

function tableOf({ schema, table }: RecopyRequest): string {
  return JSON.stringify([schema, table]);
}

function nameOf({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${schema}.${name}`;
}

function planTable(verdict: TableVerdict, { from, sourceKey }: TableMapping, { areCopied = false }: PlanOptions): RecopyRequest[] {
  const base = { schema: from.schema, table: from.name };
  const reason = `verify found ${verdict.missing} missing, ${verdict.extra} extra, ${verdict.different} different rows`;
  // A re-copy would be refused there, and hold the table.
  const foreign = verdict.sample.filter(({ cause }) => cause === 'foreign').length;
  const keys = verdict.sample.flatMap((one) => (one.sourceKey && one.cause !== 'foreign' ? [one.sourceKey] : []));
  const complete = keys.length + foreign === verdict.missing + verdict.extra + verdict.different;
  // A row that no key of the source can name (an id that the key map lacks) goes only with all others.
  if (sourceKey.length > 0 && verdict.sample.some((one) => one.kind === 'extra' && one.sourceKey === undefined))
    return [{ kind: 'replace', ...base, reason }];
  if (sourceKey.length === 0 || (!complete && !areCopied)) return [{ kind: 'table', ...base, reason }];
  const requests: RecopyRequest[] = [];
  // Children that differ may be of one parent.
  const distinct = [...new Map(keys.map((key) => [JSON.stringify(key), key])).values()];
  for (let i = 0; i < distinct.length; i += KEYS_PER_REQUEST)
    requests.push({ kind: 'keys', ...base, keys: distinct.slice(i, i + KEYS_PER_REQUEST), reason });
  return requests;
}
