import { expect, test } from 'vitest';
import { murmur2, partitionOf } from '#connectors/change-log/partitioner.ts';

/** Apache Kafka's own test vectors (UtilsTest.testMurmur2). */
const VECTORS: readonly (readonly [string, number])[] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
];

test.each(VECTORS)('murmur2(%s) is what Java computes', (key, hash) => {
  expect(murmur2(Buffer.from(key))).toBe(hash);
  expect(partitionOf(Buffer.from(key), 12)).toBe((hash & 0x7fffffff) % 12);
});

test('reads keys inside a larger buffer', () => {
  expect(murmur2(Buffer.from('--foobar--').subarray(2, 8))).toBe(-790332482);
});
