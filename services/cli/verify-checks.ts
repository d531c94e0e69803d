/** The checks of `verify`: what the file asks for, and how the verdicts are told. Guarantee: each that differs or is open is named. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { type Finding, PipelineError } from '#schemas/errors.ts';
import { errorFinding, listNames, warningFinding } from '#schemas/finding.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { compileChecks } from '#schemas/reconcile/checks/compile-checks.ts';
import type { VerifyChecks } from '#services/reconciler/checks/all-checks.ts';
import type { MappingFit } from './catalogs.ts';
import type { Paint } from './paint.ts';
import { renderTable } from './render.ts';

/** Undefined: the target is no database. @throws PipelineError CF-4001 of the first check that does not fit, all of them in `details.findings`. */
export function checksOf(file: MigrationFile, { mapping, source, target }: MappingFit): VerifyChecks | undefined {
  if (target === undefined) return undefined;
  const { checks: planned, foreignKeys, findings } = compileChecks(file, mapping, { source, target });
  const [first] = findings;
  if (first === undefined) return { planned, foreignKeys, source, target };
  const error = errorOf(first);
  throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
}

/** Of a check that only warns nothing is counted. */
export function countChecks(checks: readonly CheckVerdict[]): { readonly differing: number; readonly open: number } {
  return {
    differing: checks.filter(({ verdict, severity }) => verdict === 'differs' && severity === undefined).length,
    open: checks.filter(({ verdict, severity }) => verdict === 'inconclusive' && severity === undefined).length,
  };
}

/** Rows and digests are told by the table of tables. */
function told(checks: readonly CheckVerdict[]): CheckVerdict[] {
  return checks.filter(({ kind }) => kind !== 'rows' && kind !== 'digest');
}

export function renderChecks(checks: readonly CheckVerdict[], paint: Paint): string {
  const all = told(checks);
  const named = all.filter(({ declared, verdict, severity }) => declared || (verdict !== 'equal' && severity === undefined));
  const rows = named.map(({ name, kind, source, target, verdict }) => {
    const colour = verdict === 'equal' ? paint.green : verdict === 'differs' ? paint.red : paint.yellow;
    return [name, kind, source ?? '', target ?? '', colour(verdict === 'inconclusive' ? 'not judged' : verdict)];
  });
  const table = rows.length === 0 ? '' : `\n\n${renderTable(['check', 'kind', 'source', 'target', 'verdict'], rows, [2, 3])}`;
  const equal = all.filter(({ declared, verdict }) => declared === undefined && verdict === 'equal');
  const kinds = ['orphans', 'structure', 'sequence'].flatMap((kind) => {
    const count = equal.filter((one) => one.kind === kind).length;
    return count === 0 ? [] : [`${count} of ${kind}`];
  });
  return kinds.length === 0 ? table : `${table}\nBuilt-in checks without a finding: ${kinds.join(', ')}\n`;
}

export function checkFindings(checks: readonly CheckVerdict[]): Finding[] {
  const all = told(checks);
  const differing = all.filter(({ verdict, severity }) => verdict === 'differs' && severity === undefined);
  const warned = all.filter(({ verdict, severity, kind }) => verdict === 'differs' && severity === 'warning' && kind !== 'sequence');
  const behind = all.filter(({ verdict, kind }) => verdict === 'differs' && kind === 'sequence');
  const open = Map.groupBy(
    all.filter(({ verdict }) => verdict === 'inconclusive'),
    ({ message }) => message,
  );
  return [
    ...differing.map((one) => errorFinding('CF-6020', `${one.name}: ${one.message}${figures(one)}`)),
    ...warned.map(({ name, message }) => warningFinding('CF-6020', `${name}: ${message}`, 'Create it before the cut-over.')),
    ...(behind.length === 0
      ? []
      : [
          warningFinding(
            'CF-6020',
            `${behind.length === 1 ? 'a sequence' : `${behind.length} sequences`} of the target ${behind.length === 1 ? 'is' : 'are'} behind the keys: ${listNames(behind.map(({ name }) => name.replace(/^sequence (.*) of .*$/, '$1')))}`,
            'Nothing to do now: the cut-over sets them. Before writing to the target by hand, set them yourself.',
          ),
        ]),
    ...[...open].map(([message, group]) => warningFinding('CF-6002', `${listNames(group.map(({ name }) => name))}: ${message}`)),
  ];
}

function figures({ source, target, tolerance }: CheckVerdict): string {
  if (source === null && target === null) return '';
  const within = tolerance === undefined ? '' : `, tolerance ${tolerance}`;
  return ` (source ${source ?? 'none'}, target ${target ?? 'none'}${within})`;
}
