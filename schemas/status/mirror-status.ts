/** What the mirror of the log says, where the file asks for one. Guarantee: each equality by itself, so that it can be seen which part is at fault. */
import { z } from 'zod';

const count = z.number().int().nonnegative();
const sum = z.string().nullable();

/** Tables, by what was last found. */
const equality = z.strictObject({
  equal: count,
  /** Those that differed when they were last judged. */
  differs: count,
  inconclusive: count,
  /** Target tables that differ. */
  differing: z.array(z.string()),
});

export const mirrorStatusSchema = z.strictObject({
  /** When something was last compared. */
  comparedAt: z.string().nullable(),
  /** Is the log what the source did? */
  sourceLog: equality,
  /** Is the target what the log, mapped, makes? */
  logTarget: equality,
  /** Tables that one of the two was last not judged of, among them those that no mirror is kept of. */
  unjudged: z.array(z.strictObject({ from: z.string(), to: z.string(), why: z.string() })),
  /** Of the columns that the file's checks sum, over all rows of a table; null: of none. */
  sums: z.array(
    z.strictObject({
      table: z.string(),
      column: z.string(),
      log: sum,
      target: sum,
      /** The source state that both show. */
      lsn: z.string().nullable(),
      /** At another moment: what the source had, and the log at the same state; null: not compared. */
      source: z.strictObject({ log: sum, source: sum }).nullable(),
    }),
  ),
});
export type MirrorStatus = z.infer<typeof mirrorStatusSchema>;
