/**
 * Writes frames as records of read batches. Guarantee: the last record of a batch, and every record that a position may be taken from
 * (a commit, and what stands between transactions), is numbered as it was appended; a batch never reaches back into the one before.
 *
 * A row that the filter took leaves a gap, and a batch has none: what stands before the gap in the same batch moves up. That is allowed
 * to rows within a transaction; a record that gives a position is never in a batch before a gap.
 */
import { invariant } from '#schemas/errors.ts';
import { FRAME } from '#schemas/frame/frame.ts';
import { KIND, TAG } from '#schemas/pgoutput/message.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from '#schemas/wire/wire.ts';
import { escapeCopyField, escapedLengthMax } from '#schemas/value/copy-text.ts';
import type { Offset, ReadBatch } from '#connectors/change-log/change-log.ts';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const BACKSLASH = 0x5c;
const COPY_NULL = 0x4e;

/** Below this a loop is quicker than a call into the engine. */
const LOOP_BYTES_MAX = 24;

/** Fields of a row in the order of a tuple, or ABSENT_FIELD or NULL_FIELD in the place of one. */
export type FieldOrder = Int32Array;

export class FrameWriter {
  #buffer: Buffer;
  #at = 0;
  #batchFrom = 0;
  #count = 0;
  #last: Offset = -1;
  #fixed = false;
  #recordAt = 0;
  readonly #batches: ReadBatch[] = [];

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafe(bytes);
  }

  /** Everything written. */
  finish(): readonly ReadBatch[] {
    this.#flush();
    return this.#batches;
  }

  /** Record `v` begins; its content follows. */
  begin(v: Offset, tag: number): void {
    invariant(v > this.#last, 'records are written in order');
    if (v !== this.#last + 1 && this.#fixed) this.#flush();
    this.#last = v;
    this.#fixed ||= tag === TAG.commit || tag === FRAME.epoch || tag === FRAME.tableState || tag === FRAME.copyComplete;
    this.#room(4);
    this.#recordAt = this.#at;
    this.#at += 4;
  }

  end(): void {
    this.#buffer.writeUInt32BE(this.#at - this.#recordAt - 4, this.#recordAt);
    this.#count++;
  }

  /** A frame within a record of several (schemas/frame/frame.ts): what `content` writes, for the pair with this number. */
  part<T>(pair: number, content: () => T): T {
    this.#room(6);
    this.#at = this.#buffer.writeUInt16BE(pair, this.#at);
    const at = this.#at;
    this.#at += 4;
    const result = content();
    this.#buffer.writeUInt32BE(this.#at - at - 4, at);
    return result;
  }

  bytes(content: Buffer): void {
    this.#room(content.length);
    this.#at += content.copy(this.#buffer, this.#at);
  }

  byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = value;
  }

  /** Tag and relation of a row message. */
  head(tag: number, oid: number): void {
    this.#room(5);
    this.#buffer[this.#at++] = tag;
    this.#at = this.#buffer.writeUInt32BE(oid, this.#at);
  }

  /** Kind (N, K, O) and tuple. */
  tuple(kind: number, row: RowFields, order: FieldOrder): void {
    const { buffer, from, length } = row;
    let size = 3 + 5 * order.length;
    for (const field of order) if (field >= 0 && length[field]! > 0) size += length[field]!;
    this.#room(size);
    const b = this.#buffer;
    let p = this.#at;
    b[p++] = kind;
    b[p++] = order.length >> 8;
    b[p++] = order.length & 0xff;
    for (const field of order) {
      const bytes = field < 0 ? field : length[field]!;
      if (bytes < 0) {
        b[p++] = bytes === NULL_FIELD ? KIND.null : KIND.absent;
        continue;
      }
      b[p] = KIND.text;
      p = b.writeUInt32BE(bytes, p + 1);
      const start = from[field]!;
      if (bytes > LOOP_BYTES_MAX) buffer.copy(b, p, start, start + bytes);
      else for (let i = 0; i < bytes; i++) b[p + i] = buffer[start + i]!;
      p += bytes;
    }
    this.#at = p;
  }

  /** @returns false when a field is absent: a copied row has them all. */
  copyLine(row: RowFields, order: FieldOrder): boolean {
    const { buffer, from, length } = row;
    let size = 3 * order.length;
    for (const field of order) if (field >= 0 && length[field]! > 0) size += escapedLengthMax(length[field]!);
    this.#room(size);
    const b = this.#buffer;
    let p = this.#at;
    for (let i = 0; i < order.length; i++) {
      const field = order[i]!;
      if (field < 0 || length[field] === ABSENT_FIELD) return false;
      if (i > 0) b[p++] = TAB;
      if (length[field] === NULL_FIELD) {
        b[p++] = BACKSLASH;
        b[p++] = COPY_NULL;
      } else {
        p = escapeCopyField(buffer, from[field]!, from[field]! + length[field]!, b, p);
      }
    }
    b[p++] = LINE_FEED;
    this.#at = p;
    return true;
  }

  #flush(): void {
    if (this.#count === 0) return;
    this.#batches.push({
      baseOffset: this.#last + 1 - this.#count,
      count: this.#count,
      bytes: this.#buffer.subarray(this.#batchFrom, this.#at),
    });
    this.#batchFrom = this.#at;
    this.#count = 0;
    this.#fixed = false;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
