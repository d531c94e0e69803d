/**
 * Takes a batch's records out of their compression. Guarantee: the bytes that were compressed, or an error that says where the batch stands
 * and what it would have to be.
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Offset } from '../change-log.ts';
import type { TopicPartition } from './cluster.ts';
import { nameOf } from './place-name.ts';
import { CODEC } from './record-batch.ts';

/** What a frame says of a larger one is not believed before it is inflated. */
const WHOLE_BYTES_MAX = 4 * 1024 * 1024;
/** Zlib's own least. */
const CHUNK_BYTES_MIN = 64;
const FRAME_HEADER_BYTES_MAX = 18;
const FRAME_MAGIC = 0xfd2fb528;

/** @throws PipelineError CF-3002 (damaged), CF-3006 (a compression that is not read) */
export function inflate(bytes: Buffer, codec: number, where: { readonly place: TopicPartition; readonly offset: Offset }): Buffer {
  try {
    if (codec === CODEC.none) return bytes;
    if (codec === CODEC.gzip) return gunzipSync(bytes);
    if (codec === CODEC.zstd) return unzstd(bytes);
  } catch (error) {
    const what = `the batch at offset ${where.offset} cannot be inflated: ${messageOf(error)}`;
    throw new PipelineError('CF-3002', `${nameOf(where.place)}: ${what}`, { cause: error });
  }
  const name = codec === CODEC.snappy ? 'snappy' : codec === CODEC.lz4 ? 'lz4' : `codec ${codec}`;
  throw unreadable(where.place, where.offset, `it is compressed with ${name}; none, gzip and zstd are read`);
}

/** In one piece where the frame says how large it gets: each piece is memory of its own, and all are copied once more. */
function unzstd(frame: Buffer): Buffer {
  const bytes = zstdContentBytes(frame);
  if (bytes === undefined || bytes > WHOLE_BYTES_MAX) return zstdDecompressSync(frame);
  // One more than is filled: a full buffer is taken for a sign that more is to come.
  return zstdDecompressSync(frame, { chunkSize: Math.max(bytes + 1, CHUNK_BYTES_MIN) });
}

/** What the frame's header says (RFC 8878 §3.1.1.1); undefined where it does not say. */
export function zstdContentBytes(frame: Buffer): number | undefined {
  if (frame.length < FRAME_HEADER_BYTES_MAX || frame.readUInt32LE(0) !== FRAME_MAGIC) return undefined;
  const descriptor = frame[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  switch (descriptor >> 6) {
    case 0:
      return isSingleSegment ? frame[at] : undefined;
    case 1:
      return frame.readUInt16LE(at) + 256;
    case 2:
      return frame.readUInt32LE(at);
    default:
      return Number(frame.readBigUInt64LE(at));
  }
}

export function unreadable(place: TopicPartition, offset: Offset, why: string): PipelineError {
  return new PipelineError('CF-3006', `${nameOf(place)}: the batch at offset ${offset} cannot be read: ${why}`, {
    remedy: 'Set compression.type of the producer, or of the topic, to producer, none, gzip or zstd; what is stored must be written again.',
  });
}
