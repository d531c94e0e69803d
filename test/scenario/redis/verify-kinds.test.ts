/** Verify of a Redis target where it is not one server with plain rows: a cluster, rows that expire, keys that no row could have. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { hasClusters, startRedisCluster } from '#test/support/redis/cluster.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { startRedis } from '#test/support/redis/server.ts';

const SOURCE = [
  'CREATE TABLE account (id int PRIMARY KEY, owner text)',
  'ALTER TABLE account REPLICA IDENTITY FULL',
  `INSERT INTO account SELECT g, 'o' || g FROM generate_series(1, 2000) g`,
  'ANALYZE',
];

type Run = (...args: string[]) => Promise<{ readonly exitCode: number; readonly result: VerifyResult; readonly all: string }>;

/** Copied and caught up when it is returned; no instance runs. */
async function copied(source: string, target: string, table: string): Promise<Run> {
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-redis-verify-'));
  const text = `crossfade: 1\nname: kinds\nsource: { postgres: "${source}" }\ntarget: { redis: ${target} }\ntables:\n  - { from: public.account, ${table} }\n`;
  writeFileSync(join(directory, 'migration.yaml'), text);
  const run: Run = async (...args) => {
    const ran = await runInProcess([...args, '--json'], { directory, environment: {} });
    return { exitCode: ran.exitCode, result: envelopeOf(ran).result as VerifyResult, all: ran.stdout + ran.stderr };
  };
  const up = await run('up', '--until', 'caught-up', '--port', '0');
  expect(up.exitCode, up.all).toBe(0);
  return run;
}

function named({ tables }: VerifyResult): string[] {
  return tables
    .flatMap(({ sample }) => sample.map(({ kind, key, columns }) => `${kind} ${Object.values(key ?? {}).join('/')} ${columns.join(',')}`))
    .toSorted();
}

describeWithRedis('verify of a Redis target', () => {
  test.skipIf(!hasClusters)(
    'reads all masters of a cluster',
    async () => {
      await using from = await freshDatabase(18);
      await using cluster = await startRedisCluster();
      await execute(from.url, ...SOURCE);
      const run = await copied(
        from.url,
        `{ url: "${cluster.url}", cluster: true }`,
        'redis: { key: "{{acct:{id}}}", sets: ["{{acct:{id}}}:of:{owner}"] }',
      );
      const clean = await run('verify');
      expect([clean.exitCode, clean.result], clean.all).toMatchObject([
        0,
        { tables: [{ rowsSource: 2000, rowsTarget: 2000 }], inconclusive: 0 },
      ]);
      for (const { client } of cluster.nodes) {
        const keys = (await client.keys('{acct:*')).filter((key) => key.endsWith('}')).toSorted();
        await client.del(keys[0]!);
        await client.hset(keys[1]!, 'owner', 'nobody');
        await client.restore(`{acct:9${keys[2]!.slice(6)}`, 0, await client.dumpBuffer(keys[2]!)).catch(() => undefined);
      }
      const found = await run('verify');
      expect(found.exitCode, found.all).toBe(11);
      expect(found.result.tables[0]).toMatchObject({ missing: 3, different: 3, rowsSource: 2000 });
    },
    120_000,
  );

  test('counts rows that may have expired apart, and finds the others', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, ...SOURCE);
    const run = await copied(from.url, `"${redis.url}"`, 'redis: { key: "acct:{id}", ttl: 5000 }');
    await redis.client.pexpire('acct:7', 1);
    await expect.poll(async () => redis.client.exists('acct:7')).toBe(0);
    await redis.client.hset('acct:9', 'owner', 'x');
    await redis.client.hset('acct:9000', 'owner', 'x');
    const found = await run('verify');
    expect(named(found.result), found.all).toEqual(['different 9 owner', 'extra 9000 ']);
    expect(found.result.tables[0]).toMatchObject({ expired: 1, missing: 0 });
  }, 60_000);

  test('finds keys that no row could have, and repair then asks for the whole table', async () => {
    await using from = await freshDatabase(18);
    await using redis = await startRedis();
    await execute(from.url, ...SOURCE);
    const run = await copied(from.url, `"${redis.url}"`, 'redis: { key: "acct:{id}" }');
    for (const id of ['x', '007', '99999999999', '1%20', '%E9', '1:2']) await redis.client.hset(`acct:${id}`, 'owner', 'x');
    const found = await run('verify');
    // The last two are none of the template's: somebody else's keys.
    expect(named(found.result), found.all).toEqual(['extra 007 ', 'extra 1  ', 'extra 99999999999 ', 'extra x ']);
    expect(found.result.tables[0]!.sample.map(({ sourceKey }) => sourceKey)).toEqual([undefined, undefined, undefined, undefined]);
  }, 60_000);
});
