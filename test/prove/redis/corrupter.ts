/**
 * Who writes to Redis behind the pipeline's back. Guarantee: each act is one that verify must name, told in words of its own: it knows neither
 * the checker's code nor any list of it, only what docs/redis.md says of a row.
 */
import type { Redis } from 'ioredis';
import type { Random } from '#test/support/random.ts';

/** `table kind key columns`, as verify has to name it. */
export type Expected = string;

type Act = (redis: Redis, id: number) => Promise<Expected>;

async function edit(redis: Redis, key: string, change: (text: string) => string): Promise<void> {
  const text = await redis.get(key);
  if (text === null) throw new Error(`${key} is not there`);
  const changed = change(text);
  if (changed === text) throw new Error(`${key} did not change: ${text}`);
  await redis.set(key, changed);
}

const ACTS: readonly Act[] = [
  async (redis, id) => {
    await redis.hset(`acct:${id}`, 'balance', '-0.01');
    return `public.account different ${id} balance`;
  },
  async (redis, id) => {
    await redis.hset(`acct:${id}`, 'owner', `o${id} `, 'note', '');
    return `public.account different ${id} owner,note`;
  },
  async (redis, id) => {
    await redis.hdel(`acct:${id}`, 'owner');
    return `public.account different ${id} owner`;
  },
  async (redis, id) => {
    await redis.unlink(`acct:${id}`);
    return `public.account missing ${id} `;
  },
  async (redis, id) => {
    await redis.copy(`acct:${id}`, `acct:${id + 9_000_000}`);
    return `public.account extra ${id + 9_000_000} `;
  },
  async (redis, id) => {
    await redis.hdel(`acct:${id}`, '_cf');
    return `public.account different ${id} _cf`;
  },
  async (redis, id) => {
    const region = await redis.hget(`acct:${id}`, 'region');
    await redis.srem(`in:${region}`, `acct:${id}`);
    return `public.account different ${id} in:{region}`;
  },
  async (redis, id) => {
    await edit(redis, `order:${id}`, (text) => text.replace(/"total":[^,]*/, '"total":1e2'));
    return `public.orders different ${id} total`;
  },
  async (redis, id) => {
    await edit(redis, `order:${id}`, (text) => text.replace(/"details":\{"n": /, '"details":{"n":'));
    return `public.orders different ${id} details`;
  },
  async (redis, id) => {
    await redis.del(`order:${id}`);
    return `public.orders missing ${id} `;
  },
  async (redis, id) => {
    await redis.set(`order:${id + 9_000_000}`, `{"id":${id + 9_000_000}}`);
    return `public.orders extra ${id + 9_000_000} `;
  },
];

/** One act on each of so many rows that nobody else writes to: keys above `from`, up to `to`. */
export async function corrupt(
  redis: Redis,
  count: number,
  rows: { readonly random: Random; readonly from: number; readonly to: number },
): Promise<readonly Expected[]> {
  const ids = new Set<number>();
  while (ids.size < count) ids.add(rows.random.between(rows.from + 1, rows.to));
  const expected: Expected[] = [];
  const first = rows.random.between(0, ACTS.length - 1);
  for (const [i, id] of [...ids].entries()) expected.push(await ACTS[(first + i) % ACTS.length]!(redis, id));
  return expected;
}
