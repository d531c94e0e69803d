/** What a comparison with the log says. Guarantee: keys are shown, values never; what could not be aligned is inconclusive, never equal. */
import type { DifferenceKind, Inconclusive } from '#schemas/reconcile/verify-result.ts';

/** source-log: what the reader wrote is what the source did. log-target: the target is what the log, mapped, makes. */
export type Equality = 'source-log' | 'log-target';

export interface MirrorDifference {
  /** missing: the side lacks a row that the log has. extra: it has one that the log lacks. */
  readonly kind: DifferenceKind;
  /** Target key column → text; null where only its digest is known. */
  readonly key: Readonly<Record<string, string | null>> | null;
  readonly sourceKey?: readonly string[];
}

/** Of one column that a check of the file sums, over all rows of the table; null: of none. */
export interface MirrorSum {
  readonly column: string;
  readonly log: string | null;
  readonly side: string | null;
}

export interface MirrorVerdict {
  /** `schema.table` on the source. */
  readonly from: string;
  /** `schema.table` on the target. */
  readonly to: string;
  readonly equality: Equality;
  readonly outcome: 'equal' | 'differs' | 'inconclusive';
  /** Rows that the side has, of those that count. */
  readonly rows: number;
  /** Buckets whose sums differ: by rows that differ, or by rows that are open. */
  readonly buckets: number;
  readonly differences: number;
  /** The first of them. */
  readonly sample: readonly MirrorDifference[];
  /** Rows that the log leaves a value out of that nobody carries: taken out on both sides. */
  readonly open: number;
  /** Rows that the target has set aside: taken out on both sides. */
  readonly held: number;
  /** At the state that was compared; where rows are open or held, these are missing in the log's. */
  readonly sums: readonly MirrorSum[];
  /** Source state of the comparison with the target. */
  readonly lsn: string | null;
  readonly inconclusive?: Inconclusive;
}

/** Two states that cannot be brought to one. */
export class NotAligned extends Error {
  override readonly name = 'NotAligned';
  readonly reason: Inconclusive;

  constructor(cause: Inconclusive['cause'], message: string) {
    super(message);
    this.reason = { cause, message };
  }
}
