/** Batches of every size out of their compression, in one piece where the frame tells its size. */
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { createZstdCompress, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { inflate, zstdContentBytes } from '#connectors/change-log/kafka/inflate.ts';
import { CODEC } from '#connectors/change-log/kafka/record-batch.ts';

const where = { place: { topic: 'orders', partition: 0 }, offset: 7 };
const SIZES = [0, 1, 63, 64, 65, 255, 256, 257, 16_383, 16_384, 16_385, 65_791, 65_792, 300_000, 5_000_000];

test.for(SIZES)('%i bytes come back, compressible or not', (size) => {
  for (const content of [randomBytes(size), Buffer.alloc(size, 'row ')]) {
    const frame = zstdCompressSync(content);
    if (frame.length >= 18) expect(zstdContentBytes(frame)).toBe(size);
    expect(inflate(frame, CODEC.zstd, where).equals(content)).toBe(true);
  }
});

test('a frame that was streamed and does not tell its size comes back too', async () => {
  const content = randomBytes(200_000);
  const stream = createZstdCompress();
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.write(content.subarray(0, 1_000));
  stream.end(content.subarray(1_000));
  await once(stream, 'end');
  const frame = Buffer.concat(parts);
  expect(zstdContentBytes(frame)).toBeUndefined();
  expect(inflate(frame, CODEC.zstd, where).equals(content)).toBe(true);
});

test('a frame that lies about its size is refused, and nothing that large is taken for it', () => {
  const frame = zstdCompressSync(randomBytes(100_000));
  for (const told of [1, 99_999, 100_001, 0xffff_ffff]) {
    const lie = Buffer.from(frame);
    lie.writeUInt32LE(told, (frame[4]! & 0x20) === 0 ? 6 : 5);
    expect(zstdContentBytes(lie)).toBe(told);
    expect(() => inflate(lie, CODEC.zstd, where)).toThrow(/offset 7 cannot be inflated/);
  }
});

test('what is no zstd frame, or is cut off, is refused with its place', () => {
  for (const bytes of [Buffer.alloc(40), Buffer.alloc(3), zstdCompressSync(randomBytes(5_000)).subarray(0, 2_000)])
    expect(() => inflate(bytes, CODEC.zstd, where)).toThrow(expect.objectContaining({ code: 'CF-3002' }));
});
