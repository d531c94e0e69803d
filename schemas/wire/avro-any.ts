/**
 * Values of any Avro type, without a form: to pass over them, or as plain JavaScript for the structures that only others write. Guarantee:
 * both leave the cursor right behind the value.
 */
import { invariant } from '../errors.ts';
import type { AvroCursor } from './avro-primitives.ts';
import type { AvroType } from './avro-schema.ts';

export function skipAny(type: AvroType, cursor: AvroCursor): void {
  switch (type.kind) {
    case 'null':
      return;
    case 'plain':
      skipPlain(type.base, cursor);
      return;
    case 'union':
      skipAny(branchOf(type.branches, cursor), cursor);
      return;
    case 'record':
      for (const field of type.fields) skipAny(field.type, cursor);
      return;
    case 'enum':
      cursor.long();
      return;
    case 'fixed':
      cursor.at += type.size;
      return;
    case 'array':
      eachBlock(cursor, () => skipAny(type.items, cursor));
      return;
    case 'map':
      eachBlock(cursor, () => {
        cursor.span();
        skipAny(type.items, cursor);
      });
  }
}

function skipPlain(base: string, cursor: AvroCursor): void {
  switch (base) {
    case 'int':
    case 'long':
      while (cursor.b[cursor.at++]! > 0x7f);
      return;
    case 'boolean':
      cursor.at++;
      return;
    case 'float':
      cursor.at += 4;
      return;
    case 'double':
      cursor.at += 8;
      return;
    default:
      cursor.span();
  }
}

export function branchOf(branches: readonly AvroType[], cursor: AvroCursor): AvroType {
  const branch = branches[cursor.size()];
  invariant(branch !== undefined, 'a union has the branch that its value names');
  return branch;
}

/** Items of an array or a map; a negative count says the block's size too. */
export function eachBlock(cursor: AvroCursor, item: () => void): void {
  for (let count = cursor.size(); count !== 0; count = cursor.size()) {
    if (count < 0) cursor.long();
    for (let left = Math.abs(count); left > 0; left--) item();
  }
}

export function readAny(type: AvroType, cursor: AvroCursor): unknown {
  switch (type.kind) {
    case 'null':
      return null;
    case 'plain':
      return readPlain(type.base, cursor);
    case 'union':
      return readAny(branchOf(type.branches, cursor), cursor);
    case 'record':
      return Object.fromEntries(type.fields.map((field) => [field.name, readAny(field.type, cursor)]));
    case 'enum':
      return type.symbols[cursor.size()];
    case 'fixed':
      cursor.at += type.size;
      return cursor.b.subarray(cursor.at - type.size, cursor.at);
    case 'array': {
      const items: unknown[] = [];
      eachBlock(cursor, () => items.push(readAny(type.items, cursor)));
      return items;
    }
    case 'map': {
      const entries: [string, unknown][] = [];
      eachBlock(cursor, () => {
        const start = cursor.span();
        const key = cursor.b.toString('utf8', start, cursor.at);
        entries.push([key, readAny(type.items, cursor)]);
      });
      return Object.fromEntries(entries);
    }
    default:
      return type satisfies never;
  }
}

function readPlain(base: string, cursor: AvroCursor): unknown {
  switch (base) {
    case 'int':
    case 'long':
      return cursor.long();
    case 'boolean':
      return cursor.b[cursor.at++] === 1;
    case 'float':
      return cursor.float();
    case 'double':
      return cursor.double();
    default: {
      const start = cursor.span();
      return base === 'bytes' ? cursor.b.subarray(start, cursor.at) : cursor.b.toString('utf8', start, cursor.at);
    }
  }
}
