/** Reads source blocks. Guarantee: the block of a transaction is read once; the same bytes give the same object. */
import { readAny, skipAny } from './avro-any.ts';
import type { AvroCursor } from './avro-primitives.ts';
import type { AvroType } from './avro-schema.ts';
import { SOURCE_FIELDS, sourceOf, type ReadSource } from './source-block.ts';

export class AvroSourceReader {
  readonly #type: AvroType;
  #bytes: Buffer = Buffer.alloc(0);
  #source: ReadSource | undefined;

  constructor(type: AvroType) {
    this.#type = type;
  }

  read(cursor: AvroCursor): ReadSource {
    if (this.#source !== undefined && this.#isLast(cursor)) return this.#source;
    const start = cursor.at;
    this.#source = sourceOf(readFields(this.#type, cursor));
    this.#bytes = Buffer.from(cursor.b.subarray(start, cursor.at));
    return this.#source;
  }

  skip(cursor: AvroCursor): void {
    if (this.#bytes.length > 0 && this.#isLast(cursor)) return;
    const start = cursor.at;
    skipAny(this.#type, cursor);
    this.#source = undefined;
    this.#bytes = cursor.b.subarray(start, cursor.at);
  }

  /** Passes over the block, if it is the last one again. */
  #isLast(cursor: AvroCursor): boolean {
    const last = this.#bytes;
    const end = cursor.at + last.length;
    if (end > cursor.b.length || cursor.b.compare(last, 0, last.length, cursor.at, end) !== 0) return false;
    cursor.at = end;
    return true;
  }
}

/** What is asked for, and nothing else: a block has twice as many fields. */
function readFields(type: AvroType, cursor: AvroCursor): unknown {
  if (type.kind !== 'record') return readAny(type, cursor);
  const values: Record<string, unknown> = {};
  for (const field of type.fields) {
    if (SOURCE_FIELDS.has(field.name)) values[field.name] = readAny(field.type, cursor);
    else skipAny(field.type, cursor);
  }
  return values;
}
