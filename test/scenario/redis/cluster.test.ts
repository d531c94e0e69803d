/** A Redis Cluster: every call lies in one slot, and a sink that was replaced can write in none. */
import { describe, expect, test } from 'vitest';
import { checkRedis } from '#connectors/target/redis/preflight.ts';
import { slotOf } from '#connectors/target/redis/slots.ts';
import { seeded } from '#test/support/random.ts';
import { hasClusters, startRedisCluster } from '#test/support/redis/cluster.ts';
import { mappingOf } from '#test/support/redis/mapping.ts';
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

  test('is checked node by node for what the user may do', async () => {
    await using cluster = await startRedisCluster();
    const rights = ['reset', 'on', '>secret', '~crossfade:*', '~{acct}:*', '+@all'];
    for (const { client } of cluster.nodes) await client.call('ACL', 'SETUSER', 'mover', ...rights);
    const account = { name: 'account', columns: ['id integer', 'owner text'], key: ['id'] };
    const redis = 'redis: { key: "{{acct}}:{id}", sets: ["{{acct}}:by:{owner}"] }';
    const target = 'target: { redis: { url: "redis://h:6379", cluster: true } }';
    const mapping = mappingOf(`  - { from: public.account, ${redis} }\n`, [account], target);
    const address = { url: cluster.url.replace('redis://', 'redis://mover:secret@'), cluster: true };
    const said = async (): Promise<string[]> => (await checkRedis(address, 'test', mapping)).findings.map(({ message }) => message);
    expect(await said()).toEqual([]);
    await cluster.nodes.at(-1)!.client.call('ACL', 'SETUSER', 'mover', '-persist');
    expect(await said()).toEqual(['the user mover of Redis may not run PERSIST']);
    for (const { client } of cluster.nodes) await client.call('ACL', 'SETUSER', 'mover', '+@all', 'resetkeys', '~crossfade:*');
    expect(await said()).toEqual(['the user mover of Redis may not reach the keys {acct}:*, {acct}:by:*']);
  });

  test('computes the slot that the cluster computes', async () => {
    await using cluster = await startRedisCluster();
    for (const key of ['a', 'acct:17', '{shop}:x', 'x{}y', 'x{a', '{a}{b}', 'é💥'])
      expect(slotOf(key), key).toBe(await cluster.nodes[0]!.client.cluster('KEYSLOT', key));
  });
});
