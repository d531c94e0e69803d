/** Descriptions of relations that stand in the log before an offset. Guarantee: of each relation the last one at or below it. */
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { readAll } from '#services/runtime/records.ts';

interface RelationRecord {
  readonly t: string;
  readonly offset: Offset;
  readonly oid: number;
  readonly frame: string;
}

/** pgoutput's relation messages. */
export async function relationsBelow(progress: Topic, offset: Offset): Promise<Buffer[]> {
  const latest = new Map<number, RelationRecord>();
  await readAll(progress, progress.start(0), (frame) => {
    const record = JSON.parse(frame.toString('utf8')) as RelationRecord;
    if (record.t === 'relation' && record.offset <= offset) latest.set(record.oid, record);
  });
  return [...latest.values()].map(({ frame }) => Buffer.from(frame, 'base64'));
}
