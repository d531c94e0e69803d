/** Pieces of the file's grammar that several blocks share. Guarantee: what stands in the file is never repeated in a message. */
import { z } from 'zod';

/** PostgreSQL cuts names at 63 bytes; the slot, the publication and temporary tables add to it. */
export const NAME_LENGTH_MAX = 48;

/** Zod's error option: what stands there instead is never repeated, it may be a secret. */
export function expected(what: string): { error: (issue: { input?: unknown }) => string } {
  return { error: (issue) => (issue.input === undefined ? `is missing; expected ${what}` : `expected ${what}`) };
}

export function whole(min: number, max: number): z.ZodInt {
  const what = expected(`a whole number from ${min} to ${max}`);
  return z.int(what).min(min, what).max(max, what);
}

export function flag(): z.ZodBoolean {
  return z.boolean(expected('true or false'));
}

export function oneOf<const T extends readonly [string, ...string[]]>(values: T): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(values, expected(values.slice(0, -1).join(', ') + ` or ${values.at(-1)}`));
}

export const sqlName: z.ZodString = z.string(expected('a column name')).min(1, expected('a column name'));
