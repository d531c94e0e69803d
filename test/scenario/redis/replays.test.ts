/** Whatever is written again, late, or by somebody who was replaced: Redis ends with the last state, and never with an older one. */
import { afterEach, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { compareWorld, ReplayWorld, type WorldOptions } from '#test/support/redis/replay-world.ts';
import { startRedis, type RedisServer } from '#test/support/redis/server.ts';

afterEach(() => installTestHooks({}));

const SMALL = { changes: 20_000, keys: 2_000, roundChanges: 500 };

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

  test('long ago change nothing when they come again, and would if the place of a row did not count', async () => {
    const seed = seedFromEnvironment();
    await using redis = await startRedis();
    const options = { ...SMALL, form: 'json' as const, changes: 4_000, truncates: false as const };
    const world = new ReplayWorld({ ...options, url: redis.url, random: seeded(seed) });
    await world.runStraight();
    await world.repeat(1_000, 3_000);
    expect(await compareWorld(world, redis.client, 'json'), `seed ${seed}`).toEqual([]);
    installTestHooks({ disabledGuards: ['place'] });
    await world.repeat(1_000, 3_000);
    const differences = await compareWorld(world, redis.client, 'json');
    expect(
      differences.some((line) => line.endsWith('instead of undefined')),
      `seed ${seed}: rows that were deleted are back`,
    ).toBe(true);
    expect(
      differences.some((line) => !line.endsWith('instead of undefined')),
      `seed ${seed}: rows are older`,
    ).toBe(true);
  });
});
