/**
 * What `verify` says of one check. Guarantee: `differs` only where both sides were asked at one state; of values only numbers and moments are
 * shown, and what the file names as groups.
 */
import type { CheckEntry } from '#schemas/config/check-entry.ts';
import type { Inconclusive } from '../verify-result.ts';

export interface CheckVerdict {
  readonly name: string;
  readonly kind: CheckEntry['kind'] | 'shadow' | 'rows' | 'digest' | 'orphans' | 'sequence' | 'structure';
  readonly verdict: 'equal' | 'differs' | 'inconclusive';
  /** In words or figures; null where there is none. */
  readonly source: string | null;
  readonly target: string | null;
  /** As the file writes it; absent: none. */
  readonly tolerance?: string;
  readonly message: string;
  /** Worth a look, and no drift: a sequence that the cut-over will set, an index that is missing. Absent: it counts. */
  readonly severity?: 'warning';
  /** Why it is inconclusive. */
  readonly cause?: Inconclusive['cause'];
  /** Of what the file declares: the source state that the target showed when both were asked. */
  readonly lsn?: string;
  /** It stands in the file. */
  readonly declared?: true;
}
