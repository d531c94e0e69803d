/**
 * Checks besides the rows, at one aligned pair of states. Guarantee: a check is `equal` or `differs` only where both sides answered at the same
 * state (overlay.ts), whatever lag or load; else it is inconclusive, with the reason. A check that could not be made is made again at a new
 * alignment; a verdict is never improved by asking again.
 */
import { pairsOf, type PlannedCheck } from '#schemas/reconcile/checks/planned-check.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { pairId } from '#schemas/mapping/compiled-mapping.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import type { Logger } from '#services/runtime/service.ts';
import { causeOf } from '../inconclusive-cause.ts';
import { align, type Alignment, type AlignOptions } from '../align.ts';
import { serverReason } from '../server-reason.ts';
import { CheckFailed, Evaluation } from './evaluation.ts';

export interface RunChecks {
  readonly align: AlignOptions;
  readonly plan: DigestPlan;
  readonly probes: readonly TableProbe[];
  readonly checks: readonly PlannedCheck[];
  readonly logger: Logger;
  /** Whether a new alignment can help. */
  readonly retryable: (cause: Inconclusive['cause'] | undefined) => boolean;
}

export async function runChecks(options: RunChecks): Promise<CheckVerdict[]> {
  const verdicts = new Map<PlannedCheck, CheckVerdict>();
  let pending = options.checks;
  for (let attempt = 1; attempt <= options.align.limits.attempts && pending.length > 0; attempt++) {
    for (const [check, verdict] of await attemptOnce(options, pending)) verdicts.set(check, verdict);
    pending = options.checks.filter((check) => options.retryable(verdicts.get(check)?.cause));
    if (pending.length > 0) options.logger.info({ attempt, checks: pending.length }, 'some checks could not be made');
  }
  return options.checks.map((check) => verdicts.get(check)!);
}

async function attemptOnce(options: RunChecks, checks: readonly PlannedCheck[]): Promise<Map<PlannedCheck, CheckVerdict>> {
  const wanted = new Set(checks.flatMap((check) => pairsOf(check).map((pair) => pairId(pair))));
  const probes = options.probes.filter(({ mapping }) => wanted.has(pairId(mapping)));
  let alignment: Alignment;
  try {
    alignment = await align(options.align, probes);
  } catch (error) {
    const reason =
      error instanceof PipelineError && error.code === 'CF-6002' ? { cause: causeOf(error), message: error.message } : serverReason(error);
    if (reason === undefined) throw error;
    return new Map(checks.map((check) => [check, verdictWithout(check, reason)]));
  }
  await using held = alignment;
  const verdicts = await evaluateAll(options, held, checks);
  const unsettled = await held.unsettled();
  const hidden = new Map(
    held.tables.flatMap(({ probe, source }) => {
      const why = [source.oid, ...source.leaves].map((oid) => unsettled.get(oid)).find((one) => one !== undefined);
      return why === undefined ? [] : [[pairId(probe.mapping), why] as const];
    }),
  );
  for (const check of checks) {
    const why = pairsOf(check)
      .map((pair) => hidden.get(pairId(pair)))
      .find((one) => one !== undefined);
    if (why !== undefined) verdicts.set(check, verdictWithout(check, { cause: 'in-flight', message: why }));
  }
  return verdicts;
}

async function evaluateAll(
  { align: { signal }, plan }: RunChecks,
  alignment: Alignment,
  checks: readonly PlannedCheck[],
): Promise<Map<PlannedCheck, CheckVerdict>> {
  const verdicts = new Map<PlannedCheck, CheckVerdict>();
  await using evaluation = await Evaluation.open(alignment, plan);
  for (const check of checks) {
    signal.throwIfAborted();
    const verdict = await evaluateOrExplain(evaluation, check);
    const isAt = check.kind !== 'orphans' && verdict.verdict !== 'inconclusive';
    verdicts.set(check, isAt ? { ...verdict, lsn: formatLsn(alignment.applied) } : verdict);
  }
  await Promise.all([alignment.source.stillHeld(), alignment.target.stillHeld()]);
  return verdicts;
}

async function evaluateOrExplain(evaluation: Evaluation, check: PlannedCheck): Promise<CheckVerdict> {
  try {
    return { ...frame(check), ...(await evaluation.evaluate(check)) };
  } catch (error) {
    const reason = error instanceof CheckFailed ? error.reason : reasonOf(check, error);
    if (reason === undefined) throw error;
    return verdictWithout(check, reason);
  }
}

/** A query of the file's that names what is not there is no table that moved. */
function reasonOf(check: PlannedCheck, error: unknown): Inconclusive | undefined {
  const { code } = error as { readonly code?: string };
  const isOurs = (check.kind !== 'sql' && check.kind !== 'shadow') || code === undefined || !/^(?:42|22|25|0A)/.test(code);
  return isOurs
    ? serverReason(error)
    : { cause: 'unreadable', message: `the query was refused (SQLSTATE ${code}); it sees the columns that are moved` };
}

function frame(check: PlannedCheck): Pick<CheckVerdict, 'name' | 'kind' | 'declared' | 'tolerance'> {
  if (check.kind === 'orphans') return { name: check.name, kind: check.kind };
  const { amount, unit } = check.tolerance;
  const tolerance = Number(amount) === 0 ? {} : { tolerance: unit === 'percent' ? `${amount}%` : amount };
  return { name: check.name, kind: check.kind, declared: true, ...tolerance };
}

export function verdictWithout(check: PlannedCheck, { cause, message }: Inconclusive): CheckVerdict {
  return { ...frame(check), verdict: 'inconclusive', source: null, target: null, message, cause };
}
