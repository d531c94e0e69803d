/**
 * The raw log as the sink reads it over Kafka: the frames that the reader appended, with rows as the transformers mapped them. Guarantee:
 * what a cursor brings is, frame by frame and in its order, what was appended (ScatterTopic), whatever readers and transformers were
 * replaced meanwhile; only rows that the mapping's filter took are missing, and their record numbers with them.
 *
 * To be prepared before `start`, `end` and `read` are asked for. One cursor at a time; nothing is appended here.
 */
import { invariant, PipelineError } from '#schemas/errors.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import type { TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import type { Bookmarked } from '#connectors/change-log/bookmark.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import type { Cursor, Offset, Topic } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster } from '../cluster.ts';
import { parsePlace, type GatherPlace, type ReadingPlace } from './bookmark.ts';
import { Branches } from './branches.ts';
import { GatherCursor } from './gather-cursor.ts';
import { MappedPlaces } from './mapped-places.ts';
import { readOrder } from './order-reader.ts';
import { OrderTail } from './order-tail.ts';
import { Reassembler, type ReassemblerOptions } from './reassemble.ts';
import { SegmentQueue } from './segment-queue.ts';
import { claimsTopic, mappedTopic, orderTopic } from './topic-names.ts';
import { TopicTrimmer } from './trim-topics.ts';

export interface GatherOptions {
  readonly cluster: KafkaCluster;
  /** Of the migration. */
  readonly name: string;
  readonly format: WireFormat;
  /** As the file has it, filters and all. */
  readonly mapping: CompiledMapping;
  /** Of each mapped topic. */
  readonly partitions: number;
  readonly onRelation?: ReassemblerOptions['onRelation'];
  /** How much may be held of segments that cannot be handed out yet. */
  readonly rowsBytesMax?: number;
  /** How long rows are waited for that only another file's transformers have mapped. */
  readonly patienceMs?: number;
  /** What stays of the topics behind a bookmark that is written, for a target that is restored. */
  readonly retainBytes: number;
}

const BEGINNING: ReadingPlace = { order: 0, claims: 0, mapped: {}, raw: [] };

type Bounds = ReadonlyMap<string, readonly { readonly start: Offset; readonly end: Offset }[]>;

interface Prepared {
  readonly bounds: Bounds;
  readonly start: Offset;
  readonly end: Offset;
  readonly saved: Bookmark | undefined;
}

export class GatherTopic implements Topic, Bookmarked {
  readonly name: string;
  readonly partitions = 1;
  readonly #options: GatherOptions;
  readonly #order: string;
  readonly #claims: string;
  readonly #mapped: readonly string[];
  readonly #trimmer: TopicTrimmer;
  #prepared: Prepared | undefined;
  /** The order topic as far as it was read for its end. */
  #known: { readonly tail: OrderTail; next: Offset; end: Offset } | undefined;
  #cursor: { readonly cursor: GatherCursor; readonly queue: SegmentQueue } | undefined;

  constructor(options: GatherOptions) {
    this.#options = options;
    this.name = options.name;
    this.#order = orderTopic(options.name);
    this.#claims = claimsTopic(options.name);
    const targets = new Map(options.mapping.tables.map(({ to }) => [tableId(to), mappedTopic(options.name, to)]));
    this.#mapped = [...targets.values()];
    this.#trimmer = new TopicTrimmer(options);
  }

