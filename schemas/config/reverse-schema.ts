/**
 * `reverse` and `tables[].reverse`, as zod: what becomes of the way back that a rollback goes. Guarantee: without them the way back is what
 * follows from the mapping; a loss that the file accepts stands in the file.
 */
import { z } from 'zod';
import { expected, oneOf } from './file-terms.ts';
import { setEntries } from './step-schema.ts';

/** `off`: nothing of what the target is written goes back. */
export const reverseSwitch: z.ZodDefault<z.ZodEnum<{ on: 'on'; off: 'off' }>> = oneOf(['on', 'off']).default('on');

const none = z.literal('none', expected('none, or a block with set: …'));
const declared = z.strictObject({ set: setEntries }, expected('none, or a block with set: …'));

export type ReverseInput = 'none' | { readonly set: z.output<typeof setEntries> };

export const reverseOption: z.ZodOptional<z.ZodType<ReverseInput>> = z
  .union([none, declared], expected('none, or a block with set: …'))
  .optional();
