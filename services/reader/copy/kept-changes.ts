/**
 * Changes kept as they came, for chunks that repeat what their snapshot did not see. Guarantee: they come back in order, and take
 * memory only up to a limit, however many there are.
 */
import { RowSpool } from '#connectors/source/row-spool.ts';

const BLOCK_BYTES = 256 << 10;
const MEMORY_BYTES = 8 << 20;
/** xid, then the message's length; a truncate is kept without a message. */
const HEAD_BYTES = 8;

export interface KeptChange {
  readonly xid: number;
  /** Undefined: the table was truncated. */
  readonly message: Buffer | undefined;
}

export class KeptChanges {
  readonly #spool: RowSpool;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(path: string) {
    this.#spool = new RowSpool(path, MEMORY_BYTES);
  }

  add(xid: number, message: Buffer | undefined): void {
    const length = message?.length ?? 0;
    if (this.#at + HEAD_BYTES + length > this.#block.length) {
      this.#seal();
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, HEAD_BYTES + length));
      this.#at = 0;
    }
    this.#block.writeUInt32BE(xid, this.#at);
    this.#block.writeUInt32BE(length, this.#at + 4);
    message?.copy(this.#block, this.#at + HEAD_BYTES);
    this.#at += HEAD_BYTES + length;
  }

  *[Symbol.iterator](): Generator<KeptChange> {
    for (const { bytes } of this.#spool) yield* changesIn(bytes);
    yield* changesIn(this.#block.subarray(0, this.#at));
  }

  close(): void {
    this.#spool.close();
    this.#block = Buffer.alloc(0);
    this.#at = 0;
  }

  #seal(): void {
    if (this.#at > 0) this.#spool.add(this.#block.subarray(0, this.#at), 0);
  }
}

function* changesIn(block: Buffer): Generator<KeptChange> {
  for (let at = 0; at < block.length;) {
    const length = block.readUInt32BE(at + 4);
    const start = at + HEAD_BYTES;
    yield { xid: block.readUInt32BE(at), message: length > 0 ? block.subarray(start, start + length) : undefined };
    at = start + length;
  }
}
