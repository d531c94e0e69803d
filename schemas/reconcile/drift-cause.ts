/**
 * What is known of why rows differ, and of why others were not judged. Guarantee: each open row counts under one cause, and what was not judged is never
 * among them.
 */
import { OPEN_STATES, type DriftFinding } from './drift-finding.ts';
import { INCONCLUSIVE_CAUSES, type InconclusiveCause } from './verify-result.ts';

/** The first two are known causes; of rows without one, how they differ says where to look. */
export const DRIFT_CAUSES = [
  'held', // the target refused the row, or one before it of its key
  'foreign', // what stands under the key is no row (Redis)
  'missing',
  'extra',
  'different',
] as const;
export type DriftCause = (typeof DRIFT_CAUSES)[number];
export type DriftByCause = Readonly<Record<DriftCause, number>>;

/** Rows of findings that are not ended. */
export function driftByCause(findings: Iterable<Pick<DriftFinding, 'kind' | 'cause' | 'rows' | 'state'>>): DriftByCause {
  const rows = { held: 0, foreign: 0, missing: 0, extra: 0, different: 0 };
  for (const one of findings) if (OPEN_STATES.has(one.state)) rows[one.cause ?? one.kind] += one.rows;
  return rows;
}

export type InconclusiveByCause = Readonly<Record<InconclusiveCause, number>>;

/** @param causes One for each table, or part of one, that was not judged. */
export function inconclusiveByCause(causes: Iterable<InconclusiveCause>): InconclusiveByCause {
  const counts = Object.fromEntries(INCONCLUSIVE_CAUSES.map((cause) => [cause, 0])) as Record<InconclusiveCause, number>;
  for (const cause of causes) counts[cause]++;
  return counts;
}
