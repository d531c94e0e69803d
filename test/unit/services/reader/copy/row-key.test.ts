import { expect, test } from 'vitest';
import { decodeRelation, locateTuples, type TupleOffsets } from '#schemas/pgoutput/message.ts';
import { copyLine } from '#schemas/value/copy-text.ts';
import { forEachKey, fromRowKey, hasAbsent, keyOfTuple, keyPositions, presentValues, toRowKey } from '#services/reader/copy/row-key.ts';
import * as frames from '#test/support/frames.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const RELATION = decodeRelation(
  frames.relation({ oid: 1, name: 't', columns: [{ name: 'v' }, { name: 'a', key: true }, { name: 'b', key: true }] }),
);
const POSITIONS = keyPositions(RELATION, ['a', 'b'])!;
const CHARACTERS = ['a', 'é', '\t', '\n', '\\', '\\N', '\r', '\b', '\v', '\f', '€', '🐘', '.', '', 'x'];

function tuples(m: Buffer): TupleOffsets {
  const offsets: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  locateTuples(m, offsets);
  return offsets;
}

test('stream and COPY give the same key for the same row', () => {
  const random = seeded(seedFromEnvironment());
  const text = (): string =>
    Array.from({ length: random.between(1, 6) }, () => CHARACTERS[random.between(0, CHARACTERS.length - 1)]!).join('');
  for (let i = 0; i < 500; i++) {
    const [v, a, b] = [text(), text(), text()];
    const m = frames.insert(1, [v, a, b]);
    const key = keyOfTuple(m, tuples(m).next, POSITIONS);
    const seen: string[] = [];
    forEachKey(Buffer.from(copyLine([v, a, b])), ['v', 'a', 'b'], ['a', 'b'], (one) => seen.push(one));
    expect(seen).toEqual([key]);
    expect(fromRowKey(key!)).toEqual([a, b]);
    expect(toRowKey([a, b])).toBe(key);
  }
});

test('a key with an absent or null column is none', () => {
  const m = frames.update(1, ['v', undefined, 'b']);
  expect(keyOfTuple(m, tuples(m).next, POSITIONS)).toBeUndefined();
  expect(hasAbsent(m, tuples(m).next)).toBe(true);
  const n = frames.insert(1, ['v', null, 'b']);
  expect(keyOfTuple(n, tuples(n).next, POSITIONS)).toBeUndefined();
  expect(hasAbsent(n, tuples(n).next)).toBe(false);
});

test('values that are present are told from null and absent', () => {
  const m = frames.update(1, [null, 'k', undefined]);
  expect([...presentValues(m, tuples(m).next, RELATION)]).toEqual([
    ['v', null],
    ['a', 'k'],
  ]);
});

test('a relation without the key has no positions', () => {
  expect(keyPositions(RELATION, ['a', 'gone'])).toBeUndefined();
});
