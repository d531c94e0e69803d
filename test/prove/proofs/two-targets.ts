/** What is claimed of several targets of one migration. */
import { redisProvider } from '#test/support/redis/provider.ts';
import { type Proof, Skipped } from '../proof.ts';
import { runTwoTargets } from '../two-targets/run.ts';

export const twoTargetsProof: Proof = {
  name: 'two-targets',
  claim:
    'PostgreSQL and Redis from one slot, under load and SIGKILLs: one that is away does not stop the other, one that is added later is filled, each ends equal',
  expectedSeconds: 300,
  run: async ({ size, seed, say }) => {
    if ((await redisProvider()) === undefined) throw new Skipped('needs Redis: a Docker engine, redis-server, or Maven and unzip');
    const kills = size === 'full' ? 40 : 2;
    return { kills, ...(await runTwoTargets({ kills, rows: size === 'full' ? 60_000 : 1_500, seed, say })) };
  },
};
