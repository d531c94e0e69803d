/** Every proof of `npm run prove` in its small form. A failure tells its seed; CROSSFADE_SEED repeats it. */
import { test } from 'vitest';
import { PROOFS } from '#test/prove/proofs/all.ts';
import { Skipped } from '#test/prove/proof.ts';
import { seedFromEnvironment } from '#test/support/random.ts';

const TIMEOUT_MS = 180_000;

for (const proof of PROOFS) {
  test(`${proof.name} (small): ${proof.claim}`, { timeout: TIMEOUT_MS }, async ({ skip }) => {
    const seed = seedFromEnvironment();
    const said: string[] = [];
    try {
      await proof.run({ size: 'small', seed, say: (line) => said.push(line) });
    } catch (error) {
      if (error instanceof Skipped) skip(error.message);
      throw new Error([`with CROSSFADE_SEED=${seed}`, ...said, String(error)].join('\n'), { cause: error });
    }
  });
}
