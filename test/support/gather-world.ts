/**
 * A migration over Kafka in one object: readers with zombies and failed appends, transformers with repeats and zombies, all written
 * straight into the topics. Guarantee: what it stores keeps the promises of schemas/order (a segment names acknowledged records, a claim
 * acknowledged outputs) and no more; `log` is what a sink has to see.
 */
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { rawTopic, mappedTopic, orderTopic, claimsTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { encodeEventHeader, encodeOtherKey, EVENT, EVENT_HEADER, EXACT_HEADER, OLD_KEY_HEADER } from '#schemas/order/event-header.ts';
import {
  encodeOrderJson,
  encodeSegment,
  type Claim,
  type ClaimEntry,
  type Range,
  type SkeletonFrame,
} from '#schemas/order/order-record.ts';
import type { EncodedEvent, RowEncoder, WireFormat } from '#schemas/wire/wire.ts';
import { EventMapper, type MappedRecord } from '#services/transformer/map-event.ts';
import { chunkColumns, completed, isMove, mappedColumns, TABLES, wireColumns, type Row } from '#test/support/gather-tables.ts';
import type { PlannedFrame } from '#test/support/gather-history.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';
import type { Random } from '#test/support/random.ts';
import { boundless } from '#test/support/raw-events.ts';
import { A_SOURCE, rowOf } from '#test/support/wire-rows.ts';

const NAME = 'm';
const NOTHING = Buffer.alloc(0);

export const MAPPING: CompiledMapping = { name: NAME, hash: 'hash', tables: TABLES.map(({ mapping }) => mapping) };

const [PLAIN, , FILTERED, BAG] = TABLES.map(({ mapping }) => mapping);

/** Another file of the same migration: a target more, named before the table's own, which is as it is; a table less, another filter, a column less. */
export const OTHER_MAPPING: CompiledMapping = {
  name: NAME,
  hash: 'other',
  tables: [
    { ...PLAIN!, to: { schema: 'new', name: 'second' }, columns: PLAIN!.columns.slice(0, 2) },
    PLAIN!,
    { ...FILTERED!, filter: { conditions: [{ column: 'kind', op: 'in', values: ['out'] }] } },
    { ...BAG!, columns: BAG!.columns.slice(0, 1) },
  ],
};

/** A frame that the sink has to see: undefined when the filter took it. */
export interface LoggedFrame {
  readonly v: number;
  readonly seen: Buffer | undefined;
}

interface RawRecord {
  readonly table: number;
  readonly partition: number;
  readonly key: Buffer | undefined;
  readonly value: Buffer | undefined;
  readonly headers: Readonly<Record<string, Buffer>>;
}

interface Append {
  readonly base: number;
  readonly frames: readonly PlannedFrame[];
  readonly records: RawRecord[];
  readonly ranges: Map<string, Range>;
  readonly skeleton: readonly SkeletonFrame[];
}

export interface SimulatedReader {
  readonly epoch: number;
  /** Next record number. */
  v: number;
  append: Append | undefined;
}

/** An entry of a file. */
interface SimulatedEntry {
  /** In TABLES. */
  readonly table: number;
  readonly topic: string;
  readonly mapper: EventMapper;
}

export interface SimulatedTransformer {
  /** Of its file; what follows is by entry. */
  readonly entries: readonly SimulatedEntry[];
  readonly partition: number;
  /** In the raw partition. */
  readonly next: number[];
  /** Mapped partition → end, since the last claim. */
  ends: Map<number, number>[];
  moved: Set<number>;
}

export class GatherWorld {
  readonly kafka: MemoryKafka;
  readonly partitions: number;
  readonly log: LoggedFrame[] = [];
  /** Raw records by table and partition; the sink never reads them. */
  readonly raw: readonly FetchedRecord[][][];
  /** Mapping's tag → by partition. */
  readonly #claimed = new Map<number, number[]>();
  readonly #random: Random;
  readonly #format: WireFormat;
  readonly #encoders = new Map<string, RowEncoder>();
  readonly #files: (readonly SimulatedEntry[])[] = [];
  #epoch = -1;

  constructor(random: Random, format: WireFormat) {
    this.#random = random;
    this.#format = format;
    this.partitions = random.between(1, 5);
    this.kafka = new MemoryKafka({ random, fetchRecordsMax: random.between(1, 40) });
    this.raw = TABLES.map(() => Array.from({ length: this.partitions }, () => []));
  }

  async open(): Promise<void> {
    this.kafka.ensureTopic(orderTopic(NAME), { partitions: 1 });
    this.kafka.ensureTopic(claimsTopic(NAME), { partitions: 1 });
    this.kafka.ensureTopic('wake', { partitions: 1 });
    for (const [i, table] of TABLES.entries()) {
      const { from } = table.mapping;
      const topic = rawTopic(NAME, from);
      const place = { topic, database: 'd', schema: from.schema, table: from.name };
      for (const shape of [...table.shapes, chunkColumns(table)])
        this.#encoders.set(`${i} ${shape.join()}`, await this.#format.encoder({ ...place, columns: wireColumns(table, shape) }));
      this.#push(orderTopic(NAME), 0, {
        value: encodeOrderJson({ t: 'topic', index: i, topic, schema: from.schema, table: from.name, partitions: this.partitions }),
      });
    }
    for (const { tables } of [MAPPING, OTHER_MAPPING]) {
      const entries: SimulatedEntry[] = [];
      for (const mapping of tables) entries.push(await this.#entryOf(mapping));
      this.#files.push(entries);
    }
  }

  async #entryOf(mapping: TableMapping): Promise<SimulatedEntry> {
    const { from, to } = mapping;
    const table = TABLES.findIndex((each) => each.mapping.from.name === from.name);
    const topic = mappedTopic(NAME, to);
    this.kafka.ensureTopic(topic, { partitions: this.partitions });
    const columns = mappedColumns({ ...TABLES[table]!, mapping });
    const encoder = await this.#format.encoder({ topic, database: 'd', schema: to.schema, table: to.name, columns });
    const mapper = new EventMapper({ table: mapping, encoder, format: this.#format, partitions: this.partitions, to: boundless(topic) });
    return { table, topic, mapper };
  }

  #push(
    topic: string,
    partition: number,
    record: { readonly key?: Buffer | undefined; readonly value: Buffer | undefined; readonly headers?: Readonly<Record<string, Buffer>> },
  ): number {
    const { records } = this.kafka.partition({ topic, partition });
    records.push(fetched(records.length, record));
    return records.length - 1;
  }

  /** A reader takes over: what others append from here on is void. */
  takeOver(): SimulatedReader {
    this.#epoch++;
    this.#push(orderTopic(NAME), 0, { value: encodeOrderJson({ t: 'epoch', epoch: this.#epoch }) });
    return { epoch: this.#epoch, v: this.log.length, append: undefined };
  }

  begin(reader: SimulatedReader, frames: readonly PlannedFrame[]): void {
    const skeleton: SkeletonFrame[] = [];
    const records = frames.flatMap((planned, i) => {
      const v = reader.v + i;
      if (planned.row === undefined) skeleton.push({ v, frame: planned.skeleton });
      return this.#scatter(planned, v, reader.epoch);
    });
    reader.append = { base: reader.v, frames, records, ranges: new Map(), skeleton };
  }

  /** Stores some of what is under way; once all of it is, its segment. @returns the frames when that is done. */
  store(reader: SimulatedReader): readonly PlannedFrame[] | undefined {
    const append = reader.append!;
    for (let left = this.#random.between(1, 12); left > 0 && append.records.length > 0; left--) {
      const next = append.records.shift()!;
      const partition = this.raw[next.table]![next.partition]!;
      const offset = partition.length;
      partition.push(fetched(offset, next));
      const key = `${next.table} ${next.partition}`;
      const from = append.ranges.get(key)?.from ?? offset;
      append.ranges.set(key, { topic: next.table, partition: next.partition, from, to: offset + 1 });
    }
    if (append.records.length > 0) return undefined;
    const { base, frames, skeleton } = append;
    const segment = { epoch: reader.epoch, base, count: frames.length, ranges: [...append.ranges.values()], skeleton };
    this.#push(orderTopic(NAME), 0, { value: Buffer.concat(encodeSegment(segment)) });
    if (reader.epoch === this.#epoch) frames.forEach(({ seen }, i) => this.log.push({ v: base + i, seen }));
    reader.v = base + frames.length;
    reader.append = undefined;
    return frames;
  }

  #scatter({ row, chunk, truncated }: PlannedFrame, v: number, epoch: number): RawRecord[] {
    if (chunk !== undefined) {
      return chunk.rows.map((each, sub) => {
        const { encoded } = this.#encode(chunk.table, chunk.columns, { op: 'r', after: each });
        return this.#record(chunk.table, encoded, { flags: EVENT.chunk, v, sub, epoch, oid: TABLES[chunk.table]!.oids[0]! });
      });
    }
    if (truncated !== undefined) {
      const encoder = this.#encoders.get(`${truncated} ${TABLES[truncated]!.shapes[0]!.join()}`)!;
      const headers = { [EVENT_HEADER]: headerOf({ flags: EVENT.truncate, topic: truncated, v, sub: 0, epoch, oid: 0, absent: NOTHING }) };
      const value = encoder.encodeTruncate(A_SOURCE);
      return Array.from({ length: this.partitions }, (_, partition) => ({ table: truncated, partition, key: undefined, value, headers }));
    }
    if (row === undefined) return [];
    const table = TABLES[row.table]!;
    const { change, columns, oid } = row;
    const place = { v, sub: 0, epoch, oid };
    const whole = (old: { readonly kind: string; readonly row: Row } | undefined): Row | undefined =>
      old?.kind === 'O' ? old.row : undefined;
    if (change.kind === 'delete') return this.#deleted(row, change.old.row, { ...place, flags: 0 });
    const after = change.kind === 'update' ? completed(change) : change.row;
    if (!isMove(table, change)) {
      const before = change.kind === 'update' ? whole(change.old) : undefined;
      const { encoded } = this.#encode(row.table, columns, { op: change.kind === 'update' ? 'u' : 'c', before, after });
      return [this.#record(row.table, encoded, { ...place, flags: 0 })];
    }
    const old = change.kind === 'update' ? change.old! : undefined;
    const { encoded, encoder } = this.#encode(row.table, columns, { op: 'c', before: whole(old), after });
    const oldKey = encoder.encodeKey(rowOf(columns.map((name) => old!.row[name])))!;
    const here = this.#record(row.table, encoded, { ...place, flags: EVENT.movedHere });
    const away = this.#deleted(row, old!.row, { ...place, sub: 1, flags: EVENT.movedAway });
    return [{ ...here, headers: { ...here.headers, [OLD_KEY_HEADER]: encodeOtherKey(oldKey) } }, ...away];
  }

  #deleted(row: NonNullable<PlannedFrame['row']>, old: Row, place: Place): RawRecord[] {
    const { encoded } = this.#encode(row.table, row.columns, { op: 'd', before: old });
    const gone = this.#record(row.table, encoded, place);
    if (encoded.key === undefined) return [gone];
    const tombstone = headerOf({ ...place, topic: row.table, flags: place.flags | EVENT.tombstone, absent: NOTHING });
    return [gone, { ...gone, value: undefined, headers: { [EVENT_HEADER]: tombstone } }];
  }

  #encode(
    table: number,
    columns: readonly string[],
    event: { readonly op: 'c' | 'u' | 'd' | 'r'; readonly before?: Row | undefined; readonly after?: Row },
  ): { readonly encoded: EncodedEvent; readonly encoder: RowEncoder } {
    const encoder = this.#encoders.get(`${table} ${columns.join()}`)!;
    const fields = (row: Row | undefined): ReturnType<typeof rowOf> | undefined => row && rowOf(columns.map((name) => row[name]));
    return {
      encoder,
      encoded: encoder.encode({ op: event.op, before: fields(event.before), after: fields(event.after), source: A_SOURCE }),
    };
  }

  #record(table: number, { key, value, absent, exact }: EncodedEvent, place: Place): RawRecord {
    const header = headerOf({ ...place, topic: table, absent });
    const headers = { [EVENT_HEADER]: header, ...(exact !== undefined && { [EXACT_HEADER]: exact }) };
    return { table, partition: key === undefined ? 0 : partitionOf(key, this.partitions), key, value, headers };
  }

  /** Takes a partition number up at the last claims of its file's mappings. */
  transformer(partition: number, isOther = false): SimulatedTransformer {
    const entries = this.#files[isOther ? 1 : 0]!;
    const next = entries.map(({ mapper }) => this.#claimed.get(mapper.tag)?.[partition] ?? 0);
    return { entries, partition, next, ends: entries.map(() => new Map()), moved: new Set() };
  }

  /** @returns false when there is nothing to map. */
  async map(transformer: SimulatedTransformer, entry: number): Promise<boolean> {
    const { partition } = transformer;
    const { table, topic, mapper } = transformer.entries[entry]!;
    const records = this.raw[table]![partition]!;
    const from = transformer.next[entry]!;
    const to = Math.min(records.length, from + this.#random.between(1, 20));
    if (from === to) return false;
    const emit = ({ partition: q, key, value, headers }: MappedRecord): void => {
      const stored = this.#push(topic, q, { key, value, headers: Object.fromEntries(headers.map((one) => [one.name, one.value])) });
      transformer.ends[entry]!.set(q, stored + 1);
    };
    for (let offset = from; offset < to; offset++) {
      for (let unknown = mapper.unknown(records[offset]!); unknown !== undefined; unknown = mapper.unknown(records[offset]!))
        await this.#format.learn(unknown);
      if (mapper.map(records[offset]!, { partition, offset }, emit) === 'misfit') throw new Error('no row of this simulation is a misfit');
    }
    transformer.next[entry] = to;
    transformer.moved.add(entry);
    return true;
  }

  claim(transformer: SimulatedTransformer): void {
    const { partition } = transformer;
    const entries = [...transformer.moved].map((entry): ClaimEntry => {
      const { table, topic, mapper } = transformer.entries[entry]!;
      const [mapping, offset] = [mapper.tag, transformer.next[entry]!];
      const claimed = this.#claimed.get(mapping) ?? [];
      this.#claimed.set(mapping, claimed);
      claimed[partition] = Math.max(claimed[partition] ?? 0, offset);
      return { topic: table, partition, mapping, offset, ends: { [topic]: [...transformer.ends[entry]!] } };
    });
    if (entries.length === 0) return;
    transformer.ends = transformer.entries.map(() => new Map());
    transformer.moved = new Set();
    const claim: Claim = { t: 'claim', entries };
    this.#push(claimsTopic(NAME), 0, { value: Buffer.from(JSON.stringify(claim), 'utf8') });
  }
}

interface Place {
  readonly flags: number;
  readonly v: number;
  readonly sub: number;
  readonly epoch: number;
  readonly oid: number;
}

function headerOf(header: Place & { readonly topic: number; readonly absent: Buffer }): Buffer {
  return encodeEventHeader(header);
}

function fetched(
  offset: number,
  record: { readonly key?: Buffer | undefined; readonly value: Buffer | undefined; readonly headers?: Readonly<Record<string, Buffer>> },
): FetchedRecord {
  return { offset, key: record.key, value: record.value, header: (name) => record.headers?.[name] };
}
