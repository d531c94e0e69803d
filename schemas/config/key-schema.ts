/**
 * `tables[].key` and `tables[].refs`, as zod. Guarantee: what is named are columns and tables; whether they can be keys and references is
 * the mapping compiler's to say.
 */
import { z } from 'zod';
import { expected, sqlName } from './file-terms.ts';

export const keyOption: z.ZodOptional<z.ZodObject<{ surrogate: z.ZodString }, z.core.$strict>> = z
  .strictObject(
    { surrogate: sqlName.describe('Target column whose sequence (or default) gives each row its id; crossfade.key_map keeps them.') },
    expected('a block with surrogate: TARGET_COLUMN'),
  )
  .optional();

const ELSE = expected('the source table that it refers to, as schema.table, or false');
const reference = z.union([z.string(ELSE), z.literal(false, ELSE)], ELSE);

export const refsOption: z.ZodDefault<z.ZodRecord<z.ZodString, typeof reference>> = z
  .record(z.string(), reference, expected('a block of source column: source table'))
  .default({});
