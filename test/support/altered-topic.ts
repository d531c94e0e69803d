/**
 * A topic of which whoever reads it sees other records than were written. Guarantee: `alter` is asked once for each record by each reader, with
 * its offset; what it gives stands in the record's place, so offsets stay.
 */
import type { Cursor, Offset, ReadBatch, Topic } from '#connectors/change-log/change-log.ts';

/** @returns the record as it is to be seen; undefined: as it is. */
export type Alter = (record: Buffer, offset: Offset) => Buffer | undefined;

export function alteredTopic(topic: Topic, alter: Alter): Topic {
  return {
    name: topic.name,
    partitions: topic.partitions,
    append: async (partition, batch) => topic.append(partition, batch),
    partitionFor: (key) => topic.partitionFor(key),
    start: (partition) => topic.start(partition),
    end: (partition) => topic.end(partition),
    read: (partition, from) => alteredCursor(topic.read(partition, from), alter),
    commit: async (group, partition, offset) => topic.commit(group, partition, offset),
    committed: (group, partition) => topic.committed(group, partition),
    trim: async (partition, before) => topic.trim(partition, before),
    size: () => topic.size(),
  };
}

function alteredCursor(cursor: Cursor, alter: Alter): Cursor {
  return {
    next: async (signal) => altered(await cursor.next(signal), alter),
    poll: async () => altered(await cursor.poll(), alter),
    close: async () => cursor.close(),
  };
}

function altered(batch: ReadBatch | undefined, alter: Alter): ReadBatch | undefined {
  if (batch === undefined) return undefined;
  const parts: Buffer[] = [];
  let offset = batch.baseOffset;
  for (let at = 0; at < batch.bytes.length; offset++) {
    const end = at + 4 + batch.bytes.readUInt32BE(at);
    const record = batch.bytes.subarray(at + 4, end);
    const seen = alter(record, offset) ?? record;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(seen.length);
    parts.push(length, seen);
    at = end;
  }
  return { ...batch, bytes: Buffer.concat(parts) };
}
