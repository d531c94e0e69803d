/** Seeded randomness for tests. Guarantee: the same seed gives the same numbers; CROSSFADE_SEED in the environment fixes it. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** Integer in [from, to]. */
  between(from: number, to: number): number;
  chance(probability: number): boolean;
}

export function seedFromEnvironment(): number {
  const given = process.env['CROSSFADE_SEED'];
  return given === undefined ? Math.floor(Math.random() * 0x7fffffff) : Number(given);
}

/** mulberry32. */
export function seeded(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    between: (from, to) => from + Math.floor(next() * (to - from + 1)),
    chance: (probability) => next() < probability,
  };
}
