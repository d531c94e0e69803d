/**
 * One table's events, raw to mapped. Guarantee: a pure function of the raw record (and of the mapping): the same record gives the same
 * mapped records whoever maps it and whenever; a row that the filter takes leaves no record, except the delete of what it may have left.
 *
 * What a filter means for an update is what it means in the sink of one process (table-fold.ts): a row that leaves the filter is deleted,
 * whether it was there or not; in a table without key the old and the new row count separately.
 */
import type { FetchedRecord, KafkaHeader } from '#connectors/change-log/kafka/cluster.ts';
import { withoutOldRow } from '#connectors/change-log/kafka/order/large-rows.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { invariant } from '#schemas/errors.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import { UnmappableRow, type RowFault } from '#schemas/mapping/unmappable-row.ts';
import {
  decodeOtherKey,
  DEBEZIUM_NEW_KEY,
  DEBEZIUM_OLD_KEY,
  encodeOtherKey,
  EVENT,
  EXACT_HEADER,
  OLD_KEY_HEADER,
  type RawPlace,
} from '#schemas/order/event-header.ts';
import { FAULT_HEADER } from '#schemas/order/fault-header.ts';
import {
  ABSENT_FIELD,
  type DecodedEvent,
  type RowEncoder,
  type RowFields,
  type WireEvent,
  type WireFormat,
  type WireSource,
} from '#schemas/wire/wire.ts';
import { eventFilter, type EventFilter } from './event-filter.ts';
import { EventImage } from './event-image.ts';
import { planOf, type Plan } from './event-plan.ts';
import { ownStamps, type EventMarks, type EventStamps } from './event-stamp.ts';
import { faultHeader, renamedFault } from './fault-header.ts';
import { isPlain, PlainRows } from './pass-on.ts';
import type { MappedTopic } from './mapped-topic.ts';
import { ScratchRow } from './scratch-row.ts';

/** A record for the table's mapped topic. */
export interface MappedRecord {
  readonly partition: number;
  readonly key: Buffer | undefined;
  readonly value: Buffer | undefined;
  readonly headers: readonly KafkaHeader[];
}

/** Its key says where it goes. */
export type Unplaced = Omit<MappedRecord, 'partition'>;

export type Emit = (record: MappedRecord) => void;

/**
 * left-out: the filter took it. foreign: no event of ours (no header `cf`), so no segment can name it. misfit: the source's table is no
 * longer the one that was mapped, and the sink holds it; a record without key and value stands for the row, so that whoever counts finds
 * every one. unmapped: the mapping makes nothing of this row; a record of the same kind says which one and why.
 */
export type MapOutcome = 'mapped' | 'left-out' | 'misfit' | 'foreign' | 'unmapped';

export interface MapperOptions {
  readonly table: TableMapping;
  /** Of the mapped shape: its columns are the mapping's, in order. */
  readonly encoder: RowEncoder;
  readonly format: WireFormat;
  /** Of the mapped topic, as of the raw one. */
  readonly partitions: number;
  readonly to: MappedTopic;
  /** What stands beside the events; of our own topics unless told. */
  readonly stamps?: EventStamps;
}

/** One raw record on its way. */
interface Passing {
  readonly marks: EventMarks;
  readonly place: RawPlace;
  readonly moved: readonly KafkaHeader[];
  readonly emit: Emit;
}

interface Change {
  readonly event: DecodedEvent;
  readonly plan: Plan;
  readonly passing: Passing;
}

const NO_HEADERS: readonly KafkaHeader[] = [];
const NO_BYTES = Buffer.alloc(0);
const NO_SOURCE: WireSource = { commitLsn: 0n, commitTimeMicros: 0n, xid: 0, snapshot: false };

export class EventMapper {
  readonly table: TableMapping;
  readonly to: MappedTopic;
  /** Of the table's mapping; stands in each record. */
  readonly tag: number;
  readonly #options: MapperOptions;
  readonly #stamps: EventStamps;
  readonly #passes: EventFilter;
  readonly #after: ScratchRow;
  readonly #before: ScratchRow;
  readonly #keyRow: ScratchRow;
  /** Mapped columns of the key. */
  readonly #keyColumns: readonly number[];
  /** Where rows may go on as they stand. */
  readonly plain: PlainRows | undefined;
  /** Undefined where no column is computed. */
  readonly #image: EventImage | undefined;
  readonly #plans: Plan[] = [];
  #plan: Plan | undefined;

