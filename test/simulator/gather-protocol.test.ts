/** Readers, transformers and a sink over Kafka, seed by seed: what the sink sees is what the reader appended. */
import { afterEach, expect, test } from 'vitest';
import { installTestHooks, type Guard } from '#schemas/test-hooks.ts';
import { GatherSimulation } from '#test/support/gather-simulation.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const SEEDS = 1_000;

afterEach(() => installTestHooks({}));

/** The first seed that shows something wrong. */
async function firstWrong(seeds: number): Promise<string | undefined> {
  const first = seedFromEnvironment();
  for (let seed = first; seed < first + seeds; seed++) {
    const wrong = await new GatherSimulation(seeded(seed)).run();
    if (wrong !== undefined) return `seed ${seed}: ${wrong}`;
  }
  return undefined;
}

test(
  'the sink sees every frame of every valid segment once and in order, whoever was replaced and wherever it begins',
  { timeout: 240_000 },
  async () => {
    expect(await firstWrong(SEEDS)).toBeUndefined();
  },
);

test.for<Guard>(['row-epoch', 'order-range', 'claim-ends', 'table-tag'])(
  'without the rule %s it sees something else',
  { timeout: 120_000 },
  async (guard) => {
    installTestHooks({ disabledGuards: [guard] });
    expect(await firstWrong(SEEDS)).toMatch(/^seed/);
  },
);
