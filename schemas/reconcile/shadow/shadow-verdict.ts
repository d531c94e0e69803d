/**
 * What `verify` says of one query that ran on both stores. Guarantee: `differs` only where both were asked at one state and each gives the
 * same answer again; `slower` only where the measurement tells it from chance. No value of a row or parameter is in it.
 */
import type { CheckVerdict } from '../checks/check-verdict.ts';
import type { LatencyVerdict } from './judge-latency.ts';

export interface ShadowVerdict {
  readonly name: string;
  /** `slower` is about equal answers; where answers differ or could not be compared, that is said. */
  readonly verdict: 'equal' | 'differs' | 'slower' | 'inconclusive';
  readonly answers: Pick<CheckVerdict, 'verdict' | 'source' | 'target' | 'tolerance' | 'message' | 'cause' | 'lsn'>;
  /** Absent: nothing was measured, since the query could not be asked. */
  readonly latency?: LatencyVerdict;
}

export function shadowVerdict({ name, ...check }: CheckVerdict, latency: LatencyVerdict | undefined): ShadowVerdict {
  const { verdict, source, target, tolerance, message, cause, lsn } = check;
  const answers = {
    verdict,
    source,
    target,
    message,
    ...(lsn !== undefined && { lsn }),
    ...(tolerance !== undefined && { tolerance }),
    ...(cause !== undefined && { cause }),
  };
  const whole = verdict === 'equal' && latency?.verdict === 'slower' ? 'slower' : verdict;
  return { name, verdict: whole, answers, ...(latency !== undefined && { latency }) };
}

/** For a gate: closed while a query differs or could not be compared; a slower one is for people to judge. */
export function countShadow(verdicts: readonly ShadowVerdict[]): {
  readonly differing: number;
  readonly slower: number;
  readonly open: number;
} {
  const count = (which: ShadowVerdict['verdict']): number => verdicts.filter(({ verdict }) => verdict === which).length;
  return { differing: count('differs'), slower: count('slower'), open: count('inconclusive') };
}
