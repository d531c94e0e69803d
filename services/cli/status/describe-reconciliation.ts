/** What the running instance's own comparison has come to, in words. Guarantee: rows that differ are never told in the same colour as none. */
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { Paint } from '../paint.ts';
import { formatCount } from '../render.ts';

/** A line for each target that is compared. */
export function describeReconciliation({ reconciliation, targets }: StatusResult, paint: Paint): string[] {
  if (reconciliation !== undefined) return [describe(reconciliation, paint)];
  return (targets ?? []).flatMap((target) =>
    target.reconciliation === undefined ? [] : [`${target.name}: ${describe(target.reconciliation, paint)}`],
  );
}

function describe(
  { proved, provedSince, comparisons, suspected, confirmed, repairing, inconclusive }: ReconciliationStatus,
  paint: Paint,
): string {
  if (comparisons === 0) return 'nothing compared yet';
  const share = proved === null ? 'no rows' : `${percent(proved)} of the rows equal when last compared`;
  const since = provedSince === null ? '' : `, all of them since ${provedSince}`;
  const differ = confirmed + suspected + repairing;
  const open = `${formatCount(differ)} rows differ (${formatCount(confirmed)} confirmed, ${formatCount(suspected)} suspected, ${formatCount(repairing)} in repair)`;
  return [
    `${share}${since}`,
    ...(differ > 0 ? [paint.red(open)] : []),
    ...(inconclusive > 0 ? [paint.yellow(`${formatCount(inconclusive)} not judged`)] : []),
  ].join('; ');
}

/** Rounded down: all is 100 % only when it is all. */
function percent(share: number): string {
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}
