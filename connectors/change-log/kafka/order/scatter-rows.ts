/**
 * Rows → records of raw topics. Guarantee: a row's record stands in the partition that a Java producer would choose for its key; a key
 * change is a create under the new key and a delete under the old one, of one v.
 */
import { invariant, PipelineError } from '#schemas/errors.ts';
import { DEBEZIUM_NEW_KEY, DEBEZIUM_OLD_KEY, EVENT, EVENT_HEADER, EXACT_HEADER, FIXED_BYTES, encodeEventHeader, encodeOtherKey, NEW_KEY_HEADER, OLD_KEY_HEADER } from '#schemas/order/event-header.ts'; // prettier-ignore
import { KIND, TAG } from '#schemas/pgoutput/message.ts';
import { isCopyNull, splitCopyLine, unescapeCopyField } from '#schemas/value/copy-text.ts';
import { ABSENT_FIELD, NULL_FIELD, type EncodedEvent, type RowFields, type WireEvent, type WireSource } from '#schemas/wire/wire.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import type { KafkaHeader } from '../cluster.ts';
import type { Compression } from '../record-batch.ts';
import { fitting, tooLarge } from './large-rows.ts';
import type { Parcel } from './parcel.ts';
import type { RawRows, RawTable } from './raw-tables.ts';

const NEW_TUPLE = 0x4e; // N
const FULL_OLD_TUPLE = 0x4f; // O
const BACKSLASH = 0x5c;
const NO_FIELDS = Buffer.alloc(0);

/** What a record says beside its event. */
interface Mark {
  readonly flags: number;
  readonly sub: number;
  readonly link?: readonly KafkaHeader[];
}

const PLAIN: Mark = { flags: 0, sub: 0 };

interface ReusedHeader extends KafkaHeader {
  value: Buffer;
}

/** Whose rows: the transaction, and where in the raw log. */
export interface RowPlace {
  parcel: Parcel;
  epoch: number;
  v: Offset;
  source: WireSource;
}

export class RowScatter {
  #bounds = new Int32Array(64);
  #scratch = Buffer.allocUnsafeSlow(4096);
  readonly #fixedHeader = Buffer.alloc(FIXED_BYTES);
  /** Given to the builder, which copies them at once. */
  readonly #cf: ReusedHeader = { name: EVENT_HEADER, value: NO_FIELDS };
  readonly #cfx: ReusedHeader = { name: EXACT_HEADER, value: NO_FIELDS };
  readonly #plain: readonly KafkaHeader[] = [this.#cf];
  readonly #exact: readonly KafkaHeader[] = [this.#cf, this.#cfx];
  readonly #compression: Compression;
  /** What was encoded last. */
  #encoded: WireEvent | undefined;

  constructor(compression: Compression) {
    this.#compression = compression;
  }

  /** Takes the insert, update or delete at `m`. */
  change(rows: RawRows, b: Buffer, m: number, place: RowPlace): void {
    // Parcels copy what they are given.
    rows.encoder.release();
    switch (b[m]) {
      case TAG.insert:
        this.#insert(rows, b, m + 6, place);
        return;
      case TAG.delete:
        this.#delete(rows, b, m + 6, place);
        return;
      default:
        if (b[m + 5] === NEW_TUPLE) this.#update(rows, b, m + 6, place);
        else this.#updateWithOld(rows, b, m + 6, place);
    }
  }

