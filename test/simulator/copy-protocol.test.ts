/** The copier's real windows, guard, plan and records through thousands of seeded worlds; each guard off must be noticed. */
import { afterEach, describe, expect, test } from 'vitest';
import { type Guard, installTestHooks } from '#schemas/test-hooks.ts';
import { CopySimulation } from '#test/support/copy-simulator.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const SEEDS = 400;
const STEPS = 160;

afterEach(() => installTestHooks({}));

async function firstFailure(keyless: boolean, seeds: number): Promise<string | undefined> {
  const first = seedFromEnvironment();
  for (let seed = first; seed < first + seeds; seed++) {
    const wrong = await new CopySimulation(seeded(seed), { keyless }).run(STEPS);
    if (wrong !== undefined) return `seed ${seed}: ${wrong}`;
  }
  return undefined;
}

test('a table with a key is the source at every commit from copy complete on', async () => {
  expect(await firstFailure(false, SEEDS)).toBeUndefined();
});

test('a table without a key is the source at every commit from copy complete on', async () => {
  expect(await firstFailure(true, SEEDS)).toBeUndefined();
});

describe('without a guard it is not', () => {
  test.each<Guard>(['visibility', 'visibility-memory', 'merge', 'window', 'truncate-window', 'key-recopy'])('%s', async (guard) => {
    installTestHooks({ disabledGuards: [guard] });
    expect(await firstFailure(false, SEEDS * 20)).toBeDefined();
  });
});
