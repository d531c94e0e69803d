/** Descriptions of relations that the reader keeps in the progress topic. Guarantee: gives what the log described below an offset, the latest of each. */
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { decodeRelation, type Relation } from '#schemas/pgoutput/message.ts';

interface RelationRecord {
  readonly t: string;
  readonly offset: Offset;
  readonly oid: number;
  readonly frame: string;
}

export async function readRelations(progress: Topic, below: Offset): Promise<readonly Relation[]> {
  const latest = new Map<number, RelationRecord>();
  const cursor = progress.read(0, progress.start(0));
  try {
    for (let batch = await cursor.poll(); batch !== undefined; batch = await cursor.poll()) {
      for (let p = 0; p < batch.bytes.length; ) {
        const end = p + 4 + batch.bytes.readUInt32BE(p);
        const record = JSON.parse(batch.bytes.toString('utf8', p + 4, end)) as RelationRecord;
        p = end;
        if (record.t !== 'relation' || record.offset >= below) continue;
        const known = latest.get(record.oid);
        if (known === undefined || known.offset <= record.offset) latest.set(record.oid, record);
      }
    }
  } finally {
    await cursor.close();
  }
  return [...latest.values()].map((record) => decodeRelation(Buffer.from(record.frame, 'base64')));
}
