/** Findings as the verdicts that a comparison of their tables would give. Guarantee: each finding is counted once, and named where it has a name. */
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';

export function verdictsOf(findings: readonly DriftFinding[]): VerifyResult {
  const tables = [...Map.groupBy(findings, ({ from, to }) => JSON.stringify([from, to])).values()].map(verdictOf);
  return { at: { lsn: null }, tables, differences: findings.reduce((sum, { rows }) => sum + rows, 0), inconclusive: 0 };
}

function verdictOf(findings: readonly DriftFinding[]): TableVerdict {
  const { from, to } = findings[0]!;
  const count = (kind: DriftFinding['kind']): number => findings.reduce((sum, one) => sum + (one.kind === kind ? one.rows : 0), 0);
  return {
    from,
    to,
    rowsSource: 0,
    rowsTarget: 0,
    missing: count('missing'),
    extra: count('extra'),
    different: count('different'),
    sample: findings.flatMap(({ key, sourceKey, kind, columns }) =>
      key === null ? [] : [{ key, kind, columns, ...(sourceKey !== undefined && { sourceKey }) }],
    ),
    lsn: null,
  };
}
