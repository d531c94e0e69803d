/** The proofs of `npm run prove` in their small form. A failure tells its seed; CROSSFADE_SEED repeats it. */
import { test } from 'vitest';
import { PROOFS } from '#test/prove/proofs/all.ts';
import { Skipped } from '#test/prove/proof.ts';
import { SMALL_FORMS } from '#test/prove/small-forms.ts';
import { seedFromEnvironment } from '#test/support/random.ts';

const TIMEOUT_MS = 400_000;

/** One test for each proof of the group. */
export function testSmallForms(group: string): void {
  for (const name of SMALL_FORMS[group]!) {
    const proof = PROOFS.find((one) => one.name === name)!;
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
}
