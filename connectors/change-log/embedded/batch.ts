/**
 * One batch on disk: a 32-byte header, then the payload. Guarantee: bytes that were not written by `encodeHeader` for this very
 * partition do not pass `checksum`.
 *
 *   0 magic and version | 4 crc32 | 8 payload length | 12 count | 16 base offset (u64) | 24 synced offset (u64)
 *
 * The crc covers bytes 8…31 and the payload, seeded with the identity of topic and partition, so that bytes of another log (which a
 * source row may well contain) never look like ours. `syncedOffset` is the end of what was durable when this batch was written, the
 * base of its sync group. It tells a torn tail from damage: a bad batch is an unacknowledged one unless some later batch says that
 * everything up to beyond it had been durable.
 */
import { crc32 } from 'node:zlib';
import type { Offset } from '#connectors/change-log/change-log.ts';

export const HEADER_BYTES = 32;
/** "CFB" and the format's version. */
export const MAGIC: Buffer = Buffer.from([0x43, 0x46, 0x42, 0x01]);
const MAGIC_NUMBER = MAGIC.readUInt32BE(0);
const CRC_FROM = 8;
/** A batch is one Buffer when it is read back, and one unit of memory for every consumer. */
export const MAX_PAYLOAD_BYTES: number = 1024 * 1024 * 1024;
const TWO_32 = 0x1_0000_0000;

export interface BatchHeader {
  readonly crc: number;
  /** Of the payload. */
  readonly length: number;
  readonly count: number;
  readonly baseOffset: Offset;
  readonly syncedOffset: Offset;
}

export interface Payload {
  readonly parts: readonly Buffer[];
  readonly seed: number;
}

export function seedOf(identity: string): number {
  return crc32(identity);
}

/** Writes the header at `at`, crc included. */
export function encodeHeader(target: Buffer, at: number, header: Omit<BatchHeader, 'crc'>, payload: Payload): void {
  target.writeUInt32BE(MAGIC_NUMBER, at);
  target.writeUInt32BE(header.length, at + 8);
  target.writeUInt32BE(header.count, at + 12);
  writeOffset(target, header.baseOffset, at + 16);
  writeOffset(target, header.syncedOffset, at + 24);
  let crc = crc32(target.subarray(at + CRC_FROM, at + HEADER_BYTES), payload.seed);
  for (const part of payload.parts) crc = crc32(part, crc);
  target.writeUInt32BE(crc, at + 4);
}

/** Undefined when the bytes cannot be a header. A header that is returned is plausible, not proven: see `checksum`. */
export function decodeHeader(bytes: Buffer): BatchHeader | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(0) !== MAGIC_NUMBER) return undefined;
  const header = {
    crc: bytes.readUInt32BE(4),
    length: bytes.readUInt32BE(8),
    count: bytes.readUInt32BE(12),
    baseOffset: readOffset(bytes, 16),
    syncedOffset: readOffset(bytes, 24),
  };
  const plausible = header.count > 0 && header.length <= MAX_PAYLOAD_BYTES && header.syncedOffset <= header.baseOffset;
  return plausible && Number.isSafeInteger(header.baseOffset + header.count) ? header : undefined;
}

export function checksum(header: Buffer, payload: Buffer, seed: number): number {
  return crc32(payload, crc32(header.subarray(CRC_FROM, HEADER_BYTES), seed));
}

function writeOffset(target: Buffer, offset: Offset, at: number): void {
  target.writeUInt32BE(Math.floor(offset / TWO_32), at);
  target.writeUInt32BE(offset % TWO_32, at + 4);
}

function readOffset(source: Buffer, at: number): Offset {
  return source.readUInt32BE(at) * TWO_32 + source.readUInt32BE(at + 4);
}
