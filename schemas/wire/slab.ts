/**
 * A growing piece of memory that records are written into one behind another. Guarantee: what `take` handed out is never written again;
 * growing keeps what was written since `begin`.
 */

const SLAB_BYTES = 256 * 1024;
/** What a scratch slab may keep for the next row: one giant value does not stay for ever. */
const KEPT_BYTES = 1024 * 1024;

export class Slab {
  buffer: Buffer;
  /** Where the next byte goes. */
  pos = 0;
  #start = 0;
  readonly #sizeBytes: number;

  constructor(sizeBytes: number = SLAB_BYTES) {
    this.#sizeBytes = sizeBytes;
    this.buffer = Buffer.allocUnsafeSlow(sizeBytes);
  }

  /** Makes room for `bytes` more; `buffer` and `pos` may be others afterwards. */
  room(bytes: number): void {
    if (this.pos + bytes > this.buffer.length) this.#grow(bytes);
  }

  #grow(bytes: number): void {
    const used = this.pos - this.#start;
    const next = Buffer.allocUnsafeSlow(Math.max(this.#sizeBytes, used + (used >> 1) + bytes));
    this.buffer.copy(next, 0, this.#start, this.pos);
    this.buffer = next;
    this.#start = 0;
    this.pos = used;
  }

  begin(): void {
    // What one large record needed is its own.
    if (this.buffer.length > this.#sizeBytes) this.#renew();
    this.#start = this.pos;
  }

  #renew(): void {
    this.buffer = Buffer.allocUnsafeSlow(this.#sizeBytes);
    this.pos = 0;
  }

  /** Forgets everything, to be written over: only when nothing handed out is in use. */
  reset(): void {
    if (this.buffer.length > KEPT_BYTES) this.#renew();
    this.#start = 0;
    this.pos = 0;
  }

  /** Bytes since `begin`: stays right when the slab grows. */
  get used(): number {
    return this.pos - this.#start;
  }

  /** Goes back to where `used` was so much. */
  rewind(used: number): void {
    this.pos = this.#start + used;
  }

  /** What was written since `begin`. */
  take(): Buffer {
    return this.buffer.subarray(this.#start, this.pos);
  }

  byte(value: number): void {
    this.room(1);
    this.buffer[this.pos++] = value;
  }

  bytes(from: Buffer, start: number, end: number): void {
    const length = end - start;
    this.room(length);
    const out = this.buffer;
    if (length > 24) from.copy(out, this.pos, start, end);
    else for (let i = 0; i < length; i++) out[this.pos + i] = from[start + i]!;
    this.pos += length;
  }

  /** Characters below 128 only. */
  ascii(text: string): void {
    this.room(text.length);
    for (let i = 0; i < text.length; i++) this.buffer[this.pos + i] = text.charCodeAt(i);
    this.pos += text.length;
  }

  utf8(text: string): void {
    this.room(3 * text.length);
    this.pos += this.buffer.write(text, this.pos, 'utf8');
  }

  /** Decimal digits of a whole number, at least `width` of them. */
  digits(value: number, width: number): void {
    let count = 1;
    for (let limit = 10; value >= limit; limit *= 10) count++;
    if (count < width) count = width;
    this.room(count);
    let rest = value;
    for (let at = this.pos + count - 1; at >= this.pos; at--) {
      if (rest < 2147483648) {
        const tenth = (rest / 10) | 0;
        this.buffer[at] = 48 + rest - 10 * tenth;
        rest = tenth;
      } else {
        const tenth = Math.floor(rest / 10);
        this.buffer[at] = 48 + rest - 10 * tenth;
        rest = tenth;
      }
    }
    this.pos += count;
  }
}
