/**
 * Puts a segment's frames together again. Guarantee: they are the frames that were appended, in their order, with each row in the mapped
 * columns' order; only rows that the mapping's filter took are missing. What does not add up is refused, never guessed.
 */
import { PipelineError } from '#schemas/errors.ts';
import { decodeChunkRows, encodeChunkHeader, FRAME, type ChunkRowsHeader } from '#schemas/frame/frame.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { EVENT } from '#schemas/order/event-header.ts';
import type { Segment, SkeletonFrame, TopicOrderRecord } from '#schemas/order/order-record.ts';
import { encodeRelation, encodeTruncate } from '#schemas/pgoutput/encode.ts';
import { decodeRelation, TAG } from '#schemas/pgoutput/message.ts';
import { NULL_FIELD, type DecodedEvent, type RowFields, type WireFormat } from '#schemas/wire/wire.ts';
import type { Offset, ReadBatch } from '#connectors/change-log/change-log.ts';
import { faultLine, writeFault } from './fault-frame.ts';
import type { TableName } from './topic-names.ts';
import { FrameWriter, type FieldOrder } from './frame-writer.ts';
import { branchOf, topicOf, type RawKey } from './bookmark.ts';
import { wayOf, type Branch, type Branches } from './branches.ts';
import { FOREIGN, type MappedRow } from './row-buffer.ts';

const KIND_NEW = 0x4e; // N
const KIND_KEY = 0x4b; // K
const KIND_OLD = 0x4f; // O
const NO_ROW: RowFields = { buffer: Buffer.alloc(0), from: new Int32Array(0), length: new Int32Array(0) };
/** What a record takes beside its values, about. */
const ROW_BYTES = 64;

interface TableRows {
  readonly mapping: TableMapping;
  /** Which columns of the record `row` and `key` are for. */
  columns: readonly string[];
  row: FieldOrder;
  key: FieldOrder;
}

export interface ReassemblerOptions {
  readonly format: WireFormat;
  readonly branches: Branches;
  /** A raw topic by its number. */
  readonly topic: (index: number) => TopicOrderRecord;
  /** Told before the first row of a relation: it is this table, or a leaf of it that the reader came to know. */
  readonly onRelation?: (oid: number, table: TableName) => void;
}

export class Reassembler {
  readonly #format: WireFormat;
  readonly #topic: (index: number) => TopicOrderRecord;
  readonly #branches: Branches;
  readonly #ofTopic = new Map<number, readonly Branch[]>();
  readonly #tables = new Map<number, TableRows>();
  readonly #onRelation: ReassemblerOptions['onRelation'];
  readonly #relations = new Set<number>();

  constructor({ format, branches, topic, onRelation }: ReassemblerOptions) {
    this.#onRelation = onRelation;
    this.#format = format;
    this.#topic = topic;
    this.#branches = branches;
  }

  /** False for a raw topic whose table the file does not map: nothing of it comes. */
  maps(topic: number): boolean {
    return this.branches(topic).length > 0;
  }

  /** The targets that the topic's rows go to. */
  branches(topic: number): readonly Branch[] {
    let known = this.#ofTopic.get(topic);
    if (known === undefined) {
      const { schema, table: name } = this.#topic(topic);
      this.#ofTopic.set(topic, (known = this.#branches.of({ schema, name })));
    }
    return known;
  }

