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
