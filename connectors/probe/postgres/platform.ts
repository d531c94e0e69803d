/**
 * Do two servers compute the same digest? Guarantee: `record` digests are used only where both servers gave the same answer for every
 * UTF-8 lead and continuation byte; which bytes ROW()::text takes for blanks depends on locale and C library, hashtextextended on
 * the machine's byte order. Anything else takes the portable digest.
 */
import type pg from 'pg';
import { queryRow } from '#connectors/postgres/session.ts';
import { newDigestPlan, type DigestPlan } from './row-sql.ts';

const ANSWER = `
SELECT hashtextextended(string_agg(ROW(chr(i), '')::text, '' ORDER BY i) COLLATE "C", 7)::text AS answer
FROM (SELECT generate_series(1, 2047) AS i
      UNION ALL SELECT unnest(ARRAY[2048, 4096, 8192, 8232, 12288, 16384, 20480, 24576, 28672, 32768, 36864, 40960, 45056, 49152, 53248,
                                    57344, 61440, 65279, 65536, 327680, 589824, 851968, 1048576])) AS c`;

async function answerOf(client: pg.ClientBase): Promise<string | undefined> {
  const encoding = await queryRow(client, "SELECT current_setting('server_encoding') AS encoding");
  if (encoding?.['encoding'] !== 'UTF8') return undefined; // chr() would not take these code points
  return (await queryRow(client, ANSWER))?.['answer'] ?? undefined;
}

export async function agreeOnDigest(source: pg.ClientBase, target: pg.ClientBase): Promise<DigestPlan> {
  const [one, other] = await Promise.all([answerOf(source), answerOf(target)]);
  return newDigestPlan(one !== undefined && one === other ? 'record' : 'portable');
}
