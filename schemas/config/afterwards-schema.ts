/** `contacts:`, `observe:` and `cleanup:` of the migration file: who is asked when something goes wrong, how long the target is watched, and when what Crossfade put anywhere may go. */
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

const MONTH_MS = 31 * 86_400_000;
const observedFor = span({ minMs: 0, maxMs: MONTH_MS, example: '24h' });
const OBSERVE = 'a time, for example 24h, or a block of for and every';

export const observe: z.ZodOptional<z.ZodType<Observe>> = z
  .union(
    [
      observedFor.transform((forMs) => ({ forMs, everyMs: OBSERVE_EVERY_MS })),
      z
        .strictObject({
          for: observedFor.describe('So long the target serves before it may be signed off, or somebody says why not.'),
          every: span({ minMs: 1_000, maxMs: MONTH_MS, example: '6h' })
            .prefault('6h')
            .describe('How often `crossfade up` compares the two sides meanwhile.'),
        })
        .transform(({ for: forMs, every: everyMs }) => ({ forMs, everyMs })),
    ],
    expected(OBSERVE),
  )
  .optional()
  .describe(
    'How long the target is watched before the sign-off, and how often it is compared. Absent: no time is asked, and nothing is compared by itself.',
  );

/** Times in milliseconds. */
export interface Observe {
  readonly forMs: number;
  readonly everyMs: number;
}

const OBSERVE_EVERY_MS = 6 * 3_600_000;
