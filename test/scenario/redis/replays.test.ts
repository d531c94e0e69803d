/** Whatever is written again, late, or by somebody who was replaced: Redis ends with the last state, and never with an older one. */
import { afterEach, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { compareWorld, ReplayWorld, type WorldOptions } from '#test/support/redis/replay-world.ts';
import { startRedis, type RedisServer } from '#test/support/redis/server.ts';

afterEach(() => installTestHooks({}));

const SMALL = { changes: 20_000, keys: 2_000, roundChanges: 1_500 };

async function play(redis: RedisServer, options: Omit<WorldOptions, 'url'>): Promise<ReplayWorld> {
  const world = new ReplayWorld({ ...options, url: redis.url });
  await world.run();
  return world;
}

describeWithRedis('changes repeated, reordered and interrupted at random', () => {
  test.each(['hash', 'json'] as const)('end in the source’s state (%s)', async (form) => {
    const seed = seedFromEnvironment();
    await using redis = await startRedis();
    const world = await play(redis, { ...SMALL, form, random: seeded(seed) });
    expect(await compareWorld(world, redis.client, form), `seed ${seed}`).toEqual([]);
    expect(
      [world.crashes, world.stale, world.zombies].every((count) => count > 0),
      `seed ${seed}`,
    ).toBe(true);
  });

  test('end in another one when the place of a row does not count', async () => {
    await using redis = await startRedis();
    installTestHooks({ disabledGuards: ['place'] });
    const world = await play(redis, { ...SMALL, form: 'json', random: seeded(1) });
    expect((await compareWorld(world, redis.client, 'json')).length).toBeGreaterThan(0);
  });
});
