import { describe, expect, test } from 'vitest';
import {
  copyFieldText,
  copyLine,
  decodeCopyRows,
  endOfCopyLine,
  escapeCopyField,
  escapedLengthMax,
  isCopyNull,
  splitCopyLine,
  unescapeCopyField,
} from '#schemas/value/copy-text.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

describe('copy text', () => {
  test('every byte but NUL comes back from escape and unescape', () => {
    const seed = seedFromEnvironment();
    const numbers = seeded(seed);
    const random = (): number => numbers.next();
    for (let round = 0; round < 2000; round++) {
      const value = Buffer.from(
        Array.from({ length: Math.floor(random() * 40) }, () => 1 + Math.floor(random() * (random() < 0.5 ? 0x60 : 255))),
      );
      const escaped = Buffer.alloc(escapedLengthMax(value.length));
      const end = escapeCopyField(value, 0, value.length, escaped, 0);
      const plain = Buffer.alloc(end);
      const length = unescapeCopyField(escaped, 0, end, plain, 0);
      expect(plain.subarray(0, length), `seed ${seed}`).toEqual(value);
      expect(
        escaped.subarray(0, end).some((byte) => byte === 9 || byte === 10),
        `seed ${seed}`,
      ).toBe(false);
    }
  });

  test('null, the empty text and the text \\N are three different fields', () => {
    const rows = Buffer.from(copyLine([null, '', '\\N', 'N']));
    expect(rows.toString()).toBe('\\N\t\t\\\\N\tN\n');
    expect(decodeCopyRows(rows, 4)).toEqual([[null, '', '\\N', 'N']]);
    expect(isCopyNull(rows, 0, 2)).toBe(true);
  });

  test('a line is split into its fields, and an unfinished one is told apart', () => {
    const rows = Buffer.from('a\tb\\tc\t\nnext');
    const bounds = new Int32Array(6);
    expect(splitCopyLine(rows, 0, bounds)).toBe(3);
    expect([0, 1, 2].map((i) => copyFieldText(rows, bounds[2 * i]!, bounds[2 * i + 1]!))).toEqual(['a', 'b\tc', '']);
    expect(endOfCopyLine(rows, 0)).toBe(8);
    expect(splitCopyLine(rows, 8, bounds)).toBe(-1);
    expect(endOfCopyLine(rows, 8)).toBe(-1);
  });

  test('text of any script passes unchanged', () => {
    const values = ['żółć', '日本語', '🙂', 'a\\.', '\\.', 'tab\there', 'line\nfeed', '\b\v\f\r', null];
    expect(decodeCopyRows(Buffer.from(copyLine(values)), values.length)).toEqual([values]);
  });
});
