/**
 * The decoder of one schema: compiled from its JSON, so it reads what we wrote and what the Debezium connector wrote, whatever the order
 * and the types of its columns. Guarantee: allocates nothing per row but what the caller keeps.
 */
import { invariant } from '../errors.ts';
import { readAny, skipAny } from './avro-any.ts';
import { AvroCursor } from './avro-primitives.ts';
import { AvroRowReader } from './avro-row.ts';
import { AvroSourceReader } from './avro-source-reader.ts';
import { readAvroSchema, type AvroField, type AvroType } from './avro-schema.ts';
import { readExactTexts } from './exact-text.ts';

import { putExact, RowBuffer } from './row-buffer.ts';
import { noEnvelope, type SourcedEvent } from './sourced-event.ts';
import type { ReadSource } from './source-block.ts';
import type { DecodedEvent, RowFields, ValueMarks } from './wire.ts';

type Op = DecodedEvent['op'];

const WANTED = ['before', 'after', 'source', 'op'];

const NO_SOURCE: ReadSource = { commitLsn: 0n, commitTimeMicros: 0n, xid: 0, snapshot: false };

interface RowPart {
  readonly reader: AvroRowReader;
  readonly nullBranch: number;
  readonly row: RowBuffer;
}

function recordOf(type: AvroType): { readonly fields: readonly AvroField[]; readonly nullBranch: number } | undefined {
  if (type.kind === 'record') return { fields: type.fields, nullBranch: -1 };
  if (type.kind !== 'union') return undefined;
  const record = type.branches.find((branch) => branch.kind === 'record');
  if (record?.kind !== 'record') return undefined;
  return { fields: record.fields, nullBranch: type.branches.findIndex((branch) => branch.kind === 'null') };
}

export class AvroDecoder {
  /** Up to the last field of which anything is ours to know. */
  readonly #wanted: readonly AvroField[];
  readonly #isEnvelope: boolean;
  readonly #before: RowPart | undefined;
  readonly #after: RowPart | undefined;
  readonly #key: RowPart;
  readonly #source: AvroSourceReader | undefined;
  readonly #cursor = new AvroCursor(Buffer.alloc(0), 0);

  constructor(schema: string) {
    const { type, isOwn } = readAvroSchema(schema);
    invariant(type.kind === 'record', 'the schema of a record');
    this.#wanted = type.fields.slice(0, 1 + type.fields.findLastIndex((field) => WANTED.includes(field.name)));
    const part = (fieldName: string): RowPart | undefined => {
      const field = type.fields.find((one) => one.name === fieldName);
      const record = field === undefined ? undefined : recordOf(field.type);
      return record === undefined ? undefined : rowPart(record.fields, record.nullBranch, !isOwn);
    };
    this.#before = part('before');
    this.#after = part('after');
    const source = type.fields.find((field) => field.name === 'source');
    this.#source = source === undefined ? undefined : new AvroSourceReader(source.type);
    this.#isEnvelope = source !== undefined && type.fields.some((field) => field.name === 'op');
    this.#key = rowPart(type.fields, -1, false);
  }

  decode(value: Buffer, start: number, marks: ValueMarks): SourcedEvent {
    if (!this.#isEnvelope) throw noEnvelope();
    const cursor = this.#at(value, start);
    let before: RowBuffer | undefined;
    let after: RowBuffer | undefined;
    let op: Op | undefined;
    let source: ReadSource = NO_SOURCE;
    for (const field of this.#wanted) {
      if (field.name === 'before' && this.#before !== undefined) before = readPart(this.#before, cursor);
      else if (field.name === 'after' && this.#after !== undefined) after = readPart(this.#after, cursor);
      else if (field.name === 'op') {
        op = readOp(field.type, cursor);
      } else if (field.name === 'source' && this.#source !== undefined) {
        if (marks.withoutSource === true) this.#source.skip(cursor);
        else source = this.#source.read(cursor);
      } else skipAny(field.type, cursor);
    }
    invariant(op !== undefined, 'an envelope names its operation');
    const columns = (this.#after ?? this.#before)?.reader.columns ?? [];
    if (marks.absent.length > 0) after?.markAbsent(marks.absent);
    if (marks.exact !== undefined) {
      const texts = readExactTexts(marks.exact);
      putExact(after, texts.a, columns);
      putExact(before, texts.b, columns);
    }
    return { op, columns, before, after, source };
  }

  /** The fields of a key, or of any plain record. */
  decodeKey(key: Buffer, start: number): { readonly columns: readonly string[]; readonly row: RowFields } {
    const { reader, row } = this.#key;
    const cursor = this.#at(key, start);
    reader.read(cursor, row);
    if (cursor.at < key.length) putExact(row, readExactTexts(key.subarray(cursor.at)).k, reader.columns);
    return { columns: reader.columns, row };
  }

  #at(bytes: Buffer, start: number): AvroCursor {
    this.#cursor.b = bytes;
    this.#cursor.at = start;
    return this.#cursor;
  }
}

function rowPart(fields: readonly AvroField[], nullBranch: number, seesPlaceholders: boolean): RowPart {
  return { reader: new AvroRowReader(fields, seesPlaceholders), nullBranch, row: new RowBuffer(fields.length) };
}

function readPart(part: RowPart, cursor: AvroCursor): RowBuffer | undefined {
  if (part.nullBranch >= 0 && cursor.size() === part.nullBranch) return undefined;
  part.reader.read(cursor, part.row);
  return part.row;
}

const OPS: ReadonlyMap<number, Op> = new Map((['c', 'u', 'd', 'r', 't', 'm'] as const).map((op) => [op.charCodeAt(0), op]));

function readOp(type: AvroType, cursor: AvroCursor): Op {
  if (type.kind !== 'plain') return String(readAny(type, cursor)) as Op;
  const op = OPS.get(cursor.b[cursor.span()]!);
  invariant(op !== undefined, 'an operation of a change event');
  return op;
}
