/**
 * Cuts the raw log into units the sink may commit at. Guarantee: every row frame is handed on as part of a transaction whose Commit
 * was seen, but for transactions larger than a bound, which come in parts (`last` false) so that memory stays bounded; a transaction
 * interrupted by an epoch record is dropped (or announced as void when parts of it were handed on). Of a transaction whose Begin was
 * not seen (reading began within it) nothing is handed on: it lies below the resume offset, and its LSN is not known.
 *
 * Looks at tags only: a few nanoseconds a record.
 */
import type { Offset, ReadBatch } from '#connectors/change-log/change-log.ts';
import { FRAME } from '#schemas/frame/frame.ts';
import { TAG } from '#schemas/pgoutput/message.ts';

/** Consecutive records: `buffer[from…to)` holds length-prefixed payloads, the first of which has offset `offset`. */
export interface Span {
  readonly buffer: Buffer;
  readonly from: number;
  readonly to: number;
  readonly offset: Offset;
}

export interface RowsUnit {
  /** transactions: whole ones, without chunk rows. chunk: the one that holds a chunk's rows. */
  readonly kind: 'transactions' | 'chunk';
  readonly spans: readonly Span[];
  readonly first: boolean;
  readonly last: boolean;
  readonly bytes: number;
}

export interface FrameUnit {
  readonly kind: 'epoch' | 'state' | 'copy-complete';
  readonly frame: Buffer;
  readonly offset: Offset;
}

export interface VoidUnit {
  readonly kind: 'void';
}

export type Unit = RowsUnit | FrameUnit | VoidUnit;

/** A transaction beyond this is handed on in parts: a few rounds' worth, so that one part is gathered while another is applied. */
export const PART_BYTES = 4 * 1024 * 1024;

export class FrameScanner {
  readonly #partBytes: number;
  #inTransaction = false;
  #chunk = false;
  /** Parts of the open transaction were handed on. */
  #opened = false;
  #pending: Span[] = [];
  #pendingBytes = 0;

  constructor(partBytes: number = PART_BYTES) {
    this.#partBytes = partBytes;
  }

  push(batch: ReadBatch): readonly Unit[] {
    const units: Unit[] = [];
    const buffer = batch.bytes;
    let offset = batch.baseOffset;
    // What is not handed on yet: whole transactions from `from`, then the open one from `begin`.
    let from = 0;
    let fromOffset = offset;
    let begin = 0;
    let beginOffset = offset;
    const emitWhole = (to: number): void => {
      if (to > from)
        units.push({ kind: 'transactions', spans: [{ buffer, from, to, offset: fromOffset }], first: true, last: true, bytes: to - from });
    };
    for (let p = 0; p < buffer.length; offset++) {
      const next = p + 4 + buffer.readUInt32BE(p);
      const tag = buffer[p + 4];
      let restart = false;
      if (tag === TAG.begin) {
        if (this.#inTransaction) this.#drop(units);
        this.#inTransaction = true;
        this.#chunk = false;
        begin = p;
        beginOffset = offset;
      } else if (this.#inTransaction && (tag === FRAME.chunkRows || tag === FRAME.chunkParts || tag === FRAME.chunkDeletes)) {
        this.#chunk = true;
      } else if (tag === TAG.commit && this.#inTransaction) {
        this.#inTransaction = false;
        if (this.#chunk || this.#opened || this.#pending.length > 0) {
          emitWhole(begin);
          this.#emitOne(units, { buffer, from: begin, to: next, offset: beginOffset });
          restart = true;
        }
      } else if (tag === FRAME.epoch || tag === FRAME.tableState || tag === FRAME.copyComplete) {
        emitWhole(this.#inTransaction ? begin : p);
        if (this.#inTransaction) this.#drop(units);
        units.push({ kind: frameKind(tag), frame: buffer.subarray(p + 4, next), offset });
        restart = true;
      } else if (!this.#inTransaction) {
        // Reading began within a transaction: none of its records may pass, above all not a chunk's rows, which are stale by now.
        emitWhole(p);
        restart = true;
      }
      p = next;
      if (!restart) continue;
      from = next;
      fromOffset = offset + 1;
      begin = next;
      beginOffset = offset + 1;
    }
    if (!this.#inTransaction) {
      emitWhole(buffer.length);
      return units;
    }
    emitWhole(begin);
    this.#keep(units, { buffer, from: begin, to: buffer.length, offset: beginOffset });
    return units;
  }

  #keep(units: Unit[], span: Span): void {
    this.#pending.push(span);
    this.#pendingBytes += span.to - span.from;
    if (this.#pendingBytes < this.#partBytes) return;
    this.#emit(units, false);
    this.#opened = true;
  }

  /** The open transaction ends with `span`. */
  #emitOne(units: Unit[], span: Span): void {
    this.#pending.push(span);
    this.#pendingBytes += span.to - span.from;
    this.#emit(units, true);
    this.#opened = false;
  }

  #emit(units: Unit[], last: boolean): void {
    units.push({
      kind: this.#chunk ? 'chunk' : 'transactions',
      spans: this.#pending,
      first: !this.#opened,
      last,
      bytes: this.#pendingBytes,
    });
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  #drop(units: Unit[]): void {
    if (this.#opened) units.push({ kind: 'void' });
    this.#inTransaction = false;
    this.#opened = false;
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}

function frameKind(tag: number): FrameUnit['kind'] {
  return tag === FRAME.epoch ? 'epoch' : tag === FRAME.tableState ? 'state' : 'copy-complete';
}
