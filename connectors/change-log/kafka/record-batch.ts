/**
 * Writes Kafka's record batches (format v2). Guarantee: what `take` returns is one batch that holds what was added, in order, byte for
 * byte as org.apache.kafka's own encoder lays it out; each added byte is copied once.
 */
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { invariant } from '#schemas/errors.ts';
import type { KafkaHeader, KafkaRecords } from './cluster.ts';
import { crc32c, crc32cShift } from './crc32c.ts';
import { giveSlab, joined, takeSlab } from './slabs.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

export const BATCH_HEADER_BYTES = 61;
/** baseOffset i64, batchLength i32, leaderEpoch i32, magic i8, crc u32: what the checksum does not cover. */
export const CHECKED_FROM = 21;
export const CODEC = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
export const MAGIC = 2;

/** Setting a compressor up takes as long as compressing this much, and a small batch is one that somebody waits for. */
const COMPRESSED_FROM_BYTES = 4 * 1024;
/** Speed over size: the log is read as often as it is written, and a core is worth more than a tenth of its disk. */
const GZIP_LEVEL = 1;
const ZSTD_LEVEL = 1;
const NO_HEADERS: readonly KafkaHeader[] = [];
const EMPTY: Buffer = Buffer.alloc(0);
const VARINT_BYTES_MAX = 5;
/** Length, attributes, two deltas, lengths of key and value, number of headers. */
const RECORD_HEAD_BYTES_MAX = 1 + 6 * VARINT_BYTES_MAX;
const HEADER_HEAD_BYTES_MAX = 2 * VARINT_BYTES_MAX;

/** A record that goes on nearly as it stands; reused from one to the next. */
export interface PassedRecord {
  readonly record: RecordPlace;
  /** Its first `keyBytes` bytes; below 0: there is none. */
  readonly key: Buffer;
  readonly keyBytes: number;
  /** In place of the value's first bytes. */
  readonly head: Buffer;
  /** Number of headers and the first of them, encoded; the others follow from `restAt` on. */
  readonly headers: Buffer;
  readonly headersBytes: number;
  readonly restAt: number;
}

/** Where the record lies that is passed on. */
export interface RecordPlace {
  readonly bytes: Buffer;
  readonly valueAt: number;
  readonly valueBytes: number;
  readonly end: number;
}

export class RecordsBuilder {
  readonly #compression: Compression;
  readonly #names = new Map<string, Buffer>();
  #full: Buffer[] = [];
  /** Of the full slabs, how many bytes of each. */
  #filled: number[] = [];
  #slab = EMPTY;
  #at = 0;
  #count = 0;
  #fullBytes = 0;
  #firstMs = 0;

  constructor(options: { readonly compression?: Compression } = {}) {
    this.#compression = options.compression ?? 'none';
  }

  get count(): number {
    return this.#count;
  }

  /** Of the batch as it stands, before compression. */
  get bytes(): number {
    return BATCH_HEADER_BYTES + this.#fullBytes + this.#at;
  }

