/**
 * The wire: rows as Debezium's change events. Guarantee (of every format behind it): a row decoded is the row encoded, value for value
 * in PostgreSQL's own text, absent columns and nulls told apart.
 */
import type { CatalogColumn } from '../table.ts';

/** One column as it goes on the wire. */
export interface WireColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  readonly isKey: boolean;
  readonly isNullable: boolean;
  /** What the catalogue says of its type, where it is the same as in the stream: enums, domains, arrays, extension types. */
  readonly catalog?: CatalogColumn;
}

/** A table's rows as one topic carries them; leaves of one table share it. */
export interface WireShape {
  /** Topic, and prefix of the Connect schema names (`….Key`, `….Envelope`, `….Value`). */
  readonly topic: string;
  readonly database: string;
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly WireColumn[];
}

export const NULL_FIELD = -1;
export const ABSENT_FIELD = -2;

/** Fields of one row: field i is `length[i]` bytes of text at `from[i]`, or NULL_FIELD, or ABSENT_FIELD. Reused from row to row. */
export interface RowFields {
  buffer: Buffer;
  readonly from: Int32Array;
  readonly length: Int32Array;
}

/** Where a row comes from; the same for all rows of a transaction. */
export interface WireSource {
  readonly commitLsn: bigint;
  /** Microseconds since 1970. */
  readonly commitTimeMicros: bigint;
  readonly xid: number;
  readonly snapshot: boolean;
}

export interface WireEvent {
  readonly op: 'c' | 'u' | 'd' | 'r';
  readonly before: RowFields | undefined;
  readonly after: RowFields | undefined;
  readonly source: WireSource;
}

export interface EncodedEvent {
  /** Undefined for a table without a key. */
  readonly key: Buffer | undefined;
  readonly value: Buffer;
  /** Bitmap of absent fields of `after`; empty when none is. */
  readonly absent: Buffer;
  /** Content of the header `cfx`; undefined when every value has a lossless form. */
  readonly exact: Buffer | undefined;
}

/** Writes the rows of one shape. Synchronous: the schemas are registered when it is made. */
export interface RowEncoder {
  readonly shape: WireShape;
  /** The buffers handed out are written again only after `release`. */
  encode(event: WireEvent): EncodedEvent;
  /** The record key of a row (its key fields must be there); undefined for a table without a key. */
  encodeKey(row: RowFields): Buffer | undefined;
  /** The same key as Debezium's headers name it (plain-key.ts). */
  plainKey(row: RowFields): Buffer;
  /** An op t event of the table. */
  encodeTruncate(source: WireSource): Buffer;
  /** What encoders of this format handed out is in use no more: the next rows are written over it. */
  release(): void;
}

export interface DecodedEvent {
  readonly op: 'c' | 'u' | 'd' | 'r' | 't' | 'm';
  /** Which columns the fields are, in order. */
  readonly columns: readonly string[];
  /** Valid until the next call. */
  readonly before: RowFields | undefined;
  readonly after: RowFields | undefined;
}

/** What is beside a record's value. */
export interface ValueMarks {
  readonly absent: Buffer;
  readonly exact: Buffer | undefined;
  /** Nobody asks for where the row comes from. */
  readonly withoutSource?: boolean;
}

export interface WireFormat {
  readonly name: 'avro' | 'json';
  /** Registers what the shape needs. */
  encoder(shape: WireShape): Promise<RowEncoder>;
  /** Makes the schema of this record (key or value) known; to be awaited when `knows` says no. */
  learn(bytes: Buffer): Promise<void>;
  /** True when `decode` can take these bytes at once. */
  knows(bytes: Buffer): boolean;
  decode(value: Buffer, marks: ValueMarks): DecodedEvent;
  /**
   * What stands in place of the first bytes of the key or value at `at` where the same row is a record of the encoder's shape: for a row
   * that goes on as it stands. Undefined where the two schemas differ in more than the names of their records (or are not known yet);
   * then it has to be decoded and encoded.
   */
  head(bytes: Buffer, at: number, part: 'key' | 'value', encoder: RowEncoder): Buffer | undefined;
  /** Key columns and their values. */
  decodeKey(key: Buffer): { readonly columns: readonly string[]; readonly row: RowFields };
}

/** Schemas by number, as Confluent's registry has them. */
export interface SchemaRegistry {
  /** @returns the id of this schema; the same text under the same subject has one id. */
  register(subject: string, schema: string): Promise<number>;
  schema(id: number): Promise<string>;
  close(): Promise<void>;
}
