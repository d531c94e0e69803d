/**
 * Reads Kafka's record batches (format v2). Guarantee: what it hands out passed its checksum; records below the offset asked for,
 * control batches and a cut batch at the end are left out, and `next` says where reading goes on. Keys, values and headers are views
 * of the bytes given (or of what they were inflated to): no byte is copied.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { Offset } from '../change-log.ts';
import type { Fetched, FetchedBatch, FetchedRecord, TopicPartition } from './cluster.ts';
import { crc32c } from './crc32c.ts';
import { inflate, unreadable } from './inflate.ts';
import { nameOf } from './place-name.ts';
import { BATCH_HEADER_BYTES, CHECKED_FROM, MAGIC } from './record-batch.ts';

const CODEC_MASK = 0x07;
const CONTROL = 0x20;

/** One stored batch. Guarantee: its checksum is right; it is inflated when its records are asked for. */
export class StoredBatch implements FetchedBatch {
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  /** Records in it; fewer than `nextOffset - baseOffset` only in a compacted topic. */
  readonly count: number;
  readonly #batch: Buffer;
  readonly #from: Offset;
  readonly #place: TopicPartition;

  constructor(batch: Buffer, from: Offset, place: TopicPartition) {
    this.baseOffset = Number(batch.readBigInt64BE(0));
    this.nextOffset = this.baseOffset + batch.readInt32BE(23) + 1;
    this.count = batch.readInt32BE(57);
    this.#batch = batch;
    this.#from = from;
    this.#place = place;
  }

  get bytes(): number {
    return this.#batch.length;
  }

  get isControl(): boolean {
    return (this.#attributes & CONTROL) !== 0;
  }

  get #attributes(): number {
    return this.#batch.readInt16BE(21);
  }

  records(): ViewedRecord[] {
    return this.#view(this.#from);
  }

  /** Those before the offset that was sought, too. */
  all(): ViewedRecord[] {
    return this.#view(this.baseOffset);
  }

  #view(from: Offset): ViewedRecord[] {
    const where = { place: this.#place, offset: this.baseOffset };
    const bytes = inflate(this.#batch.subarray(BATCH_HEADER_BYTES), this.#attributes & CODEC_MASK, where);
    const records: ViewedRecord[] = [];
    const reader = new Reader(bytes);
    for (let index = 0; index < this.count; index += 1) {
      const length = reader.varint();
      const end = reader.at + length;
      reader.at += 1;
      reader.skipVarint();
      const offset = this.baseOffset + reader.varint();
      if (offset >= from) records.push(new ViewedRecord(bytes, offset, reader, end));
      reader.at = end;
    }
    return records;
  }
}

/** Batches that end above `from`; `next` is `from` when there is none. @throws PipelineError CF-3002 (checksum), CF-3006 (format). */
export function readBatches(bytes: Buffer, from: Offset, place: TopicPartition): { batches: StoredBatch[]; next: Offset } {
  const batches: StoredBatch[] = [];
  let next = from;
  for (let at = 0; at + BATCH_HEADER_BYTES <= bytes.length;) {
    const end = at + 12 + bytes.readInt32BE(at + 8);
    if (bytes[at + 16] !== MAGIC) throw unreadable(place, next, 'it was written in a record format older than Kafka 0.11');
    if (end > bytes.length) break;
    const stored = bytes.subarray(at, end);
    const batch = new StoredBatch(stored, from, place);
    at = end;
    if (batch.nextOffset <= from) continue;
    if (crc32c(stored.subarray(CHECKED_FROM)) !== stored.readUInt32BE(17)) {
      throw new PipelineError('CF-3002', `${nameOf(place)}: the batch at offset ${batch.baseOffset} fails its checksum`);
    }
    next = batch.nextOffset;
    if (!batch.isControl) batches.push(batch);
  }
  return { batches, next };
}

/** Every record at or above `from`. */
export function readRecords(bytes: Buffer, from: Offset, place: TopicPartition): { records: ViewedRecord[]; next: Offset } {
  const { batches, next } = readBatches(bytes, from, place);
  return { records: batches.flatMap((batch) => batch.records()), next };
}

/** All at once: for topics whose records are few, or wanted whole. */
export function recordsIn({ batches }: Pick<Fetched, 'batches'>): FetchedRecord[] {
  return batches.flatMap((batch) => batch.records());
}

/** A record where it lies. A length below 0: there is none. */
export class ViewedRecord implements FetchedRecord {
  readonly offset: Offset;
  readonly bytes: Buffer;
  readonly keyAt: number;
  readonly keyBytes: number;
  readonly valueAt: number;
  readonly valueBytes: number;
  /** Their number, then one behind another. */
  readonly headersAt: number;
  readonly end: number;

  // oxlint-disable-next-line max-params -- called per record: an options object would be allocated each time
  constructor(bytes: Buffer, offset: Offset, reader: Reader, end: number) {
    this.offset = offset;
    this.bytes = bytes;
    this.keyBytes = reader.varint();
    this.keyAt = reader.at;
    if (this.keyBytes > 0) reader.at += this.keyBytes;
    this.valueBytes = reader.varint();
    this.valueAt = reader.at;
    if (this.valueBytes > 0) reader.at += this.valueBytes;
    this.headersAt = reader.at;
    this.end = end;
  }

  get key(): Buffer | undefined {
    return this.keyBytes < 0 ? undefined : this.bytes.subarray(this.keyAt, this.keyAt + this.keyBytes);
  }

  get value(): Buffer | undefined {
    return this.valueBytes < 0 ? undefined : this.bytes.subarray(this.valueAt, this.valueAt + this.valueBytes);
  }

  header(name: string): Buffer | undefined {
    const reader = new Reader(this.bytes, this.headersAt);
    for (let left = reader.varint(); left > 0; left -= 1) {
      const length = reader.varint();
      const start = reader.at;
      reader.at += length;
      if (length === name.length && isAscii(this.bytes, start, name)) return reader.bytes();
      reader.skipBytes();
    }
    return undefined;
  }
}

/** Names of headers are plain ASCII wherever we ask for one. */
function isAscii(bytes: Buffer, start: number, name: string): boolean {
  for (let index = 0; index < name.length; index += 1) if (bytes[start + index] !== name.charCodeAt(index)) return false;
  return true;
}

class Reader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  varint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.at++]!;
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      byte = bytes[this.at++]!;
      value |= (byte & 0x7f) << shift;
    }
    return (value >>> 1) ^ -(value & 1);
  }

  /** Of any width. */
  skipVarint(): void {
    while (this.#bytes[this.at++]! >= 0x80);
  }

  bytes(): Buffer | undefined {
    const length = this.varint();
    if (length < 0) return undefined;
    const start = this.at;
    this.at += length;
    return this.#bytes.subarray(start, this.at);
  }

  skipBytes(): void {
    const length = this.varint();
    if (length > 0) this.at += length;
  }
}