  constructor(options: MapperOptions) {
    const { table, encoder } = options;
    const { columns } = encoder.shape;
    invariant(
      columns.length === table.columns.length && columns.every((column, i) => column.name === table.columns[i]!.target),
      'the mapped shape is the mapping',
    );
    this.table = table;
    this.to = options.to;
    this.tag = tableTag(table);
    this.#options = options;
    this.#stamps = options.stamps ?? ownStamps;
    this.#passes = eventFilter(table);
    this.plain = !this.#stamps.isForeign && isPlain(table) ? new PlainRows(options) : undefined;
    this.#after = new ScratchRow(columns.length);
    this.#before = new ScratchRow(columns.length);
    this.#keyRow = new ScratchRow(columns.length);
    this.#keyColumns = columns.flatMap((column, i) => (column.isKey ? [i] : []));
    this.#image = EventImage.of(table);
  }

  /** Bytes whose schema has to be learnt before this record can be mapped; undefined when it can be mapped at once. */
  unknown(record: FetchedRecord): Buffer | undefined {
    const { format } = this.#options;
    const marks = this.#stamps.read(record);
    if (marks === undefined) return undefined;
    if (record.value !== undefined && !format.knows(record.value)) return record.value;
    if (record.key !== undefined && !format.knows(record.key)) return record.key;
    const other = otherKeyOf(record, marks);
    return other === undefined || format.knows(other) ? undefined : other;
  }

  /** @throws LimitOutdated where nothing was emitted, for the mapped topic has to be asked what it takes first */
  map(record: FetchedRecord, at: Omit<RawPlace, 'mapping'>, emit: Emit): MapOutcome {
    const marks = this.#stamps.read(record);
    if (marks === undefined) return 'foreign';
    const place = { ...at, mapping: this.tag };
    const passing: Passing = { marks, place, moved: this.#movedHeaders(record, marks), emit };
    if (record.value === undefined) return this.#withoutValue(record, passing);
    const event = this.#decode(record.value, record, marks);
    if (event.op === 't') return this.#truncate(event, passing);
    if (event.op === 'm') return 'left-out';
    const plan = this.#planFor(event.columns);
    if (plan.fields === undefined) return this.#misfit(passing);
    const change = { event, plan, passing };
    try {
      if (event.op === 'u') return this.#update(change, record);
      return event.op === 'd' ? this.#delete(event, plan, passing) : this.#create(event, plan, passing);
    } catch (error) {
      if (!(error instanceof UnmappableRow)) throw error;
      // Read again: what it was read into may hold something else by now.
      return this.#unmapped(error.fault, { ...change, event: this.#decode(record.value, record, marks) }, record);
    }
  }

  #decode(value: Buffer, record: FetchedRecord, { absent }: EventMarks): DecodedEvent {
    return this.#options.format.decode(value, { absent, exact: record.header(EXACT_HEADER) });
  }

