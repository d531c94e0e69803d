/** Scatter, transformers and gather as they are in the product, over one Kafka in memory, seed by seed. */
import { expect, test } from 'vitest';
import { KafkaPipeline } from '#test/support/kafka-pipeline.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const SEEDS = 40;

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
