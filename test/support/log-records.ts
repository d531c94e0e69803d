/** Records for change log tests. Guarantee: `recordsOf` returns what `batchOf` was given. */
import type { ChangeLog, Cursor, Offset, ReadBatch, RecordBatch, Topic } from '#connectors/change-log/change-log.ts';

export function batchOf(...payloads: readonly (string | Buffer)[]): RecordBatch {
  const parts = payloads.flatMap((payload) => {
    const body = Buffer.from(payload);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    return [length, body];
  });
  return { count: payloads.length, parts };
}

export function recordsOf(batch: ReadBatch): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < batch.bytes.length;) {
    const end = at + 4 + batch.bytes.readUInt32BE(at);
    records.push(batch.bytes.subarray(at + 4, end));
    at = end;
  }
  return records;
}

/** Everything that is durable from `from` on, as text, without waiting. */
export async function readAll(topic: Topic, partition = 0, from: Offset = topic.start(partition)): Promise<string[]> {
  const cursor = topic.read(partition, from);
  try {
    return await drain(cursor, from);
  } finally {
    await cursor.close();
  }
}

async function drain(cursor: Cursor, from: Offset): Promise<string[]> {
  const all: string[] = [];
  let at = from;
  for (;;) {
    const batch = await cursor.poll();
    if (batch === undefined) return all;
    const records = recordsOf(batch);
    if (records.length !== batch.count)
      throw new Error(`batch at ${batch.baseOffset} says ${batch.count} records and holds ${records.length}`);
    if (batch.baseOffset > at || batch.baseOffset + batch.count <= at) throw new Error(`wanted offset ${at}, got ${batch.baseOffset}`);
    all.push(...records.slice(at - batch.baseOffset).map((record) => record.toString()));
    at = batch.baseOffset + batch.count;
  }
}

/** A log that an adapter's suite can close and open again. */
export interface LogUnderTest extends AsyncDisposable {
  readonly log: ChangeLog;
  reopen(): Promise<ChangeLog>;
}
