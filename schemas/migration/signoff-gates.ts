/** What must hold before a migration is signed off. Guarantee: pure; what nobody has looked at closes its gate. */
import { approvalGates, type Approval, type RequiredApproval } from './approvals.ts';
import { closedGate, type Gate, openGate } from './gate.ts';
import type { Proof } from './last-proof.ts';
import type { MigrationRow } from './migration-row.ts';
import { observedGate, type Observed } from './observed-time.ts';

export interface SignoffEvidence {
  readonly row: Pick<MigrationRow, 'state'> | undefined;
  readonly required: readonly RequiredApproval[] | undefined;
  readonly approvals: readonly Approval[];
  readonly planHash: string;
  /** Of the last comparison since the target serves; undefined: there was none. */
  readonly proof: Proof | undefined;
  readonly nowMs: number;
  readonly noWayBack?: string | undefined;
  /** Absent: the file asks for no time. */
  readonly observed?: Omit<Observed, 'nowMs'> | undefined;
}

export function signoffGates({ row, ...evidence }: SignoffEvidence): Gate[] {
  const { observed, nowMs } = evidence;
  const watched = observed === undefined || row?.state !== 'observing' ? [] : [observedGate({ ...observed, nowMs })];
  return [stateGate(row), ...watched, cleanVerifyGate(evidence), ...approvalGates('signoff', evidence)];
}

function stateGate(row: SignoffEvidence['row']): Gate {
  if (row?.state === 'observing') return openGate('state', 'the target serves and is observed');
  const found = row === undefined ? 'nothing was cut over' : `the migration is ${row.state}`;
  return closedGate('state', found, 'Cut over first (crossfade cutover); a flip or a drill under way has to end.');
}

const FRESH_MS = 24 * 60 * 60 * 1000;

/** `noWayBack`: why the two cannot be compared since the target serves; what was found nevertheless still counts. */
export function cleanVerifyGate({ proof, nowMs, noWayBack }: Pick<SignoffEvidence, 'proof' | 'nowMs' | 'noWayBack'>): Gate {
  const isKnownToDiffer = proof !== undefined && proof.differences > 0;
  if (noWayBack !== undefined && !isKnownToDiffer) return openGate('verify', `nothing to compare, for nothing goes back: ${noWayBack}`);
  const remedy = 'Run crossfade verify; rows that differ are mended by crossfade repair.';
  if (proof === undefined) return closedGate('verify', 'nothing was compared whole since the target serves', remedy);
  const { differences, at } = proof;
  if (differences > 0) return closedGate('verify', `${differences} differences were found at ${at}`, remedy);
  if (nowMs - Date.parse(at) > FRESH_MS) return closedGate('verify', `the last comparison was more than 24 hours ago, at ${at}`, remedy);
  return openGate('verify', `source and target were equal at ${at}`);
}
