/**
 * What the audit trail says of the last whole comparison. Guarantee: pure; only one of the side that serves now counts, and a difference that was found
 * later, by a comparison of however little, takes it back.
 */
import type { AuditRecord } from './audit-record.ts';

export interface Proof {
  readonly differences: number;
  /** When, by the target's clock. */
  readonly at: string;
}

/** Undefined: nothing was compared since this side serves. `records`: the oldest first. */
export function lastProof(records: readonly Pick<AuditRecord, 'event' | 'at' | 'details'>[]): Proof | undefined {
  for (const { event, at, details } of records.toReversed()) {
    if (event === 'proved') return { differences: 0, at };
    if (event === 'doubted') return { differences: Number(details['differences'] ?? 1), at };
    if (event === 'decided' || event === 'forced-found') return undefined;
  }
  return undefined;
}
