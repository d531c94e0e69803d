/** The whole pipeline of one process, from a real PostgreSQL to a real Redis. */
import { expect, test, vi } from 'vitest';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { redisHashes, sourceRows } from '#test/support/redis/rows.ts';
import { startRedis } from '#test/support/redis/server.ts';
import { startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 30_000, interval: 50 };

describeWithRedis('a Redis target', () => {
  test('gets the rows of a table, then its changes, each under a key of its own', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    const source = from.url;
    await execute(
      source,
      'CREATE TABLE account (id int PRIMARY KEY, owner text, balance numeric(12,2) NOT NULL, seen timestamptz)',
      'ALTER TABLE account REPLICA IDENTITY FULL',
      `INSERT INTO account SELECT g, CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'o' || g END, g * 1.5, NULL FROM generate_series(1, 5000) g`,
    );
    const rest = 'heartbeatSeconds: 1\ntables:\n  - from: public.account\n    redis: { key: "acct:{id}" }\n';
    await using instance = await startInstance({ source, target: redis.url, rest });
    const same = async (): Promise<void> =>
      vi.waitFor(
        async () =>
          expect(await redisHashes(redis.client, 'acct:')).toEqual(await sourceRows(source, 'account', (row) => `acct:${row['id']}`)),
        WAIT,
      );
    await same();
    await execute(
      source,
      'UPDATE account SET owner = NULL WHERE id <= 10',
      `UPDATE account SET owner = 'x', seen = now() WHERE id BETWEEN 5 AND 20`,
      'DELETE FROM account WHERE id % 7 = 0',
      'UPDATE account SET id = id + 100000 WHERE id BETWEEN 100 AND 110',
      `INSERT INTO account VALUES (7, 'again', 1, NULL), (-5, E'tab\\t line\\n quote " back\\\\ é 💥', 2, NULL)`,
    );
    await same();
    await vi.waitFor(() => expect(instance.status()?.applied).toMatchObject({ lsn: expect.any(String) as string, exact: false }), WAIT);
    await execute(source, 'TRUNCATE account', `INSERT INTO account VALUES (1, 'anew', 1, NULL)`);
    await same();
    expect(instance.status()?.tables[0]).toMatchObject({ phase: 'following', rowsCopied: 5000 });
  });
});
