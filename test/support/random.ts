/** Seeded randomness for tests. Guarantee: the same seed gives the same numbers; CROSSFADE_SEED in the environment fixes it. */
import { seededRandom, type SampleRandom } from '#schemas/mapping/inverse/sample-value.ts';

export interface Random extends SampleRandom {
  chance(probability: number): boolean;
}

export function seedFromEnvironment(): number {
  const given = process.env['CROSSFADE_SEED'];
  return given === undefined ? Math.floor(Math.random() * 0x7fffffff) : Number(given);
}

export function seeded(seed: number): Random {
  const random = seededRandom(seed);
  return { ...random, chance: (probability) => random.next() < probability };
}

/** Whole numbers below a bound, cheaply, for tests that draw millions of them. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
