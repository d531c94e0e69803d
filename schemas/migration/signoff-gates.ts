/** What must hold before a migration is signed off. Guarantee: pure; what nobody has looked at closes its gate. */
import { approvalGates, type Approval, type RequiredApproval } from './approvals.ts';
import { closedGate, type Gate, openGate } from './gate.ts';
import type { MigrationRow } from './migration-row.ts';

export interface SignoffEvidence {
  readonly row: Pick<MigrationRow, 'state'> | undefined;
  readonly required: readonly RequiredApproval[] | undefined;
  readonly approvals: readonly Approval[];
  readonly planHash: string;
}

export function signoffGates({ row, ...signed }: SignoffEvidence): Gate[] {
  return [stateGate(row), ...approvalGates('signoff', signed)];
}

function stateGate(row: SignoffEvidence['row']): Gate {
  if (row?.state === 'observing') return openGate('state', 'the target serves and is observed');
  const found = row === undefined ? 'nothing was cut over' : `the migration is ${row.state}`;
  return closedGate('state', found, 'Cut over first (crossfade cutover); a flip or a drill under way has to end.');
}

/** `result`: of the last comparison of all tables since the target serves; undefined: there was none. */
export function cleanVerifyGate(result: { readonly differences: number; readonly inconclusive: number } | undefined): Gate {
  const remedy = 'Run crossfade verify; rows that differ are mended by crossfade repair.';
  if (result === undefined) return closedGate('verify', 'nothing was compared since the target serves', remedy);
  const { differences, inconclusive } = result;
  if (differences === 0 && inconclusive === 0) return openGate('verify', 'source and target are equal');
  return closedGate('verify', `${differences} rows differ, ${inconclusive} tables could not be judged`, remedy);
}
