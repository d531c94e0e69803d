/**
 * A segment: one file of batches with consecutive offsets, named by its first. Guarantee: `bytes` and `end` cover durable batches
 * only, and `SegmentReader` hands out bytes of the file as they are, so that whoever reads must check the crc.
 */
import * as path from 'node:path';
import type { Offset } from '#connectors/change-log/change-log.ts';
import { PipelineError } from '#schemas/errors.ts';
import { checksum, decodeHeader, HEADER_BYTES, type BatchHeader } from './batch.ts';
import type { LogFile } from './file-system.ts';

/** Distance of index entries: a search reads at most this much in vain, and 64 MiB of small batches cost 256 entries. */
const INDEX_EVERY_BYTES = 256 * 1024;
const SUFFIX = '.log';
const NAME_DIGITS = 16;

export function segmentFile(directory: string, base: Offset): string {
  return path.join(directory, `${String(base).padStart(NAME_DIGITS, '0')}${SUFFIX}`);
}

/** First offset of the segment with this file name; undefined for other files. */
export function baseOfFile(name: string): Offset | undefined {
  return /^\d{16}\.log$/.test(name) ? Number(name.slice(0, -SUFFIX.length)) : undefined;
}

export class Segment {
  readonly file: string;
  readonly base: Offset;
  #bytes = 0;
  #end: Offset;
  readonly #offsets: Offset[] = [];
  readonly #positions: number[] = [];

  constructor(directory: string, base: Offset) {
    this.file = segmentFile(directory, base);
    this.base = base;
    this.#end = base;
  }

  /** Length of the durable part. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Offset after its last durable record. */
  get end(): Offset {
    return this.#end;
  }

  /** The next batch is durable: `count` records in `size` bytes, header included. */
  extend(count: number, size: number): void {
    const last = this.#positions.at(-1);
    if (last === undefined || this.#bytes - last >= INDEX_EVERY_BYTES) {
      this.#offsets.push(this.#end);
      this.#positions.push(this.#bytes);
    }
    this.#bytes += size;
    this.#end += count;
  }

  /** Position of a batch at or below the one that holds `offset`. */
  positionBelow(offset: Offset): number {
    return this.#positions[lastAtOrBelow(this.#offsets, offset)] ?? 0;
  }
}

/** Index of the last value that is not above `wanted`; -1 when there is none. `values` ascend. */
export function lastAtOrBelow(values: readonly number[], wanted: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Reads a file forward through one window; what it returns is a view of that window, never written again afterwards. */
export class SegmentReader {
  readonly #file: LogFile;
  readonly #windowBytes: number;
  #window: Buffer = Buffer.alloc(0);
  #windowAt = 0;

  constructor(file: LogFile, windowBytes: number) {
    this.#file = file;
    this.#windowBytes = windowBytes;
  }

  /** Up to `length` bytes from `position`, fewer only where the file or `limit` ends. */
  async bytes(position: number, length: number, limit: number): Promise<Buffer> {
    const wanted = Math.max(0, Math.min(length, limit - position));
    const from = position - this.#windowAt;
    if (from >= 0 && from + wanted <= this.#window.length) return this.#window.subarray(from, from + wanted);
    const size = Math.min(limit - position, Math.max(wanted, this.#windowBytes));
    const next = Buffer.allocUnsafeSlow(size);
    const kept = from >= 0 && from < this.#window.length ? this.#window.copy(next, 0, from) : 0;
    const read = await this.#file.read(next.subarray(kept), position + kept);
    this.#window = next.subarray(0, kept + read);
    this.#windowAt = position;
    return this.#window.subarray(0, wanted);
  }
}

export interface ReadOptions {
  readonly seed: number;
  /** End of the part of the file that may be read. */
  readonly limit: number;
}

/** Header at `position`, if the bytes there can be one that ends below the limit. Its crc is not checked. */
export async function headerAt(reader: SegmentReader, position: number, limit: number): Promise<BatchHeader | undefined> {
  const header = decodeHeader(await reader.bytes(position, HEADER_BYTES, limit));
  return header !== undefined && position + HEADER_BYTES + header.length <= limit ? header : undefined;
}

/** Payload of the batch at `position`, if its crc is right. */
export async function payloadAt(
  reader: SegmentReader,
  position: number,
  header: BatchHeader,
  options: ReadOptions,
): Promise<Buffer | undefined> {
  const size = HEADER_BYTES + header.length;
  const whole = await reader.bytes(position, size, options.limit);
  if (whole.length < size) return undefined;
  const payload = whole.subarray(HEADER_BYTES);
  return checksum(whole.subarray(0, HEADER_BYTES), payload, options.seed) === header.crc ? payload : undefined;
}

export function damaged(file: string, position: number, why: string, cause?: unknown): PipelineError {
  return new PipelineError('CF-3002', `The change log is damaged: ${file} at byte ${position}: ${why}.`, {
    path: file,
    details: { position },
    ...(cause !== undefined && { cause }),
  });
}
