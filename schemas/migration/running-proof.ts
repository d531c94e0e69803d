/**
 * What the running comparison says of the state, as `verify` does. Guarantee: pure; `proved` only when every part of every table was found equal since the state last changed, and
 * nothing is open (a check of the file neither); `doubted` as soon as a difference is confirmed, or a check of the file differs. While somebody acts, or the target serves, it says nothing.
 */
import type { ReconciliationStatus } from '../status/reconciliation-status.ts';
import type { MigrationRow } from './migration-row.ts';

export type Standing = Pick<MigrationRow, 'state' | 'serves' | 'act' | 'updatedAt'>;

/** The state's times are of the target's clock, those of the comparison of this machine's. */
const CLOCKS_APART_MS = 10_000;

export function runningProof(row: Standing | undefined, compared: ReconciliationStatus | undefined): 'proved' | 'doubted' | undefined {
  if (row === undefined || row.act !== undefined || row.serves !== 'source' || compared === undefined || compared.silent === true)
    return undefined;
  const { suspected, confirmed, repairing, proved, provedSince, inconclusive } = compared;
  const { checks } = compared;
  if (row.state === 'verified') return confirmed > 0 || (checks?.differs ?? 0) > 0 ? 'doubted' : undefined;
  if (checks !== undefined && checks.equal < checks.declared) return undefined;
  if (row.state !== 'following' || suspected + confirmed + repairing + inconclusive > 0 || proved !== 1 || provedSince === null)
    return undefined;
  return Date.parse(provedSince) > Date.parse(row.updatedAt) + CLOCKS_APART_MS ? 'proved' : undefined;
}
