/** How far the running instance's own comparison has come. Guarantee: unknown is null, and proved counts only what was found equal. */
import { z } from 'zod';
import { DRIFT_CAUSES } from '../reconcile/drift-cause.ts';
import { INCONCLUSIVE_CAUSES } from '../reconcile/verify-result.ts';
import { mirrorStatusSchema } from './mirror-status.ts';

const count = z.number().int().nonnegative();

/** The file's checks, or its shadow queries, as they were last made. */
const checksStatusSchema = z.strictObject({
  declared: count,
  equal: count,
  /** Those that differed when they were last judged. */
  differs: count,
  /** Those of the others that could not be judged when they were last made. */
  inconclusive: count,
  /** Names of those that differ. */
  differing: z.array(z.string()),
  /** When they were last made; null: not yet. */
  madeAt: z.string().nullable(),
});
export type ChecksStatus = z.infer<typeof checksStatusSchema>;

export const reconciliationStatusSchema = z.strictObject({
  /** There: the target serves, and nothing is compared by itself until the source does again. */
  silent: z.literal(true).exactOptional(),
  /** Share of the rows whose last comparison found them equal, 0 to 1. */
  proved: z.number().min(0).max(1).nullable(),
  /** When the part that was proved longest ago was; null while a part never was. */
  provedSince: z.string().nullable(),
  /** When something was last compared. */
  comparedAt: z.string().nullable(),
  /** Rounds since the instance started. */
  comparisons: count,
  /** Rows that one comparison found to differ. */
  suspected: count,
  /** Rows that a later one found again. */
  confirmed: count,
  /** Rows of these that were asked for again. */
  repairing: count,
  /** Tables, or ranges of their keys, that the last comparison could not judge. */
  inconclusive: count,
  /** The rows that differ, by what is known of why. */
  driftByCause: z.record(z.enum(DRIFT_CAUSES), count),
  /** Of `inconclusive`, why. */
  inconclusiveByCause: z.record(z.enum(INCONCLUSIVE_CAUSES), count),
  /** Absent: the file declares none. */
  checks: checksStatusSchema.exactOptional(),
  /** Answers of the shadow queries; absent: the file declares none. */
  queries: checksStatusSchema.exactOptional(),
  /** Absent: no mirror of the log is kept. */
  stream: mirrorStatusSchema.exactOptional(),
});
export type ReconciliationStatus = z.infer<typeof reconciliationStatusSchema>;
