/** Whether a sequence has values left, within its own range and its columns'. */
import { expect, test } from 'vitest';
import { judgeSequences, type SequenceRoom } from '#schemas/sequence-room.ts';

const BIG = (1n << 63n) - 1n;

function one(changes: Partial<SequenceRoom>): SequenceRoom {
  return {
    name: 's',
    increment: 1n,
    min: 1n,
    max: BIG,
    cycles: false,
    types: ['bigint'],
    next: { kind: 'next', was: 1n, next: 2n },
    ...changes,
  };
}

const at = (next: bigint): SequenceRoom['next'] => ({ kind: 'next', was: next, next });

test.each<readonly [string, SequenceRoom, readonly string[], readonly string[]]>([
  ['one with room says nothing', one({}), [], []],
  ['one that has ended', one({ max: 9n, next: { kind: 'exhausted', beyond: 10n } }), ['s would go on at 10, and its range ends at 9'], []],
  [
    'one beyond what its column holds',
    one({ types: ['integer'], next: at(2_147_483_648n) }),
    ['s would go on at 2147483648, and its range ends at 2147483647'],
    [],
  ],
  [
    'the narrowest of its columns counts',
    one({ types: ['bigint', 'smallint'], next: at(40_000n) }),
    ['s would go on at 40000, and its range ends at 32767'],
    [],
  ],
  ['one that is nearly used up', one({ types: ['smallint'], next: at(32_000n) }), [], ['s has 767 values left of 32766']],
  ['one that begins again', one({ cycles: true }), [], ['s begins again at its end (CYCLE), with values that rows may have']],
  [
    'one that counts down',
    one({ increment: -1n, min: -100n, max: -1n, next: at(-101n) }),
    ['s would go on at -101, and its range ends at -100'],
    [],
  ],
  ['and has few left', one({ increment: -1n, min: -100n, max: -1n, next: at(-95n) }), [], ['s has 5 values left of 99']],
  ['a column of another type sets no limit', one({ types: ['text'], next: at(BIG / 2n) }), [], []],
])('%s', (_what, sequence, used, noted) => {
  expect(judgeSequences([sequence])).toEqual({ used, noted });
});