  add(key: Buffer | undefined, value: Buffer | undefined, headers: readonly KafkaHeader[] = NO_HEADERS): void {
    if (this.#count === 0) this.#firstMs = Date.now();
    const names = headers.map((header) => this.#nameOf(header.name));
    const delta = this.#count;
    // attributes (1) and timestamp delta 0 (1): all records of a batch carry its time.
    let size = 2 + sizeOf(delta) + sizeOfBytes(key) + sizeOfBytes(value) + sizeOf(headers.length);
    for (let index = 0; index < headers.length; index += 1) size += sizeOfBytes(names[index]) + sizeOfBytes(headers[index]!.value);
    this.#room(sizeOf(size) + size);
    const slab = this.#slab;
    let at = writeVarint(slab, this.#at, size);
    slab[at++] = 0;
    slab[at++] = 0;
    at = writeVarint(slab, at, delta);
    at = writeBytes(slab, at, key);
    at = writeBytes(slab, at, value);
    at = writeVarint(slab, at, headers.length);
    for (let index = 0; index < headers.length; index += 1) {
      at = writeBytes(slab, at, names[index]);
      at = writeBytes(slab, at, headers[index]!.value);
    }
    this.#at = at;
    this.#count = delta + 1;
  }

  /** A record that is passed on: its value's first bytes are others, and its first header. */
  addPassed(passed: PassedRecord): void {
    if (this.#count === 0) this.#firstMs = Date.now();
    const { record, key, keyBytes, head, headers, headersBytes, restAt } = passed;
    const { bytes, valueAt, valueBytes, end } = record;
    const delta = this.#count;
    const rest = end - restAt;
    const keySize = keyBytes < 0 ? 1 : sizeOf(keyBytes) + keyBytes;
    const size = 2 + sizeOf(delta) + keySize + sizeOf(valueBytes) + valueBytes + headersBytes + rest;
    this.#room(sizeOf(size) + size);
    const slab = this.#slab;
    let at = writeVarint(slab, this.#at, size);
    slab[at++] = 0;
    slab[at++] = 0;
    at = writeVarint(slab, writeVarint(slab, at, delta), keyBytes);
    for (let index = 0; index < keyBytes; index += 1) slab[at++] = key[index]!;
    at = writeVarint(slab, at, valueBytes);
    bytes.copy(slab, at, valueAt, valueAt + valueBytes);
    for (let index = 0; index < head.length; index += 1) slab[at + index] = head[index]!;
    at += valueBytes;
    for (let index = 0; index < headersBytes; index += 1) slab[at++] = headers[index]!;
    if (rest > 0) bytes.copy(slab, at, restAt, end);
    this.#at = at + rest;
    this.#count = delta + 1;
  }

  /** The batch, and the builder is empty again. */
  take(): KafkaRecords {
    invariant(this.#count > 0, 'a record batch has at least one record');
    const records = [...this.#full.map((slab, i) => slab.subarray(0, this.#filled[i])), this.#slab.subarray(0, this.#at)];
    const compression = this.#fullBytes + this.#at < COMPRESSED_FROM_BYTES ? 'none' : this.#compression;
    const parts = [Buffer.allocUnsafe(BATCH_HEADER_BYTES), ...compress(records, compression)];
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    writeHeader(parts, { bytes, count: this.#count, codec: CODEC[compression], timeMs: this.#firstMs });
    const taken = { count: this.#count, bytes, parts };
    this.#release(compression !== 'none');
    this.#full = [];
    this.#filled = [];
    this.#at = 0;
    this.#count = 0;
    this.#fullBytes = 0;
    return taken;
  }

  #release(isCopied: boolean): void {
    if (!isCopied) {
      // The rest of the slab serves the next batch: what was handed out is not written again.
      this.#slab = this.#slab.subarray(this.#at);
      return;
    }
    for (const slab of this.#full) giveSlab(slab);
    giveSlab(this.#slab);
    this.#slab = EMPTY;
  }

  #nameOf(name: string): Buffer {
    let bytes = this.#names.get(name);
    if (bytes === undefined) {
      bytes = Buffer.from(name);
      this.#names.set(name, bytes);
    }
    return bytes;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#slab.length) return;
    if (this.#at > 0) {
      this.#full.push(this.#slab);
      this.#filled.push(this.#at);
      this.#fullBytes += this.#at;
    }
    this.#slab = takeSlab(this.#fullBytes * 2, bytes);
    this.#at = 0;
  }
}

function compress(records: readonly Buffer[], compression: Compression): readonly Buffer[] {
  if (compression === 'none') return records;
  const whole = joined(records);
  if (compression === 'gzip') return [gzipSync(whole, { level: GZIP_LEVEL })];
  return [zstdCompressSync(whole, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } })];
}

interface BatchHead {
  readonly bytes: number;
  readonly count: number;
  readonly codec: number;
  readonly timeMs: number;
}

function writeHeader(parts: readonly Buffer[], head: BatchHead): void {
  const header = parts[0]!;
  const timeMs = BigInt(head.timeMs);
  header.writeBigInt64BE(0n, 0); // base offset: the broker's
  header.writeInt32BE(head.bytes - 12, 8);
  header.writeInt32BE(-1, 12);
  header.writeInt8(MAGIC, 16);
  header.writeInt16BE(head.codec, 21);
  header.writeInt32BE(head.count - 1, 23);
  header.writeBigInt64BE(timeMs, 27);
  header.writeBigInt64BE(timeMs, 35);
  header.writeBigInt64BE(-1n, 43); // producer id, epoch and sequence: not an idempotent producer
  header.writeInt16BE(-1, 51);
  header.writeInt32BE(-1, 53);
  header.writeInt32BE(head.count, 57);
  let crc = crc32c(header.subarray(CHECKED_FROM));
  for (let index = 1; index < parts.length; index += 1) crc = crc32c(parts[index]!, crc);
  header.writeUInt32BE(crc, 17);
}

/** Who wrote a batch, and its first record's number among those that this one wrote to the partition. */
export interface Stamp {
  readonly producerId: bigint;
  readonly epoch: number;
  readonly sequence: number;
}

/** The same batch with a stamp. The records are not read again for the checksum. */
export function stamped(records: KafkaRecords, stamp: Stamp): KafkaRecords {
  const [before, ...rest] = records.parts;
  invariant(before !== undefined && before.length === BATCH_HEADER_BYTES, 'records are what a builder took');
  const header = Buffer.from(before);
  header.writeBigInt64BE(stamp.producerId, 43);
  header.writeInt16BE(stamp.epoch, 51);
  header.writeInt32BE(stamp.sequence, 53);
  const difference = crc32c(before.subarray(CHECKED_FROM)) ^ crc32c(header.subarray(CHECKED_FROM));
  header.writeUInt32BE((before.readUInt32BE(17) ^ crc32cShift(difference, records.bytes - BATCH_HEADER_BYTES)) >>> 0, 17);
  return { ...records, parts: [header, ...rest] };
}

/** No fewer than the record has in a batch. */
export function recordBytesMax(key: Buffer | undefined, value: Buffer | undefined, headers: readonly KafkaHeader[]): number {
  let bytes = RECORD_HEAD_BYTES_MAX + (key?.length ?? 0) + (value?.length ?? 0);
  for (const header of headers) bytes += HEADER_HEAD_BYTES_MAX + 3 * header.name.length + header.value.length;
  return bytes;
}

export function passedBytesMax({ record, keyBytes, headersBytes, restAt }: PassedRecord): number {
  return RECORD_HEAD_BYTES_MAX + Math.max(0, keyBytes) + record.valueBytes + headersBytes + record.end - restAt;
}

/** Bytes of a zigzag varint of a number in [0, 2^31), or of −1. */
function sizeOf(value: number): number {
  const zigzag = value < 0 ? 1 : value * 2;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x200000) return 3;
  return zigzag < 0x10000000 ? 4 : 5;
}

function sizeOfBytes(bytes: Buffer | undefined): number {
  return bytes === undefined ? 1 : sizeOf(bytes.length) + bytes.length;
}

function writeVarint(into: Buffer, at: number, value: number): number {
  let rest = value < 0 ? 1 : (value << 1) >>> 0;
  let place = at;
  while (rest >= 0x80) {
    into[place++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  into[place++] = rest;
  return place;
}

/** Below this a loop is quicker than a call into the engine. */
const LOOP_BYTES_MAX = 24;

function writeBytes(into: Buffer, at: number, bytes: Buffer | undefined): number {
  if (bytes === undefined) return writeVarint(into, at, -1);
  const start = writeVarint(into, at, bytes.length);
  if (bytes.length <= LOOP_BYTES_MAX) {
    for (let index = 0; index < bytes.length; index += 1) into[start + index] = bytes[index]!;
  } else into.set(bytes, start);
  return start + bytes.length;
}
