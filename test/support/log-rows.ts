/** Insert frames of a raw log, as texts. */
import type { Topic } from '#connectors/change-log/change-log.ts';
import { decodeTuple, TAG } from '#schemas/pgoutput/message.ts';
import { readAll } from '#services/runtime/records.ts';

export async function rowsOf(raw: Topic): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  await readAll(raw, raw.start(0), (frame) => {
    if (frame[0] === TAG.insert) frames.push(Buffer.from(frame));
  });
  return frames;
}

export function decodeInsertText(frame: Buffer): readonly (string | null | undefined)[] {
  return decodeTuple(frame, 6);
}
