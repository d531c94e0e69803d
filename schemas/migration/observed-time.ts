/**
 * How long the target has been watched, and when it is to be compared again. Guarantee: pure; counted from the record of the last cut-over; a rollback ends
 * it, and the next cut-over begins anew.
 */
import { duration, shortTime } from '../document/blocks.ts';
import type { AuditRecord } from './audit-record.ts';
import { closedGate, type Gate, openGate } from './gate.ts';
import type { Proof } from './last-proof.ts';
import type { MigrationRow } from './migration-row.ts';

type Recorded = Pick<AuditRecord, 'event' | 'at' | 'fromState' | 'toState'>;

/** The record of the flip since which the target serves. Undefined: it does not. `records`: the oldest first. */
export function lastCutover<T extends Recorded>(records: readonly T[]): T | undefined {
  const flip = records.findLast(({ event }) => event === 'finished' || event === 'forced-found');
  return flip?.event === 'finished' && flip.toState === 'observing' ? flip : undefined;
}

export interface Observed {
  readonly forMs: number;
  /** When the target began to serve; undefined: not known. */
  readonly since: string | undefined;
  readonly nowMs: number;
  /** Why it is ended before its time. */
  readonly early?: string | undefined;
}

export function observedGate({ forMs, since, nowMs, early }: Observed): Gate {
  const gate = 'observed';
  if (since === undefined)
    return closedGate(gate, 'it is not known since when the target serves', 'See crossfade report for what was done.');
  const observedMs = Math.max(0, nowMs - Date.parse(since));
  const evidence = `the target serves for ${duration(observedMs)}, and the file asks for ${duration(forMs)}`;
  if (observedMs >= forMs) return openGate(gate, evidence);
  if (early !== undefined) return openGate(gate, `${evidence}; ended early: ${early}`);
  const end = shortTime(new Date(Date.parse(since) + forMs).toISOString());
  return closedGate(gate, evidence, `Wait until ${end}, or say why it is ended early: crossfade signoff --early "REASON".`);
}

export interface Reconciled {
  /** As it stands; undefined: none is kept. */
  readonly row: Pick<MigrationRow, 'state' | 'act'> | undefined;
  readonly everyMs: number;
  /** When the target began to serve; undefined: not known. */
  readonly since: string | undefined;
  /** Of the last whole comparison since then. */
  readonly proof: Proof | undefined;
  readonly nowMs: number;
}

/** Only while the target is observed and nobody acts. The flip ended with a comparison of its own. */
export function isComparisonDue({ row, everyMs, since, proof, nowMs }: Reconciled): boolean {
  if (row?.state !== 'observing' || row.act !== undefined || since === undefined) return false;
  return nowMs - Math.max(Date.parse(since), proof === undefined ? 0 : Date.parse(proof.at)) >= everyMs;
}