  #insert(rows: RawRows, b: Buffer, at: number, place: RowPlace): void {
    this.#tuple(rows, b, at, rows.after);
    this.#event(rows, { op: 'c', before: undefined, after: rows.after, source: place.source }, place);
  }

  #update(rows: RawRows, b: Buffer, at: number, place: RowPlace): void {
    const { after } = rows;
    this.#tuple(rows, b, at, after);
    for (const field of rows.keyFields) if (after.length[field] === ABSENT_FIELD) throw keyAbsent(rows);
    this.#event(rows, { op: 'u', before: undefined, after, source: place.source }, place);
  }

  /** With the old key (it changed, or is kept outside the row) or the old row (REPLICA IDENTITY FULL). */
  #updateWithOld(rows: RawRows, b: Buffer, oldAt: number, place: RowPlace): void {
    const { before, after } = rows;
    const next = this.#oldTuple(rows, b, oldAt) + 1;
    this.#tuple(rows, b, next, after);
    takeAbsent(after, before);
    const whole = b[oldAt - 1] === FULL_OLD_TUPLE ? before : undefined;
    if (!sameKey(rows) && this.#move(rows, whole, place)) return;
    this.#event(rows, { op: 'u', before: whole, after, source: place.source }, place);
  }

  /** @returns false when both rows have one key on the wire. */
  #move(rows: RawRows, whole: RowFields | undefined, place: RowPlace): boolean {
    const { encoder, before, after } = rows;
    const { source } = place;
    const oldKey = encoder.encodeKey(before);
    const create: WireEvent = { op: 'c', before: whole, after, source };
    const created = encoder.encode(create);
    if (oldKey === undefined || created.key === undefined || oldKey.equals(created.key)) return false;
    const link = [
      { name: OLD_KEY_HEADER, value: encodeOtherKey(oldKey) },
      { name: DEBEZIUM_OLD_KEY, value: encoder.plainKey(before) },
    ];
    this.#encoded = create;
    this.#record(rows, created, { flags: EVENT.movedHere, sub: 0, link }, place);
    const deleted = this.#encode(rows, { op: 'd', before, after: undefined, source });
    const away = [
      { name: NEW_KEY_HEADER, value: encodeOtherKey(created.key) },
      { name: DEBEZIUM_NEW_KEY, value: encoder.plainKey(after) },
    ];
    this.#record(rows, deleted, { flags: EVENT.movedAway, sub: 1, link: away }, place);
    this.#tombstone(rows, oldKey, 1, place);
    return true;
  }

  #delete(rows: RawRows, b: Buffer, at: number, place: RowPlace): void {
    this.#oldTuple(rows, b, at);
    const key = this.#event(rows, { op: 'd', before: rows.before, after: undefined, source: place.source }, place);
    if (key !== undefined) this.#tombstone(rows, key, 0, place);
  }

  /** Takes the chunk's row (COPY text) at `at`; it is row `sub` of its frame. @returns the offset behind it. */
  // oxlint-disable-next-line max-params -- called per row: an options object would be allocated each time
  chunkRow(rows: RawRows, b: Buffer, at: number, sub: number, place: RowPlace): number {
    rows.encoder.release();
    const next = this.#line(rows, b, at);
    const encoded = this.#encode(rows, { op: 'r', before: undefined, after: rows.after, source: place.source });
    this.#record(rows, encoded, { flags: EVENT.chunk, sub }, place);
    return next;
  }

  /** For other readers: ours take the truncate itself from the skeleton. */
  truncate(rows: RawRows, place: RowPlace): void {
    const value = rows.encoder.encodeTruncate(place.source);
    const { table, oid } = rows;
    for (let partition = 0; partition < table.partitions; partition++) {
      this.#cf.value = this.#header(table, { flags: EVENT.truncate, oid, sub: 0, absent: NO_FIELDS }, place);
      place.parcel.place(table.topic, partition).add(undefined, value, this.#plain);
    }
  }

  /** @returns the record's key. */
  #event(rows: RawRows, event: WireEvent, place: RowPlace): Buffer | undefined {
    const encoded = this.#encode(rows, event);
    this.#record(rows, encoded, PLAIN, place);
    return encoded.key;
  }

  #encode(rows: RawRows, event: WireEvent): EncodedEvent {
    this.#encoded = event;
    return rows.encoder.encode(event);
  }

  #record(rows: RawRows, encoded: EncodedEvent, mark: Mark, place: RowPlace): void {
    // A value without a form of its own stands in a header instead.
    if (encoded.value.length + (encoded.exact?.length ?? 0) <= rows.table.valueBytesMax) this.#put(rows, encoded, mark, place);
    else this.#large(rows, encoded, mark, place);
  }

  #large(rows: RawRows, encoded: EncodedEvent, mark: Mark, place: RowPlace): void {
    const event = this.#encoded!;
    const fits = fitting(rows, event, this.#compression, encoded);
    if (fits !== undefined) {
      this.#put(rows, fits, mark, place);
      return;
    }
    const { table, oid } = rows;
    table.hadTooLarge = true;
    const cf = { name: EVENT_HEADER, value: this.#header(table, { ...mark, oid, absent: NO_FIELDS }, place) };
    const headers = [cf, tooLarge(rows, event, encoded.value.length), ...(mark.link ?? []).filter(({ name }) => name === OLD_KEY_HEADER)];
    place.parcel.place(table.topic, partitionFor(table, encoded.key)).add(undefined, undefined, headers);
  }

  #put(rows: RawRows, { key, value, absent, exact }: EncodedEvent, { flags, sub, link }: Mark, place: RowPlace): void {
    const { table, oid } = rows;
    this.#cf.value = this.#header(table, { flags, sub, oid, absent }, place);
    if (exact !== undefined) this.#cfx.value = exact;
    const headers = exact === undefined ? this.#plain : this.#exact;
    place.parcel.place(table.topic, partitionFor(table, key)).add(key, value, link === undefined ? headers : [...headers, ...link]);
  }

  #tombstone({ table, oid }: RawRows, key: Buffer, sub: number, place: RowPlace): void {
    this.#cf.value = this.#header(table, { flags: EVENT.tombstone, sub, oid, absent: NO_FIELDS }, place);
    place.parcel.place(table.topic, partitionFor(table, key)).add(key, undefined, this.#plain);
  }

  #header(
    table: RawTable,
    of: { readonly flags: number; readonly sub: number; readonly oid: number; readonly absent: Buffer },
    { epoch, v }: RowPlace,
  ): Buffer {
    const { flags, sub, oid, absent } = of;
    return encodeEventHeader({ flags, topic: table.topic.index, epoch, v, sub, oid, absent }, undefined, this.#fixedHeader);
  }

  /** The tuple whose column count stands at `at`, as fields. @returns the offset behind it. */
  #tuple(rows: RawRows, b: Buffer, at: number, into: RowFields): number {
    const { toField } = rows;
    const { from, length } = into;
    const count = (b[at]! << 8) | b[at + 1]!;
    if (count !== toField.length) throw columnsDiffer(rows, count);
    let p = at + 2;
    into.buffer = b;
    for (let i = 0; i < count; i++) {
      const field = toField[i]!;
      const kind = b[p++]!;
      if (kind === KIND.text) {
        const bytes = (b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!;
        from[field] = p + 4;
        length[field] = bytes;
        p += 4 + bytes;
      } else if (kind === KIND.null) {
        length[field] = NULL_FIELD;
      } else {
        invariant(kind === KIND.absent, 'values are streamed as text');
        length[field] = ABSENT_FIELD;
      }
    }
    return p;
  }

  /** The tuple behind K or O, into `before`. What a key's tuple does not carry is absent. @returns the offset behind it. */
  #oldTuple(rows: RawRows, b: Buffer, at: number): number {
    const { before, unkeyed } = rows;
    const end = this.#tuple(rows, b, at, before);
    if (b[at - 1] !== FULL_OLD_TUPLE) for (const field of unkeyed) before.length[field] = ABSENT_FIELD;
    return end;
  }

  /** The COPY line at `at`, into `after`; columns that the chunk does not hold are absent. @returns the offset behind it. */
  #line(rows: RawRows, b: Buffer, at: number): number {
    const { toField, after } = rows;
    const { from, length } = after;
    if (this.#bounds.length < 2 * toField.length) this.#bounds = new Int32Array(2 * toField.length);
    const bounds = this.#bounds;
    const count = splitCopyLine(b, at, bounds);
    if (count !== toField.length) throw columnsDiffer(rows, count);
    if (count < length.length) length.fill(ABSENT_FIELD);
    let isEscaped = false;
    after.buffer = b;
    for (let i = 0; i < count; i++) {
      const field = toField[i]!;
      const start = bounds[2 * i]!;
      const end = bounds[2 * i + 1]!;
      if (isCopyNull(b, start, end)) {
        length[field] = NULL_FIELD;
        continue;
      }
      from[field] = start;
      length[field] = end - start;
      for (let p = start; !isEscaped && p < end; p++) isEscaped = b[p] === BACKSLASH;
    }
    const end = bounds[2 * count - 1]!;
    if (isEscaped) this.#unescape(after, b.subarray(at, end), at);
    return end + 1;
  }

  /** Moves the fields of a line to a buffer of their own, without escapes. */
  #unescape(row: RowFields, line: Buffer, at: number): void {
    if (this.#scratch.length < line.length) this.#scratch = Buffer.allocUnsafeSlow(2 * line.length);
    const scratch = this.#scratch;
    const { from, length } = row;
    let p = 0;
    for (let field = 0; field < length.length; field++) {
      if (length[field]! < 0) continue;
      const start = from[field]! - at;
      const end = unescapeCopyField(line, start, start + length[field]!, scratch, p);
      from[field] = p;
      length[field] = end - p;
      p = end;
    }
    row.buffer = scratch;
  }
}

