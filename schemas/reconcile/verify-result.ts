/**
 * What `verify` answers (design §12, fixed; further fields only add to it). Guarantee: counts are exact at the LSN named, keys are
 * shown, values never are, and what could not be aligned is inconclusive, never equal.
 */
import type { KeyRange } from './key-range.ts';

import type { CheckVerdict } from './checks/check-verdict.ts';
import type { ShadowVerdict } from './shadow/shadow-verdict.ts';

/** Why a table was not judged. `held` and `copying` are the migration's own states; the rest is about this comparison. */
export const INCONCLUSIVE_CAUSES = [
  'held', // the sink or the reader stopped the table
  'copying', // not covered by the applied LSN yet
  'lag', // the target is behind what the slot still holds
  'in-flight', // a transaction may be in the WAL and still invisible
  'changed', // truncated, rewritten, or another shape during the comparison
  'volume', // more keys changed meanwhile than are compared one by one
  'hot', // some keys changed each time that they were looked at (a target without snapshots)
  'unreadable', // a server refused a statement
] as const;
export type InconclusiveCause = (typeof INCONCLUSIVE_CAUSES)[number];

export interface Inconclusive {
  readonly cause: InconclusiveCause;
  readonly message: string;
}

export type DifferenceKind = 'missing' | 'extra' | 'different';

export interface DifferenceSample {
  /** Target key column → text; null for a table without a key. */
  readonly key: Readonly<Record<string, string | null>> | null;
  readonly kind: DifferenceKind;
  /** Target columns that differ; empty for missing and extra rows. In Redis also `_cf`, and sets that hold the row wrongly or lack it. */
  readonly columns: readonly string[];
  /** The source's key, in its own column order, where it is known: what repair asks for. */
  readonly sourceKey?: readonly string[];
  /**
   * held: the target refused the row, so it is set aside, and later changes of its key wait with it. foreign: something that no row can be stands
   * under the key (Redis), and has to be deleted by hand first.
   */
  readonly cause?: 'held' | 'foreign';
}

/** A part of a table that was compared. */
export interface ProvedRange extends KeyRange {
  /** Rows of the source at the LSN named. */
  readonly rows: number;
  /** missing + extra + different within it. */
  readonly differences: number;
}

export interface TableVerdict {
  /** `schema.table` on the source. */
  readonly from: string;
  /** `schema.table` on the target. */
  readonly to: string;
  /** Rows that the mapping selects on the source, at the LSN named. */
  readonly rowsSource: number;
  /** Without those that are softly deleted. */
  readonly rowsTarget: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  /** How many of these are rows set aside; absent: none. */
  readonly held?: number;
  /** Rows of the target that the source deleted and the file has marked; among no other count. Absent: the table has no soft deletes. */
  readonly softlyDeleted?: number;
  /** Rows of the target that the source lacks, where the file ignores deletes or truncates: no differences. Absent: none. */
  readonly kept?: number;
  /** Rows that may have expired: the file lets them (Redis, `ttl`), and they are not there. No differences. Absent: none. */
  readonly expired?: number;
  readonly sample: readonly DifferenceSample[];
  /** Rows that differed in the last comparison only, where the target may be ahead: no differences, and not equal either. Absent: none. */
  readonly unsettled?: readonly DifferenceSample[];
  /**
   * Target columns that were held against what the mapping's own function makes of the source, not against SQL of verify's own: a fault of
   * that function shows in them on both sides alike. Absent: none.
   */
  readonly sharedFunctionOnly?: readonly string[];
  /** LSN at which this table was compared; null when it was not. */
  readonly lsn: string | null;
  /** All that the verdict is about, in the order asked for; absent: the whole table. */
  readonly ranges?: readonly ProvedRange[];
  /** All that the verdict is about, its counts of rows too: this many keys, which had changed since the table was found equal. Absent: the whole table. */
  readonly keys?: number;
  readonly inconclusive?: Inconclusive;
}

export interface VerifyResult {
  /** Compared the other way, for the target serves: `missing`, `extra` and samples are of the source. Absent: the source serves. */
  readonly serves?: 'target';
  /** Tables that do not go back, as `schema.table` of the source: nothing is said of them. Absent: none. */
  readonly left?: readonly string[];
  /** Source state at which source and target were compared; null when nothing could be. */
  readonly at: { readonly lsn: string | null };
  readonly tables: readonly TableVerdict[];
  /** missing + extra + different over all tables. */
  readonly differences: number;
  /** Tables that were not judged. */
  readonly inconclusive: number;
  /** The file's and the built-in ones; absent where only rows were compared. */
  readonly checks?: readonly CheckVerdict[];
  /** Queries that ran on both stores; absent: the file has none, or they were not asked for. */
  readonly shadow?: readonly ShadowVerdict[];
}
