import { expect, test } from 'vitest';
import { rawKey } from '#connectors/change-log/kafka/order/bookmark.ts';
import { ClaimBook } from '#connectors/change-log/kafka/order/claims.ts';
import type { ClaimEntry } from '#schemas/order/order-record.ts';

const RAW = rawKey(0, 0);
const MAPPING = 1;

function bookOf(
  entries: readonly Omit<ClaimEntry, 'topic' | 'partition' | 'mapping'>[],
  { taken = 0, anew = false }: { readonly taken?: number; readonly anew?: boolean } = {},
): ClaimBook {
  const book = new ClaimBook({
    placeOf: (_topic, partition) => partition,
    mappings: new Set([MAPPING]),
    marks: [],
    begins: new Map(anew ? [[MAPPING, [10]]] : []),
    branchOf: () => 0,
    takenOf: () => taken,
  });
  entries.forEach((entry, at) => book.add({ t: 'claim', entries: [{ topic: 0, partition: 0, mapping: MAPPING, ...entry }] }, at));
  return book;
}

test('claims are taken until the offset is covered, with the ends of all of them', () => {
  const book = bookOf([
    { offset: 5, ends: { t: [[0, 3]] } },
    { offset: 9, ends: { t: [[1, 4]] } },
    { offset: 20, ends: { t: [[0, 30]] } },
  ]);
  expect(book.reach(RAW, 7)).toBe(true);
  expect([...book.ends(RAW)]).toEqual([
    [0, 3],
    [1, 4],
  ]);
  expect([book.size, book.readFrom(3)]).toEqual([1, 2]);
  expect(book.reach(RAW, 21)).toBe(false);
});

test('a claim below another one tells nothing new', () => {
  const book = bookOf([
    { offset: 9, ends: { t: [[0, 3]] } },
    { offset: 7, ends: { t: [[0, 50]] } },
  ]);
  expect(book.reach(RAW, 9)).toBe(true);
  expect([...book.ends(RAW)]).toEqual([[0, 3]]);
});

test('of very many claims neighbours become one, which is as true', () => {
  const book = bookOf(Array.from({ length: 5_000 }, (_, i) => ({ offset: i + 1, ends: { t: [[i % 3, i] as const] } })));
  expect(book.size).toBeLessThan(1_100);
  expect(book.reach(RAW, 2_500)).toBe(true);
  for (const end of book.ends(RAW).values()) expect(end).toBeGreaterThanOrEqual(2_497);
  expect(book.reach(RAW, 5_000)).toBe(true);
  expect([...book.ends(RAW).values()].toSorted((a, b) => a - b)).toEqual([4_997, 4_998, 4_999]);
});

test('a claim counts only when it joins the ones before, or begins where nothing is wanted any more', () => {
  const gap = [
    { from: 0, offset: 5, ends: {} },
    { from: 8, offset: 20, ends: { t: [[0, 30, 20] as const] } },
  ];
  const book = bookOf(gap);
  expect([book.reach(RAW, 5), book.reach(RAW, 6), book.isApart(RAW, 20), book.isApart(RAW, 21)]).toEqual([true, false, true, false]);
  expect(bookOf(gap, { taken: 8 }).reach(RAW, 20)).toBe(true);
  const healed = bookOf([...gap, { from: 3, offset: 9, ends: { t: [[1, 40, 31] as const] } }]);
  expect(healed.reach(RAW, 20)).toBe(true);
  expect(Object.fromEntries(healed.ends(RAW))).toEqual({ 0: 30, 1: 40 });
});

test('of a mapping that nothing is known of, a claim counts only when its outputs lie in what is read', () => {
  const one = (begin: number): ClaimBook => bookOf([{ from: 0, offset: 5, ends: { t: [[0, 12, begin]] } }], { anew: true });
  expect([one(10).reach(RAW, 5), one(9).reach(RAW, 5), one(9).isApart(RAW, 5)]).toEqual([true, false, true]);
  const repeated = bookOf([{ from: 5, offset: 5, ends: {} }], { anew: true });
  expect([repeated.reach(RAW, 5), repeated.isApart(RAW, 5)]).toEqual([false, true]);
});

test('what was claimed before its turn is read again as long as it is not taken, whatever came before it since', () => {
  const book = bookOf([
    { from: 100, offset: 200, ends: { t: [[0, 9]] } },
    { from: 0, offset: 100, ends: { t: [[0, 3]] } },
  ]);
  expect(book.readFrom(2)).toBe(0);
  expect(book.reach(RAW, 100)).toBe(true);
  expect(book.readFrom(2)).toBe(0);
});
