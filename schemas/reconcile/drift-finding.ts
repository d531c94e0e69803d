/**
 * A difference between source and target from when it is first seen. Guarantee: what was seen once stays told, with what became of it and
 * where: nothing goes away but by a later comparison of the same rows.
 */
import type { DifferenceKind, DifferenceSample } from './verify-result.ts';

/**
 * suspected: one comparison found it. confirmed: a later one found it again. repairing: its rows were asked for again. verified: equal
 * after a repair. flapped: equal again, and nobody had asked for a repair.
 */
export type FindingState = 'suspected' | 'confirmed' | 'repairing' | 'verified' | 'flapped';

export const OPEN_STATES: ReadonlySet<FindingState> = new Set(['suspected', 'confirmed', 'repairing']);

export interface DriftFinding {
  /** Both tables and key, or both tables and kind of what has no name. */
  readonly id: string;
  /** `schema.table` on the source. */
  readonly from: string;
  /** `schema.table` on the target. */
  readonly to: string;
  /** Target key column → text; null: rows that no key tells apart, or that are too many to be named. */
  readonly key: Readonly<Record<string, string | null>> | null;
  readonly sourceKey?: readonly string[];
  readonly kind: DifferenceKind;
  /** Target columns that differ; of missing and extra rows none. */
  readonly columns: readonly string[];
  /** One, but for rows without a name. */
  readonly rows: number;
  /** The target refused the row: see `crossfade dlq`. */
  readonly cause?: DifferenceSample['cause'];
  readonly state: FindingState;
  /** When the state was reached, the first one first. */
  readonly steps: readonly FindingStep[];
}

export interface FindingStep {
  readonly state: FindingState;
  readonly atMs: number;
  /** Source state of the comparison, or of the source when the repair was asked for; null where none is known. */
  readonly lsn: string | null;
}
