/** All checks of one `verify`. Guarantee: the file's come first, and what could not be made is inconclusive. */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { type MappedForeignKey, pairsOf, type PlannedCheck } from '#schemas/reconcile/checks/planned-check.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { Catalog } from '#schemas/table.ts';
import { type RunChecks, runChecks, verdictWithout } from './run-checks.ts';
import { standingChecks } from './standing-checks.ts';

/** What is checked besides the rows. */
export interface VerifyChecks {
  readonly planned: readonly PlannedCheck[];
  readonly foreignKeys: readonly MappedForeignKey[];
  readonly source: Catalog;
  readonly target: Catalog;
}

export async function allChecks(
  options: Omit<RunChecks, 'checks'>,
  { planned, ...catalogs }: VerifyChecks,
  tables: readonly TableVerdict[],
): Promise<CheckVerdict[]> {
  const mappings = options.probes.map(({ mapping }) => mapping);
  const asked = new Set<TableMapping>(mappings);
  const checks = planned.filter((check) => pairsOf(check).every((pair) => asked.has(pair)));
  // What kept every table from being compared would keep the checks, after the same wait.
  const [reason] = tables.every(({ inconclusive }) => inconclusive !== undefined) ? tables.flatMap((one) => one.inconclusive ?? []) : [];
  const verdicts = reason === undefined ? await runChecks({ ...options, checks }) : checks.map((check) => verdictWithout(check, reason));
  const { sourceUrl, targetUrl } = options.align;
  return [...verdicts, ...tables.flatMap(rowChecks), ...(await standingChecks({ sourceUrl, targetUrl, tables: mappings, ...catalogs }))];
}

/** The comparison of rows, as two checks. */
function rowChecks(table: TableVerdict): CheckVerdict[] {
  const { to, rowsSource, rowsTarget, kept = 0, inconclusive } = table;
  const names = [
    ['rows', `rows of ${to}`],
    ['digest', `digest of ${to}`],
  ] as const;
  if (inconclusive !== undefined) {
    const { cause, message } = inconclusive;
    return names.map(([kind, name]) => ({ name, kind, verdict: 'inconclusive', source: null, target: null, message, cause }));
  }
  const apart = table.missing + table.extra + table.different;
  const sameCount = rowsSource === rowsTarget - kept;
  const [[rows, rowsName], [digest, digestName]] = names;
  return [
    {
      name: rowsName,
      kind: rows,
      verdict: sameCount ? 'equal' : 'differs',
      source: String(rowsSource),
      target: String(rowsTarget),
      message: sameCount ? 'as many rows' : `${table.missing} missing, ${table.extra} extra`,
    },
    {
      name: digestName,
      kind: digest,
      verdict: apart === 0 ? 'equal' : 'differs',
      source: null,
      target: null,
      message: apart === 0 ? 'all rows are equal' : `${apart} ${apart === 1 ? 'row differs' : 'rows differ'}`,
    },
  ];
}
