/** Bodies of the instance's POST routes. Guarantee: what passes these schemas is what services/up may act on without another look. */
import { z } from 'zod';

/** More keys than this are asked for as a range or in several requests: the request is one durable record. */
const KEYS_MAX = 10_000;

const identifier = z.string().min(1).max(63);
const target = { schema: identifier, table: identifier, reason: z.string().max(200).default('requested') };

/** Names are the source's. */
export const recopyRequestSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('table'), ...target }),
  z.strictObject({ kind: z.literal('replace'), ...target }),
  z.strictObject({ kind: z.literal('range'), ...target, from: z.string().exactOptional(), to: z.string().exactOptional() }),
  z.strictObject({ kind: z.literal('keys'), ...target, keys: z.array(z.array(z.string()).min(1)).min(1).max(KEYS_MAX) }),
]);
export type RecopyBody = z.infer<typeof recopyRequestSchema>;

/** Null lifts a limit, absent leaves it as it is. */
export const throttleRequestSchema = z.strictObject({
  maxRowsPerSecond: z.int().positive().nullable().exactOptional(),
  maxBytesPerSecond: z.int().positive().nullable().exactOptional(),
});
export type ThrottleBody = z.infer<typeof throttleRequestSchema>;

export const emptyRequestSchema = z.strictObject({});

export const markerRequestSchema = z.strictObject({
  /** How long to wait until the marker is applied on the target; 0 only writes it. */
  waitMs: z.int().min(0).max(600_000).default(60_000),
  /** Written only once every re-copy asked for before stands in the change log; that wait counts too. */
  afterCopy: z.boolean().exactOptional(),
  /** Of several targets only this one is waited for. */
  target: z.string().exactOptional(),
});
export type MarkerBody = z.infer<typeof markerRequestSchema>;

export const throttleResultSchema = z.strictObject({
  maxRowsPerSecond: z.number().nullable(),
  maxBytesPerSecond: z.number().nullable(),
});
export type ThrottleResult = z.infer<typeof throttleResultSchema>;

export const markerResultSchema = z.strictObject({
  /** Commit LSN of the marker on the source. */
  lsn: z.string(),
  applied: z.boolean(),
  seconds: z.number().nonnegative(),
});
export type MarkerResult = z.infer<typeof markerResultSchema>;
