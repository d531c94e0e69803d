/** `contacts:` and `cleanup:` of the migration file: who is asked when something goes wrong, and when what Crossfade put anywhere may go. */
import { z } from 'zod';
import { expected } from './file-terms.ts';
import { span } from './span.ts';

const CONTACTS_MAX = 50;
const contact = z.string(expected('how somebody is reached')).trim().min(1, expected('how somebody is reached')).max(300);

export const contacts: z.ZodOptional<z.ZodRecord<z.ZodString, typeof contact>> = z
  .record(z.string().max(100), contact, expected('a block of role: who, and how they are reached'))
  .refine((block) => Object.keys(block).length <= CONTACTS_MAX, { error: `expected at most ${CONTACTS_MAX} contacts` })
  .optional()
  .describe('Who is asked when something goes wrong, by role; printed in the runbook.');

const YEAR_MS = 366 * 86_400_000;

export const cleanup: z.ZodOptional<z.ZodObject<{ after: ReturnType<typeof span> }, z.core.$strict>> = z
  .strictObject(
    {
      after: span({ minMs: 0, maxMs: YEAR_MS, example: '72h' }).describe(
        'So long after the sign-off `crossfade cleanup` refuses; 0s: not at all.',
      ),
    },
    expected('a block with after: …'),
  )
  .optional()
  .describe('When slots, publications and fences may be taken away. Absent: from the sign-off on.');
