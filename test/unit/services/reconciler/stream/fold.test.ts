import { expect, test } from 'vitest';
import { foldChanges, type KeyedChange } from '#services/reconciler/fold.ts';
import { isVisible, parseVisibility } from '#services/reconciler/visibility.ts';
import { widen } from '#connectors/probe/postgres/settle.ts';

const put = (key: string, ...next: (string | null | undefined)[]): KeyedChange => ({ key, oldKey: undefined, next });
const move = (oldKey: string, key: string, ...next: (string | null | undefined)[]): KeyedChange => ({ key, oldKey, next });
const gone = (key: string): KeyedChange => ({ key, oldKey: undefined, next: undefined });

function fold(
  base: Readonly<Record<string, readonly string[]>>,
  ...changes: readonly KeyedChange[]
): { rows: Record<string, unknown>; unknown: string[] } {
  const { rows, unknown } = foldChanges(changes, (key) => base[key]);
  return { rows: Object.fromEntries(rows), unknown: [...unknown] };
}

test('the last write of a key counts, and a delete clears it', () => {
  expect(fold({ a: ['a', '1'] }, put('a', 'a', '2'), put('a', 'a', '3'), put('b', 'b', null), gone('b'))).toEqual({
    rows: { a: ['a', '3'], b: undefined },
    unknown: [],
  });
});

test('an absent value comes from the row before it, also across a key change and a chain of them', () => {
  expect(fold({ a: ['a', 'big'] }, put('a', 'a', undefined))).toEqual({ rows: { a: ['a', 'big'] }, unknown: [] });
  expect(fold({ a: ['a', 'big'] }, move('a', 'b', 'b', undefined), move('b', 'c', 'c', undefined))).toEqual({
    rows: { a: undefined, b: undefined, c: ['c', 'big'] },
    unknown: [],
  });
  expect(
    fold({ a: ['a', 'A'], b: ['b', 'B'] }, move('a', 'x', 'x', undefined), move('b', 'a', 'a', undefined), move('x', 'b', 'b', undefined)),
  ).toEqual({
    rows: { a: ['a', 'B'], b: ['b', 'A'], x: undefined },
    unknown: [],
  });
});

test('a value that nobody tells is unknown, until a whole row overwrites it', () => {
  expect(fold({}, put('a', 'a', undefined)).unknown).toEqual(['a']);
  expect(fold({}, put('a', 'a', undefined), put('a', 'a', undefined)).unknown).toEqual(['a']);
  expect(fold({}, put('a', 'a', undefined), put('a', 'a', '1')).unknown).toEqual([]);
  expect(fold({}, put('a', 'a', undefined), gone('a')).unknown).toEqual([]);
});

test('visibility follows the snapshot, across the wrap of 32-bit transaction ids', () => {
  const snapshot = parseVisibility('100:110:100,105');
  expect([99, 100, 104, 105, 109, 110, 111].map((xid) => isVisible(snapshot, xid))).toEqual([true, false, true, false, true, false, false]);
  const wrapped = parseVisibility(`${2n ** 32n + 5n}:${2n ** 32n + 10n}:${2n ** 32n + 5n}`);
  expect([2 ** 32 - 1, 4, 5, 6, 10].map((xid) => isVisible(wrapped, xid))).toEqual([true, true, false, true, false]);
  expect(widen(3n, 2n ** 32n + 10n)).toBe(2n ** 32n + 3n);
  expect(widen(2n ** 32n - 1n, 2n ** 33n + 10n)).toBe(2n ** 33n - 1n);
  expect(parseVisibility('5:5:').running.size).toBe(0);
});
