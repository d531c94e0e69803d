/** `reconcile.stream`, as zod. Guarantee: off unless the file says so. */
import type { z } from 'zod';
import { flag } from './file-terms.ts';

export const reconcileStream: z.ZodDefault<z.ZodBoolean> = flag()
  .default(false)
  .describe('Keep digests of what the log makes of each table, and hold them against source and target all the time (PostgreSQL targets).');
