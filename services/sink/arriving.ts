/** What of the log reaches the sink. Guarantee: all of it as it stands there, but for what a test has go astray, whose places in the log stay. */
import type { ReadBatch } from '#connectors/change-log/change-log.ts';
import { TAG } from '#schemas/pgoutput/message.ts';
import { goesAstray } from '#schemas/test-hooks.ts';

export function arriving(batch: ReadBatch): ReadBatch {
  const astray = goesAstray();
  if (astray === undefined) return batch;
  const bytes = Buffer.from(batch.bytes);
  for (let p = 0; p < bytes.length;) {
    const from = p + 4;
    const to = from + bytes.readUInt32BE(p);
    const arrived = astray('sink', bytes.subarray(from, to));
    // Nobody reads a record of this kind.
    if (arrived === undefined) bytes[from] = TAG.type;
    else arrived.copy(bytes, from);
    p = to;
  }
  return { ...batch, bytes };
}
