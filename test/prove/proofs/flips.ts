/** What is claimed of cut-over and rollback. */
import type { Proof } from '../proof.ts';
import { runFlipKills } from '../flips/run-kills.ts';
import { runFlips } from '../flips/run-flips.ts';

const BLOCKED_P95_MS = 1_000;

export const flipsProof: Proof = {
  name: 'flips',
  claim:
    'twenty cut-overs and twenty rollbacks in a row under 500 writes/s: every acknowledged write in the store that serves, no failed read, writers blocked 1 s at most (p95)',
  expectedSeconds: 420,
  needsQuiet: true,
  run: async ({ size, seed, say }) => {
    const isFull = size === 'full';
    const figures = await runFlips({ pairs: isFull ? 20 : 1, rate: isFull ? 500 : 50, isFull, seed, say });
    const p95 = figures['writers blocked, p95 ms']!;
    // The small form runs beside other tests: how long is not judged there.
    if (isFull && p95 > BLOCKED_P95_MS)
      throw new Error(`writers were blocked for ${p95} ms (p95), more than ${BLOCKED_P95_MS}: ${JSON.stringify(figures)}`);
    return figures;
  },
};

export const flipKillsProof: Proof = {
  name: 'flip-kills',
  claim:
    'a flip killed at every step, both ways, and the instance with it: finished or backed out, one side takes writes, no acknowledged write lost',
  expectedSeconds: 900,
  run: async ({ size, seed, say }) => runFlipKills({ isFull: size === 'full', seed, say, ...(size === 'small' && { points: 1 }) }),
};
