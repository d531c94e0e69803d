/** Reads source blocks. Guarantee: the block of a transaction is read once; the same bytes give the same object. */
import { readAny, skipAny } from './avro-any.ts';
import type { AvroCursor } from './avro-primitives.ts';
import type { AvroType } from './avro-schema.ts';
import { sourceOf } from './source-block.ts';
import type { WireSource } from './wire.ts';

export class AvroSourceReader {
  readonly #type: AvroType;
  #bytes: Buffer = Buffer.alloc(0);
  #source: WireSource | undefined;

  constructor(type: AvroType) {
    this.#type = type;
  }

  read(cursor: AvroCursor): WireSource {
    const start = cursor.at;
    const last = this.#bytes;
    const end = start + last.length;
    if (this.#source !== undefined && end <= cursor.b.length && cursor.b.compare(last, 0, last.length, start, end) === 0) {
      cursor.at = end;
      return this.#source;
    }
    skipAny(this.#type, cursor);
    this.#bytes = Buffer.from(cursor.b.subarray(start, cursor.at));
    cursor.at = start;
    this.#source = sourceOf(readAny(this.#type, cursor));
    return this.#source;
  }
}
