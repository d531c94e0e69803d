/**
 * Gathers records for one append. Guarantee: each byte of a message is copied once, out of the socket's buffer into a slab that
 * nobody writes again below the point handed out.
 */
import type { RecordBatch } from '#connectors/change-log/change-log.ts';

/** One slab serves many small batches; a larger message gets a slab of its own. */
const SLAB_BYTES = 1 << 20;

export class BatchBuilder {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #from = 0;
  #at = 0;
  #parts: Buffer[] = [];
  #count = 0;
  #bytes = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Copies `message` in as one record. */
  add(message: Buffer): void {
    const length = message.length;
    if (this.#at + 4 + length > this.#slab.length) this.#nextSlab(4 + length);
    const slab = this.#slab;
    let at = this.#at;
    slab[at++] = length >>> 24;
    slab[at++] = (length >>> 16) & 0xff;
    slab[at++] = (length >>> 8) & 0xff;
    slab[at++] = length & 0xff;
    slab.set(message, at);
    this.#at = at + length;
    this.#count++;
    this.#bytes += 4 + length;
  }

  /** Takes over `parts` as one record without copying them. */
  addParts(parts: readonly Buffer[]): void {
    let length = 0;
    for (const part of parts) length += part.length;
    const prefix = Buffer.allocUnsafe(4);
    prefix.writeUInt32BE(length);
    this.#cut();
    this.#parts.push(prefix, ...parts);
    this.#count++;
    this.#bytes += 4 + length;
  }

  /** Everything gathered so far; the builder is empty afterwards. */
  take(): RecordBatch {
    this.#cut();
    const batch = { count: this.#count, parts: this.#parts };
    this.#parts = [];
    this.#count = 0;
    this.#bytes = 0;
    return batch;
  }

  #cut(): void {
    if (this.#at === this.#from) return;
    this.#parts.push(this.#slab.subarray(this.#from, this.#at));
    this.#from = this.#at;
  }

  #nextSlab(atLeast: number): void {
    this.#cut();
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, atLeast));
    this.#from = 0;
    this.#at = 0;
  }
}
