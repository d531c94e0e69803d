/** `repair:` of the migration file: what a repair may do at most. Guarantee: off by default; a limit that is written is kept. */
import { z } from 'zod';
import { expected, whole } from './file-terms.ts';

const ROWS_MAX = 1_000_000_000;

export const repairLimits: z.ZodOptional<z.ZodObject<Shape, z.core.$strict>> = z
  .strictObject(
    {
      maxRows: whole(1, ROWS_MAX).optional().describe('A repair that would copy more rows again is refused.'),
      maxDeletes: whole(0, ROWS_MAX).optional().describe('A repair that would take more rows from the target is refused; 0: any.'),
    },
    expected('a block of maxRows, maxDeletes'),
  )
  .optional()
  .describe('What crossfade repair may do at most. Absent: as much as is asked for.');
type Shape = Record<'maxRows' | 'maxDeletes', z.ZodOptional<z.ZodInt>>;
