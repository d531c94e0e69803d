/**
 * Opening a segment. Guarantee: what recovery keeps is exactly a prefix of what was appended and holds every acknowledged batch, or
 * it fails with CF-3002 naming file and byte; what it keeps is durable before anybody reads it.
 *
 * Torn tail or damage? One sync group is in flight at a time, and each header names the offset up to which the log was durable when
 * it was written. So a bad batch was acknowledged exactly if a later, good one names an offset above it. Batches behind a bad one
 * that do not are of the same unacknowledged group: a power loss may keep any of a group's sectors and lose others. Damage inside
 * the very last group cannot be told from a torn write; `lastKnownEnd` (clean close, consumer positions) covers what it can.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import { HEADER_BYTES, MAGIC, type BatchHeader } from './batch.ts';
import type { LogFile } from './file-system.ts';
import { damaged, headerAt, payloadAt, SegmentReader, type Segment } from './segment.ts';

/** Sealed segments are read by their headers only: a window this small skips most of a large payload. */
const HEADER_WINDOW_BYTES = 64 * 1024;
const VERIFY_WINDOW_BYTES = 4 * 1024 * 1024;

export interface RecoveredTail {
  /** Bytes removed behind the last good batch. */
  readonly cutBytes: number;
}

/**
 * Fills `segment` from a file that a later one follows: batches must reach `next` exactly. What lies behind them is left from a group
 * whose sync failed and that was written again as the next segment's first; nobody reads it.
 */
export async function recoverSealed(segment: Segment, file: LogFile, next: Offset): Promise<void> {
  const size = await readSize(segment, file);
  const reader = new SegmentReader(file, HEADER_WINDOW_BYTES);
  while (segment.end < next) {
    const header = await headerAt(reader, segment.bytes, size);
    if (header === undefined || header.baseOffset !== segment.end || segment.end + header.count > next) {
      throw damaged(segment.file, segment.bytes, `a batch at offset ${segment.end} is missing, the next segment begins at ${next}`);
    }
    segment.extend(header.count, HEADER_BYTES + header.length);
  }
}

export interface TailOptions {
  readonly seed: number;
  /** Everything below it is known to have been durable. */
  readonly knownEnd: Offset;
  /** Bytes from here on are cut unread. */
  readonly limit?: number;
}

/** Fills `segment` from the last file: verifies every batch, cuts a torn tail, makes the rest durable. */
export async function recoverTail(segment: Segment, file: LogFile, { seed, knownEnd, limit }: TailOptions): Promise<RecoveredTail> {
  const size = Math.min(await readSize(segment, file), limit ?? Number.MAX_SAFE_INTEGER);
  const reader = new SegmentReader(file, VERIFY_WINDOW_BYTES);
  let group = { offset: segment.base, position: 0 };
  while (segment.bytes < size) {
    const position = segment.bytes;
    const header = await goodBatchAt(reader, position, size, seed);
    if (header === undefined || header.baseOffset !== segment.end) {
      await refuseDamage(segment, file, seed, size);
      break;
    }
    if (header.syncedOffset !== group.offset) group = { offset: header.syncedOffset, position };
    segment.extend(header.count, HEADER_BYTES + header.length);
  }
  if (segment.end < knownEnd)
    throw damaged(segment.file, segment.bytes, `it ends at offset ${segment.end}, but was durable up to ${knownEnd}`);
  await makeDurable(segment, file, group.position);
  return { cutBytes: size - segment.bytes };
}

/**
 * The last group may be in the page cache only: its process died before the sync, or its sync failed and left the pages marked clean,
 * in which case another sync would succeed and store nothing. Writing the same bytes again makes them dirty, so this sync counts.
 */
async function makeDurable(segment: Segment, file: LogFile, from: number): Promise<void> {
  const group = Buffer.allocUnsafeSlow(segment.bytes - from);
  const count = await file.read(group, from);
  if (count < group.length) throw damaged(segment.file, from + count, 'the file became shorter while it was read');
  await file.truncate(segment.bytes);
  if (group.length > 0) await file.write([group], from);
  await file.datasync();
}

/** @throws PipelineError CF-3002 when a batch behind the bad one proves that it had been durable. */
async function refuseDamage(segment: Segment, file: LogFile, seed: number, size: number): Promise<void> {
  const reader = new SegmentReader(file, VERIFY_WINDOW_BYTES);
  let position = segment.bytes;
  while (position < size) {
    position = await nextMagic(reader, position, size);
    const header = await goodBatchAt(reader, position, size, seed);
    if (header !== undefined && header.syncedOffset > segment.end) {
      throw damaged(
        segment.file,
        segment.bytes,
        `no good batch at offset ${segment.end}, but offset ${header.baseOffset} at byte ${position} was written after it was durable`,
      );
    }
    position += header === undefined ? 1 : HEADER_BYTES + header.length;
  }
}

async function nextMagic(reader: SegmentReader, from: number, size: number): Promise<number> {
  const step = VERIFY_WINDOW_BYTES / 2;
  for (let at = from; at < size; at += step) {
    // Windows overlap by the magic's length, so that one across their border is found.
    const found = (await reader.bytes(at, step + MAGIC.length - 1, size)).indexOf(MAGIC);
    if (found >= 0) return at + found;
  }
  return size;
}

async function goodBatchAt(reader: SegmentReader, position: number, size: number, seed: number): Promise<BatchHeader | undefined> {
  const header = await headerAt(reader, position, size);
  if (header === undefined) return undefined;
  return (await payloadAt(reader, position, header, { seed, limit: size })) === undefined ? undefined : header;
}

async function readSize(segment: Segment, file: LogFile): Promise<number> {
  try {
    return await file.size();
  } catch (error) {
    throw damaged(segment.file, 0, 'its length cannot be read', error);
  }
}
