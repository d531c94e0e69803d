/**
 * Values as JSON. Guarantee: a number stands there with the digits that PostgreSQL wrote, none rounded; what JSON has no number for
 * (NaN, infinity) and every other type is its text as a string; json and jsonb stand there as they are. A computed value, which no server
 * has read as its column's type, stands there as that only where its text is one in JSON, else as a string: the object stays JSON.
 */
import type { ColumnMapping } from '#schemas/mapping/compiled-mapping.ts';
import { isJson } from '#schemas/mapping/steps/json-text.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import type { Packer } from './packer.ts';

export type JsonKind = 'number' | 'boolean' | 'json' | 'text';

/** pg_type OIDs, the same on every server. */
const KINDS: ReadonlyMap<number, JsonKind> = new Map([
  ...[20, 21, 23, 26, 700, 701, 1700].map((oid) => [oid, 'number'] as const),
  [16, 'boolean'],
  [114, 'json'],
  [3802, 'json'],
]);

export function jsonKind(column: CatalogColumn): JsonKind {
  return KINDS.get((column.domainBase ?? column).typeOid) ?? 'text';
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const LITERALS = { true: Buffer.from('true'), false: Buffer.from('false') };

const KIND_OF_NAME: ReadonlyMap<string, JsonKind> = new Map([
  ...['smallint', 'integer', 'bigint', 'oid', 'real', 'double precision', 'numeric'].map((name) => [name, 'number'] as const),
  ['boolean', 'boolean'],
  ['json', 'json'],
  ['jsonb', 'json'],
]);

/** Of a computed column: by the type of the column that it stands for, below any domain. */
export function computedKind({ targetBaseType, targetUnderDomain = targetBaseType }: ColumnMapping): JsonKind {
  return KIND_OF_NAME.get(targetUnderDomain) ?? 'text';
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const BOOLEAN = /^(?:t|f|true|false)$/;

/** What a computed value goes as. */
export function provenKind(text: string, kind: JsonKind): JsonKind {
  if (kind === 'number') return NUMBER.test(text) ? kind : 'text';
  if (kind === 'boolean') return BOOLEAN.test(text) ? kind : 'text';
  return kind === 'json' && isJson(text) ? kind : 'text';
}

export function packJsonValue(packer: Packer, b: Buffer, span: { readonly from: number; readonly end: number }, kind: JsonKind): void {
  const { from, end } = span;
  if (kind === 'boolean') packer.bytes(b[from] === 0x74 ? LITERALS.true : LITERALS.false);
  else if (kind === 'json' || (kind === 'number' && isDigit(b[from] === MINUS ? b[from + 1] : b[from])))
    packer.bytes(b.subarray(from, end));
  else packString(packer, b, from, end);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function packString(packer: Packer, b: Buffer, from: number, end: number): void {
  packer.room(6 * (end - from) + 2);
  const out = packer.buffer;
  let pos = packer.pos;
  out[pos++] = QUOTE;
  for (let p = from; p < end; p++) {
    const c = b[p]!;
    if (c >= 0x20 && c !== QUOTE && c !== BACKSLASH) {
      out[pos++] = c;
    } else if (c >= 0x20) {
      out[pos++] = BACKSLASH;
      out[pos++] = c;
    } else {
      pos += out.write(`\\u00${c.toString(16).padStart(2, '0')}`, pos, 'latin1');
    }
  }
  out[pos++] = QUOTE;
  packer.pos = pos;
}
