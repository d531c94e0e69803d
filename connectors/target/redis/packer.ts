/**
 * Packs what a script takes (MessagePack, which Redis reads with cmsgpack). Guarantee: bytes of a value are passed as they came; nothing
 * is decoded to strings. A value's length and bytes stand in a pgoutput tuple as MessagePack wants them: only the tag before them differs.
 */
const TEXT = 0xdb;
const LIST = 0xdd;
const FIRST_BYTES = 64 * 1024;

export class Packer {
  buffer: Buffer = Buffer.allocUnsafe(FIRST_BYTES);
  pos = 0;

  room(bytes: number): void {
    if (this.pos + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.pos + bytes));
    this.buffer.copy(larger, 0, 0, this.pos);
    this.buffer = larger;
  }

  /** Begins a list or a text whose length is not known yet. @returns what `endList` or `endText` takes. */
  begin(): number {
    this.room(5);
    const at = this.pos;
    this.pos += 5;
    return at;
  }

  endList(at: number, length: number): void {
    this.buffer[at] = LIST;
    this.buffer.writeUInt32BE(length, at + 1);
  }

  endText(at: number): void {
    this.buffer[at] = TEXT;
    this.buffer.writeUInt32BE(this.pos - at - 5, at + 1);
  }

  /** From 0 to 127. */
  small(value: number): void {
    this.room(1);
    this.buffer[this.pos++] = value;
  }

  /** Bytes that are packed already, or that stand within a text. */
  bytes(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.buffer.set(bytes, this.pos);
    this.pos += bytes.length;
  }

  /** A text whose length and bytes stand at `from` as pgoutput writes them. */
  value(b: Buffer, from: number, end: number): void {
    this.room(end - from + 1);
    this.buffer[this.pos++] = TEXT;
    b.copy(this.buffer, this.pos, from, end);
    this.pos += end - from;
  }

  text(text: string): void {
    const at = this.begin();
    const bytes = Buffer.byteLength(text);
    this.room(bytes);
    this.pos += this.buffer.write(text, this.pos);
    this.endText(at);
  }

  /** What was packed, as a buffer of its own; begins anew. */
  take(): Buffer {
    const taken = Buffer.from(this.buffer.subarray(0, this.pos));
    this.pos = 0;
    return taken;
  }
}

export function packTexts(texts: readonly string[]): Buffer {
  const packer = new Packer();
  const list = packer.begin();
  for (const text of texts) packer.text(text);
  packer.endList(list, texts.length);
  return packer.take();
}
