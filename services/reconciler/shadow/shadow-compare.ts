/**
 * Critical queries of the application on both stores: are the answers the same, and as fast? Guarantee: answers are compared at one aligned state
 * (checks/overlay.ts has the proof), whatever lag or writes, so `differs` is no lag; what could not be asked at one state is inconclusive. Times
 * are measured afterwards, on the tables as they are.
 */
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import type { ShadowCheck } from '#schemas/reconcile/checks/planned-check.ts';
import type { LatencyVerdict } from '#schemas/reconcile/shadow/judge-latency.ts';
import { type ShadowVerdict, shadowVerdict } from '#schemas/reconcile/shadow/shadow-verdict.ts';
import { cutOffBy } from '#connectors/probe/postgres/held-snapshot.ts';
import { checksNow } from '../checks/declared-checks.ts';
import { serverReason } from '../server-reason.ts';
import type { VerifyOptions } from '../verify.ts';
import { measureLatency } from './measure.ts';

export interface ShadowOptions extends Omit<VerifyOptions, 'tables' | 'parts' | 'checks' | 'onWaited'> {
  readonly queries: readonly ShadowCheck[];
}

/** @throws PipelineError CF-2001, CF-5001 when a server cannot be reached, CF-2004 when the slot is gone. */
export async function shadowCompare(options: ShadowOptions): Promise<ShadowVerdict[]> {
  const signal = options.signal ?? new AbortController().signal;
  return cutOffBy(signal, async () => compareNow(options, signal));
}

async function compareNow({ queries, ...options }: ShadowOptions, signal: AbortSignal): Promise<ShadowVerdict[]> {
  const answers = await checksNow(queries, { ...options, signal });
  const verdicts: ShadowVerdict[] = [];
  for (const [i, query] of queries.entries()) {
    const answer = answers[i]!;
    verdicts.push(shadowVerdict(answer, wasAsked(answer) ? await latencyOf(query, options, signal) : undefined));
  }
  return verdicts;
}

/** A query that a server refused, or whose answer is too long to be compared, is not asked hundreds of times. */
function wasAsked({ verdict, cause }: CheckVerdict): boolean {
  return verdict !== 'inconclusive' || cause === 'lag' || cause === 'in-flight' || cause === 'changed';
}

/** Undefined: a server refused it now. */
async function latencyOf(
  query: ShadowCheck,
  { sourceUrl, targetUrl, logger }: Pick<ShadowOptions, 'sourceUrl' | 'targetUrl' | 'logger'>,
  signal: AbortSignal,
): Promise<LatencyVerdict | undefined> {
  try {
    return await measureLatency(query, { sourceUrl, targetUrl, signal });
  } catch (error) {
    signal.throwIfAborted();
    const reason = serverReason(error);
    if (reason === undefined) throw error;
    logger.warn({ query: query.name, reason: reason.message }, 'the response time could not be measured');
    return undefined;
  }
}
