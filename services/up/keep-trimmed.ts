/** Removes from the raw log what every target has applied. Guarantee: no more than retention.ts names. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Running } from './assemble.ts';
import { Retention } from './retention.ts';

const TRIM_EVERY_MS = 10_000;

export async function keepTrimmed(
  { raw, targets }: Pick<Running, 'raw' | 'targets'>,
  retainBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const retention = new Retention(retainBytes);
  let trimmedBytes = 0;
  while (!signal.aborted) {
    await delay(TRIM_EVERY_MS, undefined, { signal }).catch(() => undefined);
    const size = raw.size();
    retention.note(raw.end(0), trimmedBytes + size);
    const needed = targets.neededOffset();
    const before = needed === undefined ? undefined : retention.before(needed);
    if (before === undefined) continue;
    await raw.trim(0, before);
    trimmedBytes += size - raw.size();
  }
}
