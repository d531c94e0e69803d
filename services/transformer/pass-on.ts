/**
 * Rows that are mapped as they stand. Guarantee: what is passed on is what decoding the row and encoding it for the mapped topic would give,
 * under the same header; whatever is not known to be such a row is left to whoever looks at it.
 */
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import type { PassedRecord } from '#connectors/change-log/kafka/record-batch.ts';
import type { ViewedRecord } from '#connectors/change-log/kafka/record-reader.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { EVENT, EVENT_HEADER, FIXED_BYTES, PLACE_BYTES, writePlace, type RawPlace } from '#schemas/order/event-header.ts';
import type { RowEncoder, WireFormat } from '#schemas/wire/wire.ts';
import type { MappedTopic } from './mapped-topic.ts';

/** Every row of the source is a row of the target, column by column under the same names; and so is the table, which events name. */
export function isPlain({ from, to, columns, filter }: TableMapping): boolean {
  const sameTable = from.schema === to.schema && from.name === to.name;
  return sameTable && filter === undefined && columns.every(({ source, target }) => source.name === target);
}

/** Kafka's varint of a small length: zigzag. */
const lengthByte = (length: number): number => length * 2;

/** Name and length of the header `cf` in a raw record, and in a mapped one. */
const NAME = Buffer.from([lengthByte(EVENT_HEADER.length), ...Buffer.from(EVENT_HEADER)]);
const RAW_HEADER = Buffer.from([...NAME, lengthByte(FIXED_BYTES)]);
const MAPPED_HEADER = Buffer.from([...NAME, lengthByte(FIXED_BYTES + PLACE_BYTES)]);
const KEY_BYTES_MAX = 1024;
/** More than stands before the key, and than is written beside what was there. */
const ADDED_BYTES_MAX = 128;
/** The number of headers in one byte. */
const COUNT_MAX = 0x7f;

export interface PlainRowsOptions {
  readonly format: WireFormat;
  readonly encoder: RowEncoder;
  readonly partitions: number;
  readonly to: MappedTopic;
}

/** Of one table. */
export class PlainRows {
  readonly #options: PlainRowsOptions;
  readonly #key = Buffer.alloc(KEY_BYTES_MAX);
  readonly #passed: { -readonly [name in keyof PassedRecord]: PassedRecord[name] };

  constructor(options: PlainRowsOptions) {
    this.#options = options;
    const headers = Buffer.alloc(1 + MAPPED_HEADER.length + FIXED_BYTES + PLACE_BYTES);
    MAPPED_HEADER.copy(headers, 1);
    const record = { bytes: headers, valueAt: 0, valueBytes: 0, end: 0 };
    this.#passed = { record, key: this.#key, keyBytes: -1, head: headers, headers, headersBytes: headers.length, restAt: 0 };
  }

  /** Valid until the next call; undefined where the record has to be looked at. */
  pass(record: ViewedRecord, place: RawPlace): PassedRecord | undefined {
    const { bytes, headersAt, valueAt, valueBytes } = record;
    const count = bytes[headersAt]!;
    const cf = headersAt + 1 + RAW_HEADER.length;
    if (record.end - record.keyAt + ADDED_BYTES_MAX > this.#options.to.sureBytes) return undefined;
    if (valueBytes < 0 || count > COUNT_MAX || !beginsWith(bytes, headersAt + 1, RAW_HEADER)) return undefined;
    if ((bytes[cf + 1]! & ~EVENT.chunk) !== 0) return undefined;
    const head = this.#options.format.head(bytes, valueAt, 'value', this.#options.encoder);
    if (head === undefined || !this.#takeKey(record)) return undefined;
    const passed = this.#passed;
    passed.record = record;
    passed.head = head;
    passed.restAt = cf + FIXED_BYTES;
    passed.headers[0] = count;
    const at = 1 + MAPPED_HEADER.length;
    for (let i = 0; i < FIXED_BYTES; i++) passed.headers[at + i] = bytes[cf + i]!;
    writePlace(passed.headers, at + FIXED_BYTES, place);
    return passed;
  }

  /** Where it goes, as every record under this key does. */
  partition({ keyBytes }: PassedRecord): number {
    return keyBytes < 0 ? 0 : partitionOf(this.#key.subarray(0, keyBytes), this.#options.partitions);
  }

  #takeKey({ bytes, keyAt, keyBytes }: ViewedRecord): boolean {
    this.#passed.keyBytes = keyBytes;
    if (keyBytes < 0) return true;
    const head = keyBytes > KEY_BYTES_MAX ? undefined : this.#options.format.head(bytes, keyAt, 'key', this.#options.encoder);
    if (head === undefined) return false;
    for (let i = 0; i < keyBytes; i++) this.#key[i] = i < head.length ? head[i]! : bytes[keyAt + i]!;
    return true;
  }
}

function beginsWith(bytes: Buffer, at: number, what: Buffer): boolean {
  for (let i = 0; i < what.length; i++) if (bytes[at + i] !== what[i]) return false;
  return true;
}
