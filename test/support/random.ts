/** Random numbers that a failed test can repeat. Guarantee: the same seed gives the same numbers; CROSSFADE_SEED sets it. */

export interface SeededRandom {
  readonly seed: number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** mulberry32. */
export function randomFrom(seed: number = Number(process.env['CROSSFADE_SEED'] ?? Math.floor(Math.random() * 2 ** 32))): SeededRandom {
  let state = seed >>> 0;
  return {
    seed,
    random: () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}
