import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { wholeHash } from '#schemas/plan/whole-hash.ts';

const NEW = { name: 'new', hash: 'a'.repeat(64) };
const CACHE = { name: 'cache', hash: 'b'.repeat(64) };

test('the whole hash is of the targets by name, in whatever order they stand', () => {
  expect(wholeHash([NEW, CACHE])).toBe(createHash('sha256').update(`cache:${CACHE.hash}\nnew:${NEW.hash}`).digest('hex'));
  expect(wholeHash([CACHE, NEW])).toBe(wholeHash([NEW, CACHE]));
});

test('the whole hash differs when one plan does, and when two targets change places', () => {
  const whole = wholeHash([NEW, CACHE]);
  expect(wholeHash([NEW, { ...CACHE, hash: 'c'.repeat(64) }])).not.toBe(whole);
  expect(
    wholeHash([
      { ...NEW, hash: CACHE.hash },
      { ...CACHE, hash: NEW.hash },
    ]),
  ).not.toBe(whole);
  expect(wholeHash([NEW])).not.toBe(whole);
});
