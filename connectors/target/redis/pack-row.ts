/**
 * Rows as the write script takes them. Guarantee: a hash has a field for every value that is not NULL (an empty text is a field, NULL is
 * none), a JSON object a member for every column; keys and names of sets are the templates' with each value encoded.
 */
import { isComputed, type ColumnMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { KeyTemplate } from '#schemas/mapping/redis/key-template.ts';
import { KIND } from '#schemas/pgoutput/message.ts';
import { OP, type Layout } from '#connectors/target/target.ts';
import { computedKind, jsonKind, packJsonValue, provenKind, type JsonKind } from './json-value.ts';
import { packTexts, type Packer } from './packer.ts';

/** A template tied to a tuple: text as bytes, or the tuple's column. */
type TuplePart = Buffer | number;

export const ROW_VALUES = 5;
const EMPTY_TEXT = Buffer.from([0xa0]);
const EMPTY_LIST = Buffer.from([0x90]);
const SPACE = Buffer.from(' ');
const NULL_JSON = Buffer.from('null');
const CLOSE = Buffer.from('}');
const HEX = Buffer.from('0123456789ABCDEF');

/** Bytes that stay as they are in a key: letters, digits, -_.~ and what is not ASCII. */
const KEPT: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) => (c >= 0x80 || /[A-Za-z0-9\-_.~]/.test(String.fromCharCode(c)) ? 1 : 0));

/** packed: goes to the script. partial: what it would take is not in the change, so the row has to be copied again. */
export type Packed = 'packed' | 'partial';

export class RowPacking {
  readonly packer: Packer;
  readonly #layout: Layout;
  readonly #isHash: boolean;
  readonly #key: readonly TuplePart[];
  readonly #sets: readonly (readonly TuplePart[])[];
  /** By tuple column: the field's name, packed; or `,"name":` of a JSON object. */
  readonly #names: readonly (Buffer | undefined)[];
  readonly #kinds: readonly JsonKind[];
  /** By tuple column: whether its value was made here, so that nobody has read it as its type yet. */
  readonly #computed: readonly boolean[];
  #start: Int32Array;
  #end: Int32Array;