  /** Which row it is, and why nothing comes of it. Nothing of it was emitted before. */
  #unmapped(fault: RowFault, { event, plan, passing }: Change, record: FetchedRecord): MapOutcome {
    const op = event.op as 'c' | 'u' | 'd' | 'r';
    const old = event.before === undefined ? undefined : this.#found(this.#before, event.before, plan);
    let row = event.after === undefined ? old! : this.#found(this.#after, event.after, plan);
    if (event.after !== undefined && hasAbsent(row)) row = this.#complete(row, undefined, record);
    const told = { op, old: event.after === undefined ? undefined : old, row };
    return this.#putFault(faultHeader(fault, told, { table: this.table, sureBytes: this.to.sureBytes }), passing);
  }

  #putFault(fault: KafkaHeader, passing: Passing): MapOutcome {
    const moved = passing.moved.filter(({ name }) => name === OLD_KEY_HEADER);
    const headers = [...this.#headers({ ...passing, moved }, NO_BYTES, undefined), fault];
    passing.emit({ partition: passing.place.partition % this.#options.partitions, key: undefined, value: undefined, headers });
    return 'unmapped';
  }

  #create(event: DecodedEvent, plan: Plan, passing: Passing): MapOutcome {
    // Of a key that changed the row moves here or nowhere: the old key's delete is a record of its own.
    if (!this.#passes(event.after!, event.before, plan.filterFields)) return 'left-out';
    const before = event.before === undefined ? undefined : this.#old(event.before, plan);
    this.#emit(event, { before, after: this.#new(event.after!, event.before, plan) }, passing);
    return 'mapped';
  }

  #update({ event, plan, passing }: Change, record: FetchedRecord): MapOutcome {
    const was = event.before;
    const enters = this.#passes(event.after!, was, plan.filterFields);
    const keyless = this.#keyColumns.length === 0;
    const left = !keyless || was === undefined || this.#passes(was, undefined, plan.filterFields);
    if (!enters && !left) return 'left-out';
    const before = was === undefined ? undefined : this.#old(was, plan);
    let after = enters ? this.#new(event.after!, was, plan) : this.#found(this.#after, event.after!, plan);
    if (hasAbsent(after)) after = this.#complete(after, before, record);
    if (enters) {
      if (left) this.#emit(event, { before, after }, passing);
      else this.#emit({ ...event, op: 'c' }, { before: undefined, after }, passing);
      return 'mapped';
    }
    this.#emit({ ...event, op: 'd' }, { before: before ?? this.#keyOnly(after), after: undefined }, passing);
    return 'mapped';
  }

  #delete(event: DecodedEvent, plan: Plan, passing: Passing): MapOutcome {
    // With a key the row may be there although its last state does not pass, and the old row may be no more than the key.
    if (this.#keyColumns.length === 0 && !this.#passes(event.before!, undefined, plan.filterFields)) return 'left-out';
    const before = this.#old(event.before!, plan);
    // The tombstone behind it is a raw record too.
    this.#write({ op: 'd', before, after: undefined, source: sourceOf(event) }, passing);
    return 'mapped';
  }

  /** Writes a change; of a delete that is none in the raw topic, the tombstone too. */
  #emit(event: DecodedEvent, rows: { before: RowFields | undefined; after: RowFields | undefined }, passing: Passing): void {
    const op = event.op as 'c' | 'u' | 'd' | 'r';
    const key = this.#write({ op, ...rows, source: sourceOf(event) }, passing);
    if (op !== 'd' || key === undefined) return;
    const headers = this.#headers(passing, NO_BYTES, undefined, EVENT.tombstone);
    this.#put({ key, value: undefined, headers }, passing);
  }

  /** Without its old row where only that makes it fit. @returns its key. @throws UnmappableRow CF-3005 */
  #write(change: WireEvent, passing: Passing): Buffer | undefined {
    const { to } = this.#options;
    const whole = this.#recordOf(change, passing);
    if (to.takes(whole)) return this.#put(whole, passing);
    const smaller = withoutOldRow(change, this.#keyColumns);
    const left = smaller && this.#recordOf(smaller, passing);
    if (left === undefined || !to.takes(left)) throw to.refusal(change.after ?? change.before!, this.table);
    return this.#put(left, passing);
  }

  #recordOf(change: WireEvent, passing: Passing): Unplaced {
    const { key, value, absent, exact } = this.#options.encoder.encode(change);
    return { key, value, headers: this.#headers(passing, absent, exact) };
  }

  /** A tombstone, or what stands for a row that was too large for the raw topic. */
  #withoutValue(record: FetchedRecord, passing: Passing): MapOutcome {
    const fault = record.header(FAULT_HEADER);
    if (record.key === undefined) return fault === undefined ? 'left-out' : this.#putFault(renamedFault(fault, this.table), passing);
    const key = this.#mapKey(record.key);
    if (key === undefined) return 'left-out';
    this.#put({ key, value: undefined, headers: this.#headers(passing, NO_BYTES, undefined) }, passing);
    return 'mapped';
  }

  /** Each raw partition tells its own number of the mapped ones. */
  #truncate(event: DecodedEvent, passing: Passing): MapOutcome {
    const value = this.#options.encoder.encodeTruncate(sourceOf(event));
    const headers = this.#headers(passing, NO_BYTES, undefined);
    passing.emit({ partition: passing.place.partition % this.#options.partitions, key: undefined, value, headers });
    return 'mapped';
  }

  #misfit(passing: Passing): MapOutcome {
    const headers = this.#headers({ ...passing, moved: NO_HEADERS }, NO_BYTES, undefined);
    passing.emit({ partition: passing.place.partition % this.#options.partitions, key: undefined, value: undefined, headers });
    return 'misfit';
  }

  #put({ key, value, headers }: Unplaced, { emit }: Passing): Buffer | undefined {
    emit({ partition: key === undefined ? 0 : partitionOf(key, this.#options.partitions), key, value, headers });
    return key;
  }

  #headers({ marks, place, moved }: Passing, absent: Buffer, exact: Buffer | undefined, flags = 0): readonly KafkaHeader[] {
    const header = this.#stamps.write(marks, place, { flags: marks.flags | flags, absent });
    if (exact === undefined && moved.length === 0) return [header];
    return exact === undefined ? [header, ...moved] : [header, { name: EXACT_HEADER, value: exact }, ...moved];
  }

  #movedHeaders(record: FetchedRecord, marks: EventMarks): readonly KafkaHeader[] {
    const { otherKey: name } = marks;
    if (name === undefined) return NO_HEADERS;
    const raw = otherKeyOf(record, marks);
    const key = raw === undefined ? undefined : this.#mapKey(raw);
    if (key === undefined) return NO_HEADERS;
    const plain = name === OLD_KEY_HEADER ? DEBEZIUM_OLD_KEY : DEBEZIUM_NEW_KEY;
    return [
      { name, value: encodeOtherKey(key) },
      { name: plain, value: this.#options.encoder.plainKey(this.#keyRow) },
    ];
  }

  /** A raw record key as the mapped topic's; undefined when it no longer names the mapped key. */
  #mapKey(raw: Buffer): Buffer | undefined {
    return this.#readKey(raw) ? this.#options.encoder.encodeKey(this.#keyRow) : undefined;
  }

  #readKey(raw: Buffer): boolean {
    const { columns, row } = this.#options.format.decodeKey(raw);
    const into = this.#keyRow;
    into.clear(row.buffer);
    for (const column of this.#keyColumns) {
      const field = columns.indexOf(this.table.columns[column]!.source.name);
      if (field < 0) return false;
      into.take(column, row, field);
    }
    return this.#keyColumns.length > 0;
  }

  #keyOnly(row: RowFields): RowFields {
    const into = this.#keyRow;
    into.clear(row.buffer);
    for (const column of this.#keyColumns) into.take(column, row, column);
    return into;
  }

  /** Absent fields are what they were before, where that is known; those of the key always are. */
  #complete(after: RowFields, before: RowFields | undefined, record: FetchedRecord): RowFields {
    const into = this.#after;
    if (after !== into) into.copy(after);
    if (before !== undefined) into.fill(before);
    else if (record.key !== undefined && this.#keyColumns.some((column) => into.length[column] === ABSENT_FIELD)) {
      // The decoder's row of the value may be gone once it reads a key.
      into.own();
      if (this.#readKey(record.key)) into.fill(this.#keyRow, this.#keyColumns);
    }
    return into;
  }

  /** A row as it is from here on; `was` has what the event leaves out of it, where that came. @throws UnmappableRow */
  #new(row: RowFields, was: RowFields | undefined, plan: Plan): RowFields {
    if (this.#image === undefined) return this.#project(this.#after, row, plan);
    return this.#image.whole(this.#after, row, was, { fields: plan.fields!, inputs: plan.inputs });
  }

  /** A row that only has to be found. */
  #found(into: ScratchRow, row: RowFields, plan: Plan): RowFields {
    if (this.#image === undefined) return this.#project(into, row, plan);
    return this.#image.found(into, row, { fields: plan.fields!, inputs: plan.inputs });
  }

  /** A row as it was: with a key it only has to be found, and of a delete no more than the key may have come. */
  #old(row: RowFields, plan: Plan): RowFields {
    if (this.#image === undefined || this.#keyColumns.length > 0) return this.#found(this.#before, row, plan);
    return this.#image.whole(this.#before, row, undefined, { fields: plan.fields!, inputs: plan.inputs });
  }

  #project(into: ScratchRow, row: RowFields, plan: Plan): RowFields {
    if (plan.same) return row;
    into.buffer = row.buffer;
    const fields = plan.fields!;
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i]!;
      into.from[i] = row.from[field]!;
      into.length[i] = row.length[field]!;
    }
    return into;
  }

  #planFor(columns: readonly string[]): Plan {
    // A format gives the same list for every record of one schema.
    if (this.#plan?.columns === columns) return this.#plan;
    const known = this.#plans.find((plan) => plan.columns === columns);
    const plan = known ?? planOf(this.table, columns, this.#stamps.isForeign);
    if (known === undefined) this.#plans.push(plan);
    return (this.#plan = plan);
  }
}

function otherKeyOf(record: FetchedRecord, { otherKey }: EventMarks): Buffer | undefined {
  const header = otherKey === undefined ? undefined : record.header(otherKey);
  return header === undefined ? undefined : decodeOtherKey(header);
}

/** Where the row came from, if the format tells. */
function sourceOf(event: DecodedEvent & { readonly source?: WireSource }): WireSource {
  return event.source ?? NO_SOURCE;
}

function hasAbsent(row: RowFields): boolean {
  return row.length.includes(ABSENT_FIELD);
}
