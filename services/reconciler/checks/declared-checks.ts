/**
 * Checks alone, without a comparison of the rows. Guarantee: each is judged at one state of both sides, or inconclusive (run-checks.ts); only the
 * tables that they read are looked at.
 */
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { pairsOf, type PlannedCheck } from '#schemas/reconcile/checks/planned-check.ts';
import { pairId } from '#schemas/mapping/compiled-mapping.ts';
import { cutOffBy } from '#connectors/probe/postgres/held-snapshot.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { prepare, retryable, type VerifyOptions } from '../verify.ts';
import { runChecks } from './run-checks.ts';

export interface DeclaredChecksOptions extends Omit<VerifyOptions, 'tables' | 'parts' | 'checks' | 'signal'> {
  readonly planned: readonly PlannedCheck[];
  readonly signal: AbortSignal;
}

/** In the order given. @throws PipelineError CF-2001, CF-5001 when a server cannot be reached, CF-2004 when the slot is gone. */
export async function declaredChecks({ planned, ...options }: DeclaredChecksOptions): Promise<CheckVerdict[]> {
  if (planned.length === 0) return [];
  return cutOffBy(options.signal, async () => checksNow(planned, options));
}

/** As `declaredChecks`, for whoever cuts sessions off by himself. */
export async function checksNow(
  planned: readonly PlannedCheck[],
  options: Omit<DeclaredChecksOptions, 'planned'>,
): Promise<CheckVerdict[]> {
  const read = new Set(planned.flatMap((check) => pairsOf(check)).map((pair) => pairId(pair)));
  const { probes, plan } = await prepare({ ...options, tables: (table) => read.has(pairId(table)) });
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const align = { ...options, limits, log: options.log, logReach: options.logReach };
  return runChecks({ align, plan, probes, checks: planned, logger: options.logger, retryable });
}