  async prepare(saved: Bookmark | undefined): Promise<void> {
    const { cluster, partitions } = this.#options;
    const own = new Map([this.#order, this.#claims].map((topic) => [topic, { partitions: 1 }]));
    await cluster.ensureTopics(new Map([...own, ...this.#mapped.map((topic) => [topic, { partitions }] as const)]));
    const topics = [this.#order, this.#claims, ...this.#mapped];
    // The claims' end first: what they name below it is stored.
    const claims = await cluster.bounds(this.#claims);
    const bounds = new Map(await Promise.all(topics.map(async (topic) => [topic, await cluster.bounds(topic)] as const)));
    bounds.set(this.#claims, claims);
    const { start: first, end: last } = bounds.get(this.#order)![0]!;
    // A log that nothing was removed of begins with record 0.
    const start = first === 0 ? 0 : await this.#startOf(first, last);
    this.#prepared = { bounds, start, end: await this.#endOf(saved, first, last), saved };
  }

  /** First record of the first segment kept. */
  async #startOf(from: Offset, to: Offset): Promise<Offset> {
    let start: Offset | undefined;
    await readOrder({ cluster: this.#options.cluster, topic: this.#order, from, to }, (record) => {
      if (record.t === 'segment' || record.t === 'checkpoint') start = record.base;
      return start === undefined;
    });
    return start ?? 0;
  }

  /** Which segments count only what stands before them tells: read from where that is known. */
  async #endOf(saved: Bookmark | undefined, first: Offset, last: Offset): Promise<Offset> {
    if (this.#known === undefined || this.#known.next < first) {
      const place = saved && parsePlace(saved.place);
      const isKept = place !== undefined && place.order >= first;
      this.#known = isKept
        ? { tail: new OrderTail(place.epoch), next: place.order, end: place.base }
        : { tail: new OrderTail(), next: first, end: 0 };
    }
    const known = this.#known;
    await readOrder({ cluster: this.#options.cluster, topic: this.#order, from: known.next, to: last }, (record, offset) => {
      known.tail.take(record, offset);
      known.end = Math.max(known.end, known.tail.end);
      known.next = offset + 1;
      return true;
    });
    return known.end;
  }

  start(_partition: number): Offset {
    return this.#ready.start;
  }

  end(_partition: number): Offset {
    return Math.max(this.#ready.end, this.#cursor?.queue.end ?? 0);
  }

  /** The raw topics, as far as the order was read. */
  get topics(): readonly TopicOrderRecord[] {
    return this.#cursor?.queue.topics ?? [];
  }

  get #ready(): Prepared {
    invariant(this.#prepared !== undefined, 'a gathered log is prepared before it is read');
    return this.#prepared;
  }

  read(partition: number, from: Offset): Cursor {
    invariant(partition === 0, 'a gathered log has one partition');
    if (from < this.start(0) || from > this.end(0))
      throw new PipelineError('CF-3003', `record ${from} lies outside of records ${this.start(0)} to ${this.end(0)} of log ${this.name}`);
    const { saved, bounds } = this.#ready;
    const marked = saved === undefined || saved.offset > from ? undefined : parsePlace(saved.place);
    const branches = new Branches(this.#options.mapping);
    const place = marked === undefined ? BEGINNING : { ...this.#resumed(marked), raw: branches.renumbered(marked) };
    this.#checkKept({ ...place, claims: marked?.claims ?? 0 }, marked);
    const queue = new SegmentQueue(marked ?? { base: undefined, epoch: -1, topics: [], raw: [] });
    const offsetOf = (topic: string, number: number): Offset => place.mapped[topic]?.[number] ?? 0;
    const { cluster, format, mapping, rowsBytesMax, patienceMs, onRelation } = this.#options;
    const cursor = new GatherCursor({
      cluster,
      order: this.#order,
      claims: this.#claims,
      places: new MappedPlaces(this.#mapped, this.#options.partitions, offsetOf),
      queue,
      branches,
      reassembler: new Reassembler({
        format,
        branches,
        topic: (index) => queue.topic(index),
        ...(onRelation !== undefined && { onRelation }),
      }),
      place,
      from,
      mappings: new Set(mapping.tables.map(tableTag)),
      begins: this.#begins(marked),
      retainBytes: this.#options.retainBytes,
      claimsBefore: bounds.get(this.#claims)![0]!.end,
      mappedEnd: (topic, number) => bounds.get(topic)?.[number]?.end,
      ...(rowsBytesMax !== undefined && { rowsBytesMax }),
      ...(patienceMs !== undefined && { patienceMs }),
    });
    this.#cursor = { cursor, queue };
    return cursor;
  }

  /**
   * Of tables mapped otherwise when the bookmark was made nothing was looked at: their rows and claims are read from the beginning of what is
   * kept. Whether that is enough the claims tell: they have to join what was taken, without a gap (claims.ts).
   */
  #resumed(marked: GatherPlace): ReadingPlace {
    const others = this.#mappedSince(marked);
    if (others.length === 0) return marked;
    const kept = others.map((table) => [mappedTopic(this.#options.name, table.to), this.#startsOf(table)] as const);
    return {
      ...marked,
      claims: this.#ready.bounds.get(this.#claims)![0]!.start,
      mapped: { ...marked.mapped, ...Object.fromEntries(kept) },
    };
  }

  #begins(marked: GatherPlace | undefined): ReadonlyMap<number, readonly Offset[]> {
    if (marked === undefined) return new Map();
    const tags = new Set(this.#options.mapping.tables.map(tableTag));
    const known = (marked.begins ?? []).filter(([tag]) => tags.has(tag) && marked.mappings.includes(tag));
    return new Map([...known, ...this.#mappedSince(marked).map((table) => [tableTag(table), this.#startsOf(table)] as const)]);
  }

  #startsOf({ to }: TableMapping): readonly Offset[] {
    return this.#ready.bounds.get(mappedTopic(this.#options.name, to))!.map(({ start }) => start);
  }

  #mappedSince({ mappings }: GatherPlace): readonly TableMapping[] {
    return this.#options.mapping.tables.filter((table) => !mappings.includes(tableTag(table)));
  }

  /** Rows that retention removed would be missing without anybody noticing. */
  #checkKept({ order, claims, mapped }: ReadingPlace, marked: GatherPlace | undefined): void {
    const wanted = new Map<string, readonly Offset[]>([[this.#order, [order]], [this.#claims, [claims]], ...Object.entries(mapped)]);
    for (const [topic, partitions] of this.#ready.bounds) {
      partitions.forEach(({ start }, partition) => {
        const from = wanted.get(topic)?.[partition] ?? 0;
        if (from >= start) return;
        const why = marked === undefined ? 'without a bookmark on the target the beginning of the log' : 'the bookmark on the target';
        throw new PipelineError(
          'CF-3003',
          `${why} needs partition ${partition} of topic ${topic} from offset ${from} on, which begins at ${start}: retention removed the rest`,
        );
      });
    }
  }

  bookmark(): Bookmark | undefined {
    return this.#cursor?.cursor.bookmark();
  }

  async release({ place }: Bookmark): Promise<void> {
    const marked = parsePlace(place);
    if (marked !== undefined) await this.#trimmer.trim(marked);
  }

  append(): never {
    throw refused();
  }

  partitionFor(): never {
    throw refused();
  }

  commit(): never {
    throw refused();
  }

  committed(): undefined {
    return undefined;
  }

  trim(): never {
    throw refused();
  }

  size(): number {
    return 0;
  }
}

function refused(): Error {
  return new Error('a gathered log is read only');
}
