/** Scatter, transformers and gather as they are in the product, over one Kafka in memory, seed by seed. */
import { expect, test } from 'vitest';
import { KafkaPipeline } from '#test/support/kafka-pipeline.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const SEEDS = 40;
const CUT_SEEDS = 60;

test(
  'what the reader appended comes to the sink mapped, once and in order, whatever crashes on the way',
  { timeout: 120_000 },
  async () => {
    const first = seedFromEnvironment();
    for (let seed = first; seed < first + SEEDS; seed++) {
      const wrong = await new KafkaPipeline(seeded(seed)).run();
      expect({ seed, wrong }).toEqual({ seed, wrong: undefined });
    }
  },
);

interface Cuts {
  readonly wrong: string | undefined;
  /** Histories in which the order, and any other topic, were cut. */
  readonly order: number;
  readonly others: number;
}

/** To the first seed that shows something wrong. */
async function cutHistories(seeds: number): Promise<Cuts> {
  const first = seedFromEnvironment();
  let [order, others] = [0, 0];
  for (let seed = first; seed < first + seeds; seed++) {
    const pipeline = new KafkaPipeline(seeded(seed), { cuts: true });
    const wrong = await pipeline.run();
    order += Number(pipeline.starts.order > 0);
    others += Number(pipeline.starts.others > 0);
    if (wrong !== undefined) return { wrong: `seed ${seed}: ${wrong}`, order, others };
  }
  return { wrong: undefined, order, others };
}

test('so it does while topics are cut, the file changes, and the target is restored to an older state', { timeout: 240_000 }, async () => {
  const { wrong, order, others } = await cutHistories(CUT_SEEDS);
  expect(wrong).toBeUndefined();
  expect(order).toBeGreaterThan(CUT_SEEDS / 5);
  expect(others).toBeGreaterThan(CUT_SEEDS / 5);
});
