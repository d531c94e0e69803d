/** What a table's rows look like in Redis, said twice, by means of the test's own: SQL on the source, plain commands on Redis. */
import type { Redis } from 'ioredis';
import { execute } from '#test/support/application.ts';

/** By key: fields and values, NULLs left out. */
export type RowImage = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** `key` makes a row's key of its texts. */
export async function sourceRows(
  url: string,
  table: string,
  key: (row: Readonly<Record<string, string | null>>) => string,
): Promise<RowImage> {
  const columns = await execute(
    url,
    `SELECT attname::text AS name FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
  );
  const list = columns.map(({ name }) => `"${name}"::text AS "${name}"`).join(', ');
  const rows = await execute(url, `SELECT ${list} FROM ${table}`);
  const image: Record<string, Record<string, string>> = {};
  for (const row of rows) {
    const present = Object.entries(row).filter((entry): entry is [string, string] => entry[1] !== null);
    image[key(row)] = Object.fromEntries(present);
  }
  return image;
}

/** Hashes whose keys begin with `prefix`, without the field that is our own. */
export async function redisHashes(client: Redis, prefix: string): Promise<RowImage> {
  const keys = await keysOf(client, prefix);
  const image: Record<string, Record<string, string>> = {};
  for (let i = 0; i < keys.length; i += 1000) {
    const part = keys.slice(i, i + 1000);
    const pipeline = client.pipeline();
    for (const key of part) pipeline.hgetall(key);
    const answers = (await pipeline.exec()) ?? [];
    answers.forEach(([error, row], n) => {
      if (error !== null) throw error;
      const { _cf: _guard, ...fields } = row as Record<string, string>;
      image[part[n]!] = fields;
    });
  }
  return image;
}

export async function keysOf(client: Redis, prefix: string): Promise<string[]> {
  const keys = new Set<string>();
  for await (const found of client.scanStream({ match: `${prefix}*`, count: 1000 })) for (const key of found as string[]) keys.add(key);
  return [...keys].toSorted();
}

/** Strings that hold JSON objects, parsed, without the member that is our own. */
export async function redisObjects(client: Redis, prefix: string): Promise<Readonly<Record<string, unknown>>> {
  const keys = await keysOf(client, prefix);
  const image: Record<string, unknown> = {};
  for (let i = 0; i < keys.length; i += 1000) {
    const part = keys.slice(i, i + 1000);
    const texts = await client.mget(part);
    texts.forEach((text, n) => {
      const { _cf: _guard, ...members } = JSON.parse(text ?? '{}') as Record<string, unknown>;
      image[part[n]!] = members;
    });
  }
  return image;
}