  /** `rows` in any order; sorted in place. @throws PipelineError CF-3002 when rows are missing or there twice. */
  async frames(segment: Segment, rows: MappedRow[]): Promise<readonly ReadBatch[]> {
    let bytes = ROW_BYTES * segment.skeleton.length;
    for (const { frame } of segment.skeleton) bytes += frame.length;
    for (const row of rows) {
      bytes += (row.value?.length ?? 0) + ROW_BYTES;
      this.#tellOf(row);
      if (row.value !== undefined && !this.#format.knows(row.value)) await this.#format.learn(row.value);
      if (row.oldKey !== undefined && !this.#format.knows(row.oldKey)) await this.#format.learn(row.oldKey);
    }
    rows.sort((a, b) => a.v - b.v || branchOf(a.raw) - branchOf(b.raw) || a.sub - b.sub);
    return this.#write(segment, rows, new FrameWriter(bytes));
  }

  #tellOf(row: MappedRow): void {
    const oid = this.#oidOf(row);
    if (this.#relations.has(oid)) return;
    this.#relations.add(oid);
    this.#onRelation?.(oid, this.#table(row.raw).mapping.from);
  }

  #write(segment: Segment, rows: readonly MappedRow[], writer: FrameWriter): readonly ReadBatch[] {
    const mayLack = segment.ranges.some(({ topic }) => this.#mayLack(topic));
    const misfits = rows.filter((row) => isMisfit(row) && row.epoch === FOREIGN);
    let r = 0;
    let changes = 0;
    const changesBelow = (v: Offset): void => {
      for (; r < rows.length && rows[r]!.v < v; changes++) r = this.#record(rows, r, writer);
    };
    for (const skeleton of segment.skeleton) {
      changesBelow(skeleton.v);
      // A row of a relation that the reader did not map then; where it is a leaf that was attached, its copy brings the row.
      if (isRow(skeleton.frame[0])) continue;
      const first = r;
      while (r < rows.length && rows[r]!.v === skeleton.v) r++;
      writer.begin(skeleton.v, skeleton.frame[0]!);
      if (skeleton.frame[0] === FRAME.chunkRows) this.#chunks(skeleton, rows.slice(first, r), writer);
      else if (r > first) throw refused(`record ${skeleton.v} is a row and something else`);
      else writer.bytes(this.#asItIs(skeleton.frame, misfits));
      writer.end();
    }
    changesBelow(segment.base + segment.count);
    if (r < rows.length) throw refused(`record ${rows[r]!.v} lies outside its segment`);
    const expected = segment.count - segment.skeleton.length;
    if (changes > expected || (changes < expected && !mayLack))
      throw refused(`the segment of record ${segment.base} has ${expected} changes, ${changes} of them came`);
    return writer.finish();
  }

  /**
   * No relation of another's stream tells that its table has changed. Where a row of the segment says so, the relation before it has no
   * columns: whoever reads that holds the table, before any row of the segment.
   */
  #asItIs(frame: Buffer, misfits: readonly MappedRow[]): Buffer {
    if (misfits.length === 0 || frame[0] !== TAG.relation) return frame;
    const relation = decodeRelation(frame);
    return misfits.some((row) => this.#oidOf(row) === relation.oid) ? encodeRelation({ ...relation, columns: [] }) : frame;
  }

  /** The change at `r`; @returns the index behind all rows of it. */
  #record(rows: readonly MappedRow[], r: number, writer: FrameWriter): number {
    const { v, raw } = rows[r]!;
    const branches = this.branches(topicOf(raw));
    writer.begin(v, TAG.insert);
    if (branches.length === 1) {
      const next = this.#change(rows, r, writer);
      writer.end();
      return next;
    }
    writer.byte(FRAME.parts);
    let next = r;
    branches.forEach(({ mapping, pair }, branch) => {
      const row = rows[next];
      if (row?.v === v && branchOf(row.raw) === branch) next = writer.part(pair, () => this.#change(rows, next, writer));
      else if (mapping.filter === undefined) throw refused(`record ${v} has no row for ${mapping.to.schema}.${mapping.to.name}`);
    });
    writer.end();
    return next;
  }

  /** On its way to one target; @returns the index behind it and its twin. */
  #change(rows: readonly MappedRow[], r: number, writer: FrameWriter): number {
    const row = rows[r]!;
    const isSame = (other: MappedRow | undefined): other is MappedRow => other?.v === row.v && branchOf(other.raw) === branchOf(row.raw);
    let next = r + 1;
    const twin = rows[next];
    if ((row.flags & EVENT.movedHere) !== 0 && isSame(twin) && (twin.flags & EVENT.movedAway) !== 0) next++;
    if (isSame(rows[next])) throw refused(`record ${row.v} came twice`);
    if (hasFault(row)) this.#fault(row, writer);
    else if (row.value === undefined) this.#misfit(row, writer);
    else this.#row(row, this.#decode(row, row.value), writer);
    return next;
  }

  #fault(row: MappedRow & { readonly fault: Buffer }, writer: FrameWriter): void {
    const table = this.#table(row.raw);
    const oldKey = (): void => this.#oldKey(row, table, writer);
    writeFault(row, { mapping: table.mapping, oid: this.#oidOf(row), oldKey }, writer);
  }

  /** Its relation is refused before anybody looks at the row; were it not, this deletes nothing. */
  #misfit(row: MappedRow, writer: FrameWriter): void {
    const { mapping } = this.#table(row.raw);
    const fields = new Int32Array(mapping.columns.length).fill(NULL_FIELD);
    writer.head(TAG.delete, this.#oidOf(row));
    writer.tuple(mapping.targetKey.length === 0 ? KIND_OLD : KIND_KEY, NO_ROW, fields);
  }

  #row(row: MappedRow, event: DecodedEvent, writer: FrameWriter): void {
    const table = this.#tableOf(row, event);
    const oid = this.#oidOf(row);
    if (event.op === 't') {
      // Of others only: ours stand in the order themselves.
      writer.bytes(encodeTruncate(oid));
      return;
    }
    if (event.op === 'd') {
      writer.head(TAG.delete, oid);
      this.#old(row, event, table, writer);
      return;
    }
    if (event.after === undefined) throw refused(`record ${row.v} has op ${event.op} and no row`);
    const moved = (row.flags & EVENT.movedHere) !== 0;
    const isUpdate = moved || event.op === 'u';
    writer.head(isUpdate ? TAG.update : TAG.insert, oid);
    if (moved && event.before === undefined) {
      this.#oldKey(row, table, writer);
      writer.tuple(KIND_NEW, this.#decode(row, row.value!).after!, table.row);
      return;
    }
    if (isUpdate && event.before !== undefined) writer.tuple(KIND_OLD, event.before, table.row);
    writer.tuple(KIND_NEW, event.after, table.row);
  }

  #old(row: MappedRow, event: DecodedEvent, table: TableRows, writer: FrameWriter): void {
    if (event.before === undefined) throw refused(`record ${row.v} is a delete of nothing`);
    if (table.mapping.targetKey.length === 0) writer.tuple(KIND_OLD, event.before, table.row);
    else writer.tuple(KIND_KEY, event.before, table.key);
  }

  /** The old key stands beside the row. What was decoded before is void after this. */
  #oldKey(row: MappedRow, table: TableRows, writer: FrameWriter): void {
    if (row.oldKey === undefined) throw refused(`record ${row.v} changes a key and does not say which`);
    const old = this.#format.decodeKey(row.oldKey);
    writer.tuple(KIND_KEY, old.row, keyOrder(table.mapping, old.columns));
  }

  #chunks({ v, frame }: SkeletonFrame, rows: readonly MappedRow[], writer: FrameWriter): void {
    const { header } = decodeChunkRows(frame);
    const branches = this.#branches.of({ schema: header.schema, name: header.table });
    if (branches.length === 0) writer.bytes(frame);
    else if (branches.length === 1) this.#chunk({ v, header, mapping: branches[0]!.mapping }, rows, writer);
    else {
      writer.byte(FRAME.chunkParts);
      branches.forEach(({ mapping, pair }, branch) => {
        const own = rows.filter(({ raw }) => branchOf(raw) === branch);
        writer.part(pair, () => this.#chunk({ v, header, mapping }, own, writer));
      });
    }
  }

  #chunk({ v, header, mapping }: MappedChunk, rows: readonly MappedRow[], writer: FrameWriter): void {
    if (rows.length > header.rows || (rows.length < header.rows && mapping.filter === undefined))
      throw refused(`chunk record ${v} has ${header.rows} rows, ${rows.length} of them came`);
    if (rows.some(isMisfit)) {
      // No column is in its place any more: whoever reads this holds the table, or stops.
      writer.bytes(encodeChunkHeader({ ...header, columns: [], rows: 0 }));
      return;
    }
    const columns = mapping.columns.map((column) => column.source.name);
    const unmapped = rows.filter(hasFault).map(({ fault }) => faultLine(mapping, fault));
    const told = unmapped.length === 0 ? {} : { unmapped };
    writer.bytes(encodeChunkHeader({ ...header, columns, rows: rows.length - unmapped.length, ...told } satisfies ChunkRowsHeader));
    rows.forEach((row, i) => {
      if (i > 0 && rows[i - 1]!.sub === row.sub) throw refused(`row ${row.sub} of chunk record ${v} came twice`);
      if (hasFault(row)) return;
      const event = this.#decode(row, row.value!);
      if (event.after !== undefined && writer.copyLine(event.after, this.#tableOf(row, event).row)) return;
      throw new PipelineError('CF-2006', `a chunk of ${header.schema}.${header.table} lacks a mapped column`);
    });
  }

  #decode(row: MappedRow, value: Buffer): DecodedEvent {
    return this.#format.decode(value, { absent: row.absent, exact: row.exact, withoutSource: true });
  }

  #tableOf(row: MappedRow, event: DecodedEvent): TableRows {
    const table = this.#table(row.raw);
    if (table.columns !== event.columns) {
      const { mapping } = table;
      table.columns = event.columns;
      table.row = Int32Array.from(mapping.columns, ({ target }) => event.columns.indexOf(target));
      if (table.row.includes(-1)) throw mappedOtherwise(mapping);
      table.key = keyOrder(mapping, event.columns);
    }
    return table;
  }

