/** What is claimed of cut-over and rollback. */
import type { Proof } from '../proof.ts';
import { FLIP_POINTS, SWAP_POINTS } from '../flips/flip-points.ts';
import { openFlipStage } from '../flips/flip-stage.ts';
import { runFlipKills } from '../flips/run-kills.ts';
import { runFlips } from '../flips/run-flips.ts';
import { openSwapStage } from '../flips/swap-stage.ts';

const BLOCKED_P95_MS = 1_000;
const KILLED_RATE = 50;

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
  run: async ({ size, seed, say }) => {
    await using opened = await openFlipStage({ name: 'flipkills', isFull: size === 'full', seed, rate: KILLED_RATE });
    return await runFlipKills(opened, { pool: FLIP_POINTS, seed, say, ...(size === 'small' && { points: 1 }) });
  },
};

export const swapKillsProof: Proof = {
  name: 'swap-kills',
  claim:
    'names exchanged within one database, killed at every step, both ways: all names are moved or none, no read and no write fails, no acknowledged write is lost',
  expectedSeconds: 900,
  run: async ({ size, seed, say }) => {
    await using opened = await openSwapStage('swapkills');
    // The small form is for what no other flip comes by.
    if (size === 'small') return await runFlipKills(opened, { pool: SWAP_POINTS, points: 1, isShort: true, seed, say });
    return await runFlipKills(opened, { pool: [...SWAP_POINTS, ...FLIP_POINTS], seed, say });
  },
};
