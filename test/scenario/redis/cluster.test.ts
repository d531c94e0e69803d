/** A Redis Cluster: every call lies in one slot, and a sink that was replaced can write in none. */
import { describe, expect, test } from 'vitest';
import { slotOf } from '#connectors/target/redis/slots.ts';
import { seeded } from '#test/support/random.ts';
import { hasClusters, startRedisCluster } from '#test/support/redis/cluster.ts';
import { compareWorld, ReplayWorld } from '#test/support/redis/replay-world.ts';

describe.skipIf(!hasClusters)(`a Redis Cluster${hasClusters ? '' : ' (needs redis-server, or Maven and unzip)'}`, () => {
  test('ends in the source’s state after repeated, reordered and interrupted changes', async () => {
    await using cluster = await startRedisCluster();
    const options = { form: 'hash', changes: 4_000, keys: 500, roundChanges: 400, random: seeded(3) } as const;
    const spread = new ReplayWorld({ ...options, url: cluster.url, cluster: true, plain: true });
    await spread.run();
    expect([spread.crashes, spread.stale, spread.zombies].every((count) => count > 0)).toBe(true);
    expect(
      await compareWorld(
        spread,
        cluster.nodes.map(({ client }) => client),
        'hash',
      ),
    ).toEqual([]);
    const sizes = await Promise.all(cluster.nodes.map(async ({ client }) => client.dbsize()));
    expect(Math.min(...sizes)).toBeGreaterThan(50);
  });

  test('computes the slot that the cluster computes', async () => {
    await using cluster = await startRedisCluster();
    for (const key of ['a', 'acct:17', '{shop}:x', 'x{}y', 'x{a', '{a}{b}', 'é💥'])
      expect(slotOf(key), key).toBe(await cluster.nodes[0]!.client.cluster('KEYSLOT', key));
  });
});
