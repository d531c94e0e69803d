/**
 * Records that go on under another schema as they stand. Guarantee: bytes are handed on only when both schemas say the same of each byte
 * (same types, in the same order, with the same columns); then decoding and encoding again would write the same row.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ConnectType } from './connect-type.ts';
import { readAvroSchema, type AvroField, type AvroType } from './avro-schema.ts';

const MAGIC_BYTES = 5;

export class AvroRelabel {
  readonly #types = new Map<number, AvroType>();
  /** By both ids; null where there is more to change. */
  readonly #heads = new Map<number, Buffer | null>();

  /** The schema of this id, as its text. */
  know(id: number, schema: string): void {
    if (!this.#types.has(id)) this.#types.set(id, readAvroSchema(schema).type);
  }

  /** First bytes under schema `to` of a record that was written under `from`; undefined where that is not all, or one is not known. */
  head(from: number, to: number): Buffer | undefined {
    // Ids are 32 bits wide; what a registry gives out fits into half of a double's.
    const pair = from * 0x4000000 + to;
    let head = this.#heads.get(pair);
    if (head === undefined) {
      if (!this.#types.has(from) || !this.#types.has(to)) return undefined;
      this.#heads.set(pair, (head = this.#areAlike(from, to) ? headOf(to) : null));
    }
    return head ?? undefined;
  }

  #areAlike(from: number, to: number): boolean {
    const a = this.#types.get(from);
    const b = this.#types.get(to);
    return a !== undefined && b !== undefined && sameBytes(a, b);
  }
}

function headOf(id: number): Buffer {
  const head = Buffer.alloc(MAGIC_BYTES);
  head.writeUInt32BE(id, 1);
  return head;
}

function sameBytes(a: AvroType, b: AvroType): boolean {
  if (a.kind === 'null') return b.kind === 'null';
  if (a.kind === 'union') {
    return (
      b.kind === 'union' && a.branches.length === b.branches.length && a.branches.every((branch, i) => sameBytes(branch, b.branches[i]!))
    );
  }
  if (a.kind === 'enum') return b.kind === 'enum' && isDeepStrictEqual(a.symbols, b.symbols);
  if (a.kind === 'record') return b.kind === 'record' && sameFields(a.fields, b.fields);
  if (b.kind !== a.kind || !sameMeaning(a.connect, b.connect)) return false;
  if (a.kind === 'array' || a.kind === 'map') return (b.kind === 'array' || b.kind === 'map') && sameBytes(a.items, b.items);
  if (a.kind === 'fixed') return b.kind === 'fixed' && a.size === b.size;
  return a.kind === 'plain' && b.kind === 'plain' && a.base === b.base;
}

function sameFields(a: readonly AvroField[], b: readonly AvroField[]): boolean {
  return a.length === b.length && a.every((field, i) => field.column === b[i]!.column && sameBytes(field.type, b[i]!.type));
}

/** Names of records are their topic's; those of values say how to read them. */
function sameMeaning(a: ConnectType, b: ConnectType): boolean {
  return a.base === b.base && a.name === b.name && a.version === b.version && isDeepStrictEqual(a.parameters, b.parameters);
}
