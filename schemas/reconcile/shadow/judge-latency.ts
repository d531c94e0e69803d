/**
 * Which of two stores answers more slowly, from measured response times. Guarantee: `slower` and `within` are said only where the measurement
 * tells them from chance (intervals of order statistics, which assume nothing of how times are distributed); else it is `unclear`.
 */

export interface Measured {
  /** Milliseconds of each answer, in rounds in which both sides were asked at the same time. */
  readonly rounds: readonly (readonly number[])[];
  /** Milliseconds in which those rounds were answered. */
  readonly elapsedMs: number;
  /** Answers that were given up. */
  readonly timeouts: number;
}

export interface LatencySummary {
  readonly executions: number;
  readonly timeouts: number;
  /** Milliseconds; null: there is no answer. */
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  /** Answers a second; null as above. */
  readonly throughput: number | null;
}

export interface LatencyVerdict {
  readonly verdict: 'within' | 'slower' | 'unclear';
  readonly tolerancePercent: number;
  readonly source: LatencySummary;
  readonly target: LatencySummary;
  readonly message: string;
}

/** Of each interval about 95 %; two that do not meet are apart with more than 99 %. */
const DEVIATIONS = 1.96;
/** A disturbance of one side for a moment shows in few rounds. In a round's few answers the tail varies more than the middle. */
const ROUNDS_AGREEING = { p50: 0.8, p95: 0.5 } as const;

export function judgeLatency(source: Measured, target: Measured, tolerancePercent: number): LatencyVerdict {
  const [here, there] = [inOrder(source), inOrder(target)];
  const base = { tolerancePercent, source: summary(source, here), target: summary(target, there) };
  const factor = 1 + tolerancePercent / 100;
  if (source.timeouts > 0) return { ...base, verdict: 'unclear', message: 'the source gave no answer in time' };
  if (target.timeouts > 0) return { ...base, verdict: 'slower', message: 'the target gave no answer in time, the source did' };
  const slower = (['p50', 'p95'] as const).filter((which) => {
    const share = which === 'p50' ? 0.5 : 0.95;
    const [one, other] = [interval(here, share), interval(there, share)];
    if (one === undefined || other === undefined || other.low <= one.high * factor) return false;
    const agreeing = source.rounds.filter((times, i) => ofRound(target.rounds[i]!, share) > ofRound(times, share) * factor);
    return agreeing.length >= source.rounds.length * ROUNDS_AGREEING[which];
  });
  if (slower.length > 0)
    return { ...base, verdict: 'slower', message: `the target is slower: ${slower.map((one) => told(base, one)).join(', ')}` };
  const [one, other] = [interval(here, 0.5), interval(there, 0.5)];
  if (one === undefined || other === undefined)
    return { ...base, verdict: 'unclear', message: 'too few answers to judge response times by: raise repetitions or seconds' };
  if (other.high <= one.low * factor) return { ...base, verdict: 'within', message: `the target is as fast: ${told(base, 'p50')}` };
  return { ...base, verdict: 'unclear', message: `the times vary too much to tell ${tolerancePercent} % apart: ${told(base, 'p50')}` };
}

function told({ source, target }: Pick<LatencyVerdict, 'source' | 'target'>, which: 'p50' | 'p95'): string {
  return `${which} ${target[which]} ms, source ${source[which]} ms`;
}

function inOrder({ rounds }: Measured): number[] {
  return rounds.flat().toSorted((a, b) => a - b);
}

function ofRound(times: readonly number[], share: number): number {
  return quantile(
    times.toSorted((a, b) => a - b),
    share,
  );
}

/** Nearest rank. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Where the quantile of all answers lies, by the ranks of the ones measured; undefined: there are too few. */
function interval(sorted: readonly number[], share: number): { readonly low: number; readonly high: number } | undefined {
  const n = sorted.length;
  const around = DEVIATIONS * Math.sqrt(n * share * (1 - share));
  const [low, high] = [Math.floor(n * share - around), Math.ceil(n * share + around) + 1];
  return low < 1 || high > n ? undefined : { low: sorted[low - 1]!, high: sorted[high - 1]! };
}

function summary({ timeouts, elapsedMs }: Measured, sorted: readonly number[]): LatencySummary {
  const executions = sorted.length;
  const at = (share: number): number | null => (executions === 0 ? null : rounded(quantile(sorted, share)));
  const throughput = executions === 0 ? null : rounded((executions / Math.max(elapsedMs, 0.001)) * 1000);
  return { executions, timeouts, p50: at(0.5), p95: at(0.95), p99: at(0.99), throughput };
}

function rounded(value: number): number {
  return Number(value.toFixed(value < 100 ? 3 : 1));
}