function partitionFor(table: RawTable, key: Buffer | undefined): number {
  return key === undefined ? 0 : partitionOf(key, table.partitions);
}

/** Values that the update did not carry but the old tuple holds. Both are of one frame. */
function takeAbsent(after: RowFields, before: RowFields): void {
  for (let i = 0; i < after.length.length; i++) {
    if (after.length[i] !== ABSENT_FIELD) continue;
    after.from[i] = before.from[i]!;
    after.length[i] = before.length[i]!;
  }
}

/** The key's texts before and after are the same. */
function sameKey({ keyFields, before, after }: RawRows): boolean {
  const { buffer } = after;
  for (const field of keyFields) {
    const length = after.length[field]!;
    if (length !== before.length[field]) return false;
    const a = after.from[field]!;
    const b = before.from[field]!;
    for (let i = 0; i < length; i++) if (buffer[a + i] !== buffer[b + i]) return false;
  }
  return true;
}

/** Servers before 14.2 say so of a key that is kept outside its row. */
function keyAbsent({ table }: RawRows): PipelineError {
  const { schema, name } = table.catalog;
  return new PipelineError('CF-2001', `an update of ${schema}.${name} came without its key`, {
    remedy: 'Bring the source to the newest minor release of its version.',
  });
}

function columnsDiffer({ table }: RawRows, count: number): PipelineError {
  const { schema, name } = table.catalog;
  return new PipelineError('CF-3002', `a row of ${schema}.${name} has ${count} columns, not as many as its description`);
}
