/**
 * What `status` answers (design §12, fixed): the same from a running instance's HTTP, from the target's stored progress, and on
 * stdout. Guarantee: the shape is exact, unknown is null and never zero, and 64-bit positions are text.
 */
import { z } from 'zod';
import { CONFLICT_NAMES } from '../conflict.ts';
import { reconciliationStatusSchema } from './reconciliation-status.ts';

export const MIGRATION_PHASES = [
  'planned',
  'copying',
  'following',
  'verified',
  'cutting-over',
  'observing',
  'rolling-back',
  'signed-off',
  'cleaned-up',
  'aborted',
  'failed',
] as const;
export type MigrationPhase = (typeof MIGRATION_PHASES)[number];

export const TABLE_PHASES = ['waiting', 'copying', 'following', 'held'] as const;
export type TablePhase = (typeof TABLE_PHASES)[number];

const count = z.number().int().nonnegative();
/** PostgreSQL's text form, for example `16/B374D848`. */
const lsn = z.string().nullable();

export const tableStatusSchema = z.strictObject({
  /** `schema.table` on the source. */
  from: z.string(),
  to: z.string(),
  phase: z.enum(TABLE_PHASES),
  rowsCopied: count,
  rowsEstimated: count,
  changesApplied: count,
  error: z.string().exactOptional(),
  /** Where the file says what becomes of them, and there were some: by kind and who won, `update/target`. */
  conflicts: z.partialRecord(z.enum(CONFLICT_NAMES), count).exactOptional(),
  /** Where the file names its targets. */
  target: z.string().exactOptional(),
});
export type TableStatus = z.infer<typeof tableStatusSchema>;

const limit = z.number().positive().nullable();

/** What the operator has set of the copy, and what was asked for and cannot be done. */
export const copyStatusSchema = z.strictObject({
  /** Null: nobody was there to ask, and the limits are then unknown too. */
  paused: z.boolean().nullable(),
  /** Null: no limit. */
  maxRowsPerSecond: limit,
  maxBytesPerSecond: limit,
  /** Re-copies that cannot be made, the last ones. */
  refused: z.array(z.strictObject({ table: z.string(), error: z.string() })),
});
export type CopyStatus = z.infer<typeof copyStatusSchema>;

export const UNKNOWN_COPY: CopyStatus = { paused: null, maxRowsPerSecond: null, maxBytesPerSecond: null, refused: [] };

const lag = z.strictObject({ bytes: count.nullable(), seconds: z.number().nonnegative().nullable(), known: z.boolean() });
const applied = z.strictObject({ lsn, exact: z.boolean() });
const drift = count.nullable();
/** The side that applications may write to; absent: nobody thought of a cut-over yet, and the source does. */
const serves = z.enum(['source', 'target']).exactOptional();
/** Under which it runs; null: nothing is recorded. */
const plan = z
  .strictObject({
    hash: z.string(),
    /** It was named by whoever started it (`--plan`). */
    signed: z.boolean(),
    since: z.string(),
    /** Whether file and catalogues give another one by now; null: nobody has looked. */
    changed: z.boolean().nullable(),
  })
  .nullable();

/** A rollback trigger while the target serves. `unknown` is not `quiet`: too little is known to say anything. */
const triggerStatusSchema = z.strictObject({
  name: z.string(),
  action: z.enum(['ask', 'rollback']),
  state: z.enum(['quiet', 'fired', 'unknown']),
  /** Since the cut-over, whatever it says by now: what it asked for still waits for somebody's decision. */
  hasFired: z.boolean(),
  value: z.number().nullable(),
  limit: z.number().nullable(),
  evidence: z.string(),
});
export type TriggerStatus = z.infer<typeof triggerStatusSchema>;

/** One of several targets. Its tables stand among those of all. */
const targetStatusSchema = z.strictObject({
  name: z.string(),
  kind: z.enum(['postgres', 'redis']),
  /** Null: nobody was there to ask. */
  connected: z.boolean().nullable(),
  /** Null: it could not be asked. */
  phase: z.enum(MIGRATION_PHASES).nullable(),
  serves,
  lag,
  applied,
  deadLetters: count,
  drift,
  reconciliation: reconciliationStatusSchema.exactOptional(),
  plan,
  /** Why it is not connected, or was given up. */
  error: z.string().exactOptional(),
});
export type TargetStatus = z.infer<typeof targetStatusSchema>;

/** The way back, as the running instance has it. */
const reverseStatusSchema = z.strictObject({
  /** Reader and sink of it are connected. */
  connected: z.boolean(),
  /** State of the target that the source shows. */
  appliedLsn: lsn,
  lagBytes: count.nullable(),
  restarts: count,
  /** Tables of the target whose changes do not come back: no rollback begins. Absent: none. */
  held: z.array(z.strictObject({ from: z.string(), to: z.string(), error: z.string() })).exactOptional(),
  /** Why it is not connected, or ended last. */
  error: z.string().exactOptional(),
});
export type ReverseStatus = z.infer<typeof reverseStatusSchema>;

/** Of several targets, what is told once is as far as the one that is furthest behind. */
export const statusResultSchema = z.strictObject({
  name: z.string(),
  phase: z.enum(MIGRATION_PHASES),
  /** Of several targets absent: each has its own. */
  serves,
  tables: z.array(tableStatusSchema),
  /** Between the source's current LSN and the applied LSN; `known: false` leaves both null. */
  lag,
  source: z.strictObject({ lsn, slot: z.strictObject({ retainedBytes: count.nullable(), status: z.string().nullable() }) }),
  /** The source state that the target shows; null before the change-over. `exact` is false while a table or key is held. */
  applied,
  copy: copyStatusSchema,
  restarts: count,
  deadLetters: count,
  /** Rows that the last verify found different; null when none has run, or when it found none and could not compare everything. */
  drift,
  /** The running instance's own comparison; absent: none runs. Of several targets each has its own. */
  reconciliation: reconciliationStatusSchema.exactOptional(),
  /** Of several targets null: each has its own. */
  plan,
  /** Where the file names its targets. */
  targets: z.array(targetStatusSchema).exactOptional(),
  /** Absent: it is not wanted, or nobody runs. */
  reverse: reverseStatusSchema.exactOptional(),
  /** What the running instance found that cannot be right (CF-8005): a fence is gone, say. Absent: nothing. */
  contradiction: z.string().exactOptional(),
  /** Those that the running instance watches; absent: none is armed. */
  triggers: z.array(triggerStatusSchema).exactOptional(),
});
export type StatusResult = z.infer<typeof statusResultSchema>;
