import { describe, expect, test } from 'vitest';
import { nextOf, type SequenceFacts } from '#schemas/sequence-start.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const PLAIN: SequenceFacts = {
  increment: 1n,
  min: 1n,
  max: 1_000n,
  cycles: false,
  lastValue: 1n,
  isCalled: false,
  keys: [],
  handedOut: [],
};

const CASES: readonly (readonly [string, Partial<SequenceFacts>, bigint])[] = [
  ['a new one stays', {}, 1n],
  ['a used one stays', { lastValue: 7n, isCalled: true }, 8n],
  ['beyond the highest key', { keys: [41n, 12n] }, 42n],
  ['beyond what was handed out, and its margin', { handedOut: [{ last: 10n, margin: 5n }] }, 16n],
  ['the highest key counts without a margin', { keys: [12n], handedOut: [{ last: 10n, margin: 0n }] }, 13n],
  ['never back', { lastValue: 500n, isCalled: true, keys: [41n], handedOut: [{ last: 3n, margin: 1n }] }, 501n],
  ['on its own step', { increment: 10n, lastValue: 3n, keys: [3n] }, 13n],
  ['on its own step, beyond', { increment: 10n, lastValue: 3n, keys: [24n] }, 33n],
  ['downwards', { increment: -2n, min: -1_000n, max: -1n, lastValue: -1n, keys: [-7n], handedOut: [{ last: -9n, margin: -4n }] }, -15n],
  ['a margin gives way to the range', { handedOut: [{ last: 990n, margin: 32n }] }, 991n],
  ['one that cycles stays where its range ends', { cycles: true, lastValue: 5n, keys: [1_000n] }, 5n],
];

describe('where a sequence goes on', () => {
  test.for(CASES)('%s', ([, facts, next]) => {
    expect(nextOf({ ...PLAIN, ...facts })).toMatchObject({ kind: 'next', next });
  });

  test('a range without room is said, not gone around', () => {
    expect(nextOf({ ...PLAIN, keys: [1_000n] })).toEqual({ kind: 'exhausted', beyond: 1_001n });
  });

  const seed = seedFromEnvironment();
  test(`no value that is given is met, whatever the facts (seed ${seed})`, () => {
    const random = seeded(seed);
    const pick = (least: number, most: number): bigint => BigInt(least + Math.floor(random.next() * (most - least + 1)));
    for (let i = 0; i < 5_000; i++) {
      const sign = random.chance(0.5) ? 1n : -1n;
      const increment = pick(1, 9) * sign;
      const facts: SequenceFacts = {
        increment,
        min: -400n,
        max: 400n,
        cycles: false,
        lastValue: pick(-300, 300),
        isCalled: random.chance(0.5),
        keys: Array.from({ length: Number(pick(0, 3)) }, () => pick(-300, 300)),
        handedOut: Array.from({ length: Number(pick(0, 2)) }, () => ({ last: pick(-300, 300), margin: pick(0, 200) * sign })),
      };
      const found = nextOf(facts);
      const taken = [...facts.keys, ...facts.handedOut.map(({ last }) => last)];
      if (found.kind === 'exhausted') throw new Error(`no room found within ${JSON.stringify(found, (_, v) => String(v))}`);
      const { was, next } = found;
      expect((next - was) * sign >= 0n && (next - was) % increment === 0n && next >= facts.min && next <= facts.max).toBe(true);
      expect(taken.every((value) => (next - value) * sign > 0n)).toBe(true);
      // Nor further than it must be: the step before is taken, or where it stood.
      const kept = [...taken, ...facts.handedOut.map(({ last, margin }) => last + margin)];
      expect(next === was || kept.some((value) => (value - (next - increment)) * sign >= 0n)).toBe(true);
    }
  });
});
