/** The shadow queries of `verify`: what the file asks for, and how the verdicts are told. Guarantee: each that differs, is slower or open is named. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { type Finding, PipelineError } from '#schemas/errors.ts';
import { errorFinding, warningFinding } from '#schemas/finding.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { ShadowCheck } from '#schemas/reconcile/checks/planned-check.ts';
import { compileShadow } from '#schemas/reconcile/shadow/compile-shadow.ts';
import type { LatencySummary } from '#schemas/reconcile/shadow/judge-latency.ts';
import { countShadow, type ShadowVerdict } from '#schemas/reconcile/shadow/shadow-verdict.ts';
import type { Outcome } from './command.ts';
import type { Paint } from './paint.ts';
import { renderTable } from './render.ts';

/** @throws PipelineError CF-4001 of the first query that does not fit, all of them in `details.findings`. */
export function shadowOf(file: MigrationFile, mapping: CompiledMapping): readonly ShadowCheck[] {
  const { queries, findings } = compileShadow(file, mapping);
  const [first] = findings;
  if (first === undefined) return queries;
  const error = errorOf(first);
  throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
}

export function renderShadow(shadow: readonly ShadowVerdict[], paint: Paint): string {
  if (shadow.length === 0) return '';
  const rows = shadow.map(({ name, verdict, latency }) => {
    const colour = verdict === 'equal' ? paint.green : verdict === 'differs' ? paint.red : paint.yellow;
    return [
      name,
      ...figuresOf(latency?.source),
      ...figuresOf(latency?.target),
      latency === undefined ? '' : latency.verdict,
      colour(verdict === 'inconclusive' ? 'not judged' : verdict),
    ];
  });
  const head = ['query', 'source p50', 'p95', 'p99', 'per s', 'target p50', 'p95', 'p99', 'per s', 'time', 'verdict'];
  return `\n\n${renderTable(head, rows, [1, 2, 3, 4, 5, 6, 7, 8])}`;
}

/** What verify says of the rest, with the queries: what differs is told before what is open. */
export function withShadow(outcome: Outcome, shadow: readonly ShadowVerdict[], paint: Paint): Outcome {
  const { differing, slower, open } = countShadow(shadow);
  const text = (outcome.text ?? '') + renderShadow(shadow, paint);
  const shape = { ...outcome, text, findings: [...(outcome.findings ?? []), ...shadowFindings(shadow)] };
  const parts = [
    [differing, 'answered otherwise'],
    [slower, 'slower'],
    [open, 'not judged'],
  ] as const;
  const all = shadow.length === 1 ? 'one query' : `${shadow.length} queries`;
  const apart = parts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  const last = apart.length === 0 ? `${all} answered alike` : `of ${all} ${apart.join(', ')}`;
  const summary = outcome.summary === '' ? last : `${outcome.summary}; ${last}`;
  const former = outcome.error?.code;
  if (differing > 0 && (former === undefined || former === 'CF-6002'))
    return { ...shape, summary, error: new PipelineError('CF-6021', summary) };
  if (open > 0 && former === undefined) return { ...shape, summary, error: new PipelineError('CF-6002', summary) };
  return { ...shape, summary };
}

function figuresOf(summary: LatencySummary | undefined): string[] {
  if (summary === undefined) return ['', '', '', ''];
  const { p50, p95, p99, throughput } = summary;
  return [p50, p95, p99, throughput].map((figure) => (figure === null ? '' : figure.toFixed(figure < 10 ? 2 : 0)));
}

export function shadowFindings(shadow: readonly ShadowVerdict[]): Finding[] {
  return shadow.flatMap(({ name, answers, latency }): Finding[] => [
    ...(answers.verdict === 'differs'
      ? [errorFinding('CF-6021', `${name}: ${answers.message} (source ${answers.source}, target ${answers.target})`)]
      : []),
    ...(answers.verdict === 'inconclusive' ? [warningFinding('CF-6002', `${name}: ${answers.message}`)] : []),
    ...(latency?.verdict === 'slower'
      ? [warningFinding('CF-6022', `${name}: ${latency.message} (tolerance ${latency.tolerancePercent} %)`)]
      : []),
  ]);
}
