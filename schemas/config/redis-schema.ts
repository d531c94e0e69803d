/**
 * What the migration file says of a Redis target (docs/redis.md), as zod. Guarantee: a URL names no more than a server and a database;
 * key templates are only taken as text here, what they mean for a table is `compile-redis.ts`'s to say.
 */
import { z } from 'zod';
import { expected, flag, oneOf, whole } from './file-terms.ts';

const EXAMPLE = 'a URL like redis://host:6379/0, or rediss:// for TLS';

export const redisUrl: z.ZodString = z
  .string(expected(EXAMPLE))
  .refine(isRedisUrl, { error: `expected ${EXAMPLE} (percent-encode special characters of a password)`, abort: true })
  .refine((text) => !/[?#]/.test(text), {
    error: 'takes no options behind ? or #: the database stands in the path, as in redis://host:6379/2',
  });

function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const isRedis = url.protocol === 'redis:' || url.protocol === 'rediss:';
  return isRedis && url.hostname !== '' && /^(\/\d{0,5})?$/.test(url.pathname) && [url.username, url.password].every(isEncoded);
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const address = z
  .strictObject(
    { url: redisUrl, cluster: flag().default(false).describe('The server is a node of a Redis Cluster.') },
    expected('a URL, or a block of url and cluster'),
  )
  .refine(({ url, cluster }) => !cluster || /^\/?0*$/.test(new URL(url).pathname), {
    path: ['url'],
    error: 'a cluster has one database, 0: take the path out',
  });

export const redisAddress: z.ZodUnion<
  readonly [z.ZodPipe<typeof redisUrl, z.ZodTransform<z.output<typeof address>, string>>, typeof address]
> = z.union([redisUrl.transform((url) => ({ url, cluster: false })), address], expected(`${EXAMPLE}, or a block of url and cluster`));

const template = z.string(expected('a template like acct:{id}')).min(1, expected('a template like acct:{id}'));

export const redisTable: z.ZodType<RedisTableInput> = z.strictObject(
  {
    key: template.optional().describe('Key of a row; {column} stands for a key column. Absent: schema.table:{key columns}.'),
    form: oneOf(['hash', 'json']).default('hash').describe('A hash with a field per column, or a string that holds a JSON object.'),
    ttl: whole(1, 10 * 366 * 86_400)
      .optional()
      .describe('Seconds that a row stays after its last change.'),
    sets: z
      .array(template, expected('a list of templates'))
      .max(16, expected('at most 16 sets'))
      .default([])
      .describe("Sets that hold the row's key, named by values of the row: by_country:{country}."),
  },
  expected('a block of key, form, ttl, sets'),
);

export interface RedisTableInput {
  readonly key?: string | undefined;
  readonly form: 'hash' | 'json';
  readonly ttl?: number | undefined;
  readonly sets: readonly string[];
}
