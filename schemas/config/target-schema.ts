/**
 * The grammar of `target:` and `targets:`, as zod. Guarantee: an address names one store, and a name in `targets:` can stand in file names,
 * labels and messages as it is.
 */
import { z } from 'zod';
import { expected } from './file-terms.ts';
import { redisAddress } from './redis-schema.ts';

const NAME_PATTERN = /^[a-z][a-z0-9_]{0,47}$/;

export const postgresUrl: z.ZodString = z.string(expected('a URL like postgres://user@host:5432/database')).refine(isPostgresUrl, {
  error: 'expected a URL like postgres://user@host:5432/database (percent-encode special characters of a password)',
});

function isPostgresUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === 'postgres:' || url.protocol === 'postgresql:') && url.pathname.length > 1;
}

const addressShape = { postgres: postgresUrl.optional(), redis: redisAddress.optional() };

export type TargetInput = z.output<z.ZodObject<typeof addressShape, z.core.$strict>>;

export const targetAddress: z.ZodObject<typeof addressShape, z.core.$strict> = z
  .strictObject(addressShape, expected('target: { postgres: URL } or target: { redis: URL }'))
  .superRefine((target, context) => {
    if ((target.postgres === undefined) !== (target.redis === undefined)) return;
    const message =
      target.postgres === undefined
        ? 'is missing; expected a URL like postgres://user@host:5432/database, or redis: with one like redis://host:6379/0'
        : 'stands beside redis; expected one target';
    context.addIssue({ code: 'custom', path: ['postgres'], message });
  });

export const targetsByName: z.ZodRecord<z.ZodString, typeof targetAddress> = z
  .record(z.string(), targetAddress, expected('a block of name: { postgres: URL } or name: { redis: URL }'))
  .superRefine((targets, context) => {
    if (Object.keys(targets).length === 0) context.addIssue({ code: 'custom', path: [], message: 'expected at least one target' });
    for (const name of Object.keys(targets)) {
      if (NAME_PATTERN.test(name)) continue;
      const message = 'expected a name of small letters, digits and underscores that begins with a letter, at most 48 characters';
      context.addIssue({ code: 'custom', path: [name], message });
    }
  });

/** In an entry of the file: which of `targets:` it is for. */
export const targetOfEntry: z.ZodOptional<z.ZodString> = z.string(expected('the name of a target')).optional();

/** The two ways of writing them exclude each other, and one must be there: what zod would not tell beside other faults. */
export function targetIssues(file: unknown): z.core.$ZodIssue[] {
  if (typeof file !== 'object' || file === null || Array.isArray(file)) return [];
  const { target, targets } = file as Readonly<Record<string, unknown>>;
  if (target === undefined && targets === undefined) {
    const message = 'is missing; expected target: { postgres: URL } or target: { redis: URL }';
    return [{ code: 'invalid_type', expected: 'object', path: ['target'], message, input: undefined }];
  }
  if (target === undefined || targets === undefined) return [];
  return [{ code: 'custom', path: ['targets'], message: 'stands beside target; write one of the two', input: undefined }];
}
