/** What is claimed of a Redis target. */
import { compareWorld, ReplayWorld } from '#test/support/redis/replay-world.ts';
import { redisProvider } from '#test/support/redis/provider.ts';
import { seeded } from '#test/support/random.ts';
import { startRedis } from '#test/support/redis/server.ts';
import { measureSink } from '../redis/rate.ts';
import { runRedisCompare } from '../redis/run-compare.ts';
import { runRedisKills } from '../redis/run-kills.ts';
import { type Figures, type Proof, type ProofContext, Skipped } from '../proof.ts';

const RATE_MIN = 30_000;

async function requireRedis(): Promise<void> {
  if ((await redisProvider()) === undefined) throw new Skipped('needs Redis: a Docker engine, redis-server, or Maven and unzip');
}

const replayProof: Proof = {
  name: 'redis-replays',
  claim: 'a million changes, replayed, reordered, interrupted and written by replaced sinks, end in the source’s state on Redis',
  expectedSeconds: 240,
  run: async ({ size, seed, say }) => {
    await requireRedis();
    const figures: Record<string, number> = {};
    for (const form of ['hash', 'json'] as const) {
      const [changes, keys, roundChanges] = size === 'full' ? [1_000_000, 200_000, 4_000] : [10_000, 1_000, 1_000];
      await using redis = await startRedis();
      const world = new ReplayWorld({ url: redis.url, form, changes, keys, roundChanges, random: seeded(seed) });
      await world.run();
      const differences = await compareWorld(world, redis.client, form);
      if (differences.length > 0) throw new Error(`${form}: ${differences.length} differences\n${differences.slice(0, 20).join('\n')}`);
      say(
        `${form}: ${world.written} changes written for ${changes}, ${world.crashes} crashes, ${world.stale} old rounds, ${world.zombies} zombies`,
      );
      Object.assign(figures, {
        [`${form} changes`]: changes,
        [`${form} changes written`]: world.written,
        [`${form} crashes`]: world.crashes,
      });
      Object.assign(figures, {
        [`${form} old rounds`]: world.stale,
        [`${form} replaced sinks`]: world.zombies,
        [`${form} rows`]: world.rows.size,
      });
    }
    return figures satisfies Figures;
  },
};

const rateProof: Proof = {
  name: 'redis-rate',
  claim: `the sink applies at least ${RATE_MIN} changes a second to Redis on two cores`,
  expectedSeconds: 120,
  run: async ({ size, seed }: ProofContext) => {
    await requireRedis();
    await using redis = await startRedis();
    const changes = size === 'full' ? 1_000_000 : 20_000;
    const options = { form: 'hash' as const, changes, keys: changes / 5, roundChanges: 1, random: seeded(seed) };
    const world = new ReplayWorld({ ...options, url: redis.url, plain: true });
    const { seconds, cpuSeconds } = await measureSink({ url: redis.url, ...world.log() });
    const differences = await compareWorld(world, redis.client, 'hash');
    if (differences.length > 0) throw new Error(`${differences.length} differences\n${differences.slice(0, 20).join('\n')}`);
    const info = await redis.client.info('cpu');
    const redisCpu = [...info.matchAll(/used_cpu_(?:user|sys):([\d.]+)/g)].reduce((sum, [, text]) => sum + Number(text), 0);
    const rate = Math.round(changes / seconds);
    if (size === 'full' && rate < RATE_MIN)
      throw new Error(`${rate} changes/s: fewer than ${RATE_MIN} (node ${cpuSeconds} s, Redis ${redisCpu} s of CPU)`);
    return { changes, 'changes per second': rate, 'node CPU seconds': cpuSeconds, 'Redis CPU seconds': redisCpu };
  },
};

const killProof: Proof = {
  name: 'redis-kills',
  claim: 'SIGKILLs at random moments of copy and stream under load: Redis ends with exactly the source’s rows and sets',
  expectedSeconds: 240,
  run: async ({ size, seed, say }) => {
    await requireRedis();
    const kills = size === 'full' ? 40 : 6;
    const { keysCompared } = await runRedisKills({ kills, rows: size === 'full' ? 60_000 : 8_000, seed, say });
    return { kills, 'keys compared': keysCompared };
  },
};

export const redisCompareProof: Proof = {
  name: 'redis-compare',
  claim:
    'verify of Redis under 1,000 writes/s and a lagging sink: every value changed, row deleted or added is named with its columns and repaired, and nothing else is',
  expectedSeconds: 600,
  needsQuiet: true,
  run: async ({ size, seed, say }) => {
    await requireRedis();
    const isFull = size === 'full';
    return runRedisCompare({ rounds: isFull ? 12 : 1, rows: isFull ? 60_000 : 3_000, writesPerSecond: isFull ? 1_000 : 100, seed, say });
  },
};

export const REDIS_PROOFS: readonly Proof[] = [replayProof, rateProof, killProof];
