/** A verdict as a line of the history. */
import type { ComparisonRecord } from '#schemas/reconcile/comparison-record.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';

export function recordOf(verdict: TableVerdict, seconds: number): Omit<ComparisonRecord, 'parts' | 'partsOf'> {
  const differences = verdict.missing + verdict.extra + verdict.different;
  return {
    from: verdict.from,
    to: verdict.to,
    lsn: verdict.lsn,
    rows: Math.max(verdict.rowsSource, verdict.rowsTarget),
    verdict: verdict.inconclusive !== undefined ? 'inconclusive' : differences > 0 ? 'differs' : 'equal',
    differences,
    cause: verdict.inconclusive?.cause ?? null,
    seconds,
  };
}