  #oidOf(row: MappedRow): number {
    return row.epoch === FOREIGN ? this.#topic(topicOf(row.raw)).oid! : row.oid;
  }

  /** Not each of its records becomes a row: a filter, a table that the file no longer maps, a foreign topic's tombstones and others' records. */
  #mayLack(topic: number): boolean {
    return this.branches(topic).every(({ mapping }) => mapping.filter !== undefined) || this.#topic(topic).oid !== undefined;
  }

  #table(raw: RawKey): TableRows {
    const way = wayOf(raw);
    let table = this.#tables.get(way);
    if (table === undefined) {
      const topic = topicOf(raw);
      const branch = this.branches(topic)[branchOf(raw)];
      if (branch === undefined) throw refused(`rows came of ${this.#topic(topic).topic}, whose table the file does not map`);
      const none = new Int32Array(0);
      this.#tables.set(way, (table = { mapping: branch.mapping, columns: [], row: none, key: none }));
    }
    return table;
  }
}

/** A chunk's rows on their way to one target. */
interface MappedChunk {
  readonly v: Offset;
  readonly header: ChunkRowsHeader;
  readonly mapping: TableMapping;
}

/** The source's table is no longer the one that was mapped. */
function isMisfit({ value, fault }: MappedRow): boolean {
  return value === undefined && fault === undefined;
}

function hasFault(row: MappedRow): row is MappedRow & { readonly fault: Buffer } {
  return row.fault !== undefined;
}

function isRow(tag: number | undefined): boolean {
  return tag === TAG.insert || tag === TAG.update || tag === TAG.delete;
}

/** A key's own columns; null everywhere else, as pgoutput has it. */
function keyOrder(mapping: TableMapping, columns: readonly string[]): FieldOrder {
  const missing = mapping.targetKey.some((name) => !columns.includes(name));
  if (missing) throw mappedOtherwise(mapping);
  return Int32Array.from(mapping.columns, ({ target }) => (mapping.targetKey.includes(target) ? columns.indexOf(target) : NULL_FIELD));
}

function mappedOtherwise({ from, to }: TableMapping): PipelineError {
  return new PipelineError('CF-3006', `rows of ${from.schema}.${from.name} were mapped by another migration file: they lack a column`, {
    remedy: `Start transformers and sinks with the file they were mapped by until all of it is applied, or copy ${to.schema}.${to.name} again.`,
  });
}

function refused(message: string): PipelineError {
  return new PipelineError('CF-3002', `${message}: the mapped topics are not what was appended`);
}
