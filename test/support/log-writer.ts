/**
 * A process that appends without end, to be killed: `node log-writer.ts DIRECTORY`. Prints `ready`, then after each acknowledged append
 * the end offset. Record n is n and as much filling as `fillingOf(n)` says, so that a reader can check every byte.
 */
import { writeSync } from 'node:fs';
import type { RecordBatch } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { batchOf } from '#test/support/log-records.ts';

export const SEGMENT_BYTES: number = 256 * 1024;
const IN_FLIGHT = 6;

export function recordOf(offset: number): string {
  return `${offset} ${String.fromCharCode(97 + (offset % 26)).repeat((offset * 7919) % 3000)}`;
}

async function appendForever(directory: string): Promise<void> {
  const log = await openEmbeddedLog({ directory, segmentBytes: SEGMENT_BYTES });
  const topic = await log.topic('raw', { partitions: 1 });
  let offset = topic.end(0);
  writeSync(1, 'ready\n');
  const inFlight: Promise<void>[] = [];
  for (;;) {
    const records = Array.from({ length: 1 + (offset % 5) }, (_, index) => recordOf(offset + index));
    offset += records.length;
    const batch: RecordBatch = batchOf(...records);
    inFlight.push(topic.append(0, batch).then(({ endOffset }) => void writeSync(1, `${endOffset}\n`)));
    if (inFlight.length >= IN_FLIGHT) await inFlight.shift();
  }
}

if (import.meta.main) await appendForever(process.argv[2]!);
