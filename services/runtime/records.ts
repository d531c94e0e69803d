/** Records inside read batches. Guarantee: `frame` is a view over the batch, valid as long as the batch is kept. */
import type { Offset, ReadBatch, Topic } from '#connectors/change-log/change-log.ts';

/** Calls `visit` for each record at or above `from`. */
export function forEachRecord(batch: ReadBatch, from: Offset, visit: (frame: Buffer, offset: Offset) => void): void {
  const { bytes } = batch;
  let at = 0;
  let offset = batch.baseOffset;
  while (at < bytes.length) {
    const length = bytes.readUInt32BE(at);
    if (offset >= from) visit(bytes.subarray(at + 4, at + 4 + length), offset);
    at += 4 + length;
    offset++;
  }
}

/** Everything durable in a partition from `from` on, at this moment. */
export async function readAll(topic: Topic, from: Offset, visit: (frame: Buffer, offset: Offset) => void): Promise<void> {
  const cursor = topic.read(0, from);
  try {
    for (let batch = await cursor.poll(); batch; batch = await cursor.poll()) forEachRecord(batch, from, visit);
  } finally {
    await cursor.close();
  }
}
