import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { SegmentQueue } from '#connectors/change-log/kafka/order/segment-queue.ts';
import { encodeSegment } from '#schemas/order/order-record.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** In memory of its own. */
function segmentAt(base: number): Buffer {
  const skeleton = [0, 1].map((i) => ({ v: base + i, frame: Buffer.alloc(1000) }));
  const parts = encodeSegment({ epoch: 1, base, count: 2, ranges: [], skeleton });
  const bytes = Buffer.allocUnsafeSlow(parts.reduce((sum, part) => sum + part.length, 0));
  Buffer.concat(parts).copy(bytes);
  return bytes;
}

test('a segment that was taken is not kept, however many wait behind it', async () => {
  const queue = new SegmentQueue({ base: undefined, epoch: 1, topics: [], raw: [] });
  const added: WeakRef<ArrayBufferLike>[] = [];
  for (let i = 0; i < 100; i++) {
    const bytes = segmentAt(2 * i);
    queue.add(bytes, i);
    added.push(new WeakRef(bytes.buffer));
  }
  for (let i = 0; i < 99; i++) queue.shift();
  // A weak reference made in this turn holds until its end.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  expect(added.filter((ref) => ref.deref() !== undefined)).toHaveLength(1);
  expect([queue.length, queue.head?.segment.base]).toEqual([1, 198]);
});