  constructor(table: TableMapping, layout: Layout, packer: Packer) {
    const { redis } = table;
    if (redis === undefined) throw new Error('the mapping is not one onto Redis');
    const columns = Array.from(layout.columns, (i): ColumnMapping | undefined => table.columns[i]);
    const bound = (template: KeyTemplate): TuplePart[] =>
      template.parts.map((part) =>
        part.kind === 'text' ? Buffer.from(part.text) : columns.findIndex((column) => column?.target === part.name),
      );
    this.packer = packer;
    this.#layout = layout;
    this.#isHash = redis.form === 'hash';
    this.#key = bound(redis.key);
    this.#sets = redis.sets.map(bound);
    this.#names = columns.map((column) => column && (this.#isHash ? packedName(column.target) : memberName(column.target)));
    this.#computed = Array.from(layout.columns, (i) => isComputed(table.steps, i));
    this.#kinds = columns.map((column, i) => {
      if (column === undefined) return 'text';
      return this.#computed[i] === true ? computedKind(column) : jsonKind(column.source);
    });
    this.#start = new Int32Array(columns.length);
    this.#end = new Int32Array(columns.length);
  }

  /** Adds one row: `op` is put, patch or delete. */
  add(op: number, b: Buffer, at: number): Packed {
    const { packer } = this;
    const before = packer.pos;
    this.#read(b, at);
    packer.small(op);
    const key = packer.begin();
    this.#fill(this.#key, b);
    packer.endText(key);
    if (op === OP.delete) {
      packer.bytes(EMPTY_TEXT);
      packer.bytes(EMPTY_TEXT);
      packer.bytes(EMPTY_TEXT);
      return 'packed';
    }
    const whole = op === OP.put || this.#isHash;
    if (whole && this.#addSets(b)) {
      if (this.#isHash) this.#addFields(b);
      else this.#addObject(b);
      return 'packed';
    }
    packer.pos = before;
    return 'partial';
  }

  /** Where each value lies: -1 NULL, -2 absent. */
  #read(b: Buffer, at: number): void {
    const [start, end] = [this.#start, this.#end];
    let p = at + 2;
    for (let i = 0; i < start.length; i++) {
      const kind = b[p++]!;
      if (kind === KIND.text) {
        const length = (b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!;
        start[i] = p + 4;
        p += 4 + length;
        end[i] = p;
      } else {
        start[i] = kind === KIND.null ? -1 : -2;
      }
    }
  }

  #fill(parts: readonly TuplePart[], b: Buffer): void {
    for (const part of parts) {
      if (typeof part === 'number') this.#encode(b, this.#start[part]!, this.#end[part]!);
      else this.packer.bytes(part);
    }
  }

  #encode(b: Buffer, from: number, end: number): void {
    const { packer } = this;
    packer.room(3 * (end - from));
    const out = packer.buffer;
    let pos = packer.pos;
    for (let p = from; p < end; p++) {
      const c = b[p]!;
      if (KEPT[c] === 1) {
        out[pos++] = c;
      } else {
        out[pos++] = 0x25;
        out[pos++] = HEX[c >> 4]!;
        out[pos++] = HEX[c & 15]!;
      }
    }
    packer.pos = pos;
  }

  /** The names of the row's sets, each behind a space; a NULL is in none. @returns false when one of them is not known. */
  #addSets(b: Buffer): boolean {
    const { packer } = this;
    const text = packer.begin();
    for (const set of this.#sets) {
      let lowest = 0;
      for (const part of set) if (typeof part === 'number') lowest = Math.min(lowest, this.#start[part]!);
      if (lowest === -2) return false;
      if (lowest === -1) continue;
      packer.bytes(SPACE);
      this.#fill(set, b);
    }
    packer.endText(text);
    return true;
  }

  #addFields(b: Buffer): void {
    const { packer } = this;
    const start = this.#start;
    const list = packer.begin();
    let fields = 0;
    let nulls = 0;
    for (let i = 0; i < start.length; i++) {
      const name = this.#names[i];
      if (name === undefined) continue;
      if (start[i] === -1) nulls++;
      if (start[i]! < 0) continue;
      packer.bytes(name);
      packer.value(b, start[i]! - 4, this.#end[i]!);
      fields += 2;
    }
    packer.endList(list, fields);
    if (nulls === 0) {
      packer.bytes(EMPTY_LIST);
      return;
    }
    const cleared = packer.begin();
    for (let i = 0; i < start.length; i++) if (start[i] === -1 && this.#names[i] !== undefined) packer.bytes(this.#names[i]!);
    packer.endList(cleared, nulls);
  }

  #addObject(b: Buffer): void {
    const { packer } = this;
    const text = packer.begin();
    for (let i = 0; i < this.#start.length; i++) {
      const name = this.#names[i];
      if (name === undefined) continue;
      packer.bytes(name);
      const [from, end] = [this.#start[i]!, this.#end[i]!];
      const kind = this.#kinds[i]!;
      if (from < 0) packer.bytes(NULL_JSON);
      else packJsonValue(packer, b, { from, end }, this.#computed[i] === true ? provenKind(b.toString('utf8', from, end), kind) : kind);
    }
    packer.bytes(CLOSE);
    packer.endText(text);
    packer.bytes(EMPTY_LIST);
  }

  /** Key of a row as text. */
  keyOf(b: Buffer, at: number): string {
    const before = this.packer.pos;
    this.#read(b, at);
    this.#fill(this.#key, b);
    const key = this.packer.buffer.toString('utf8', before, this.packer.pos);
    this.packer.pos = before;
    return key;
  }

  /** Values of the key columns as text, in the key's order. */
  keyValues(b: Buffer, at: number): readonly string[] {
    this.#read(b, at);
    return [...this.#layout.key].map((i) => b.toString('utf8', this.#start[i], this.#end[i]));
  }
}

function packedName(name: string): Buffer {
  return packTexts([name]).subarray(5);
}

function memberName(name: string): Buffer {
  return Buffer.from(`,${JSON.stringify(name)}:`);
}
