/**
 * The keys of one table. Guarantee: exactly those that its template can give, and all that were there before the scan began and still are.
 *
 * There is no list of them: it would cost as much memory again as the keys, at every write. A truncate is rare, and SCAN finds them.
 */
import { keyPattern, keyPrefix } from '#schemas/mapping/redis/key-template.ts';
import type { RedisMapping } from '#schemas/mapping/compiled-mapping.ts';
import { serversOf, type RedisClient } from './connection.ts';

const SCAN_COUNT = 1_000;

export async function* tableKeys(client: RedisClient, { key }: RedisMapping): AsyncGenerator<readonly string[]> {
  const match = `${keyPrefix(key).replaceAll(/[\\*?[\]]/g, String.raw`\$&`)}*`;
  const pattern = keyPattern(key);
  for (const server of serversOf(client)) {
    let cursor = '0';
    do {
      const [next, found] = await server.scan(cursor, 'MATCH', match, 'COUNT', SCAN_COUNT);
      cursor = next;
      const own = found.filter((one) => pattern.test(one));
      if (own.length > 0) yield own;
    } while (cursor !== '0');
  }
}

export async function hasKeys(client: RedisClient, redis: RedisMapping): Promise<boolean> {
  for await (const _ of tableKeys(client, redis)) return true;
  return false;
}
