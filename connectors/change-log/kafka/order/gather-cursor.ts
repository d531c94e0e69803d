/**
 * Reads order, claims and mapped topics side by side and brings the raw log's frames in their order. Guarantee: a segment is handed out
 * only when claims cover every raw record that it names and the mapped topics were read up to the ends of those claims; what it holds in
 * memory is bounded, however far transformers are apart, and the segment that comes next can always be completed.
 *
 * What comes is unpacked (row by row, many times its size) only when the next segment wants it; partitions that bring what is not wanted
 * yet are paused. Where one partition holds the next segment's rows behind too many of later
 * ones, those are let go of (`#narrow`) and read again once the segments before them are through.
 */
import type { Claim } from '#schemas/order/order-record.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Cursor, Offset, ReadBatch } from '#connectors/change-log/change-log.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import type { Fetched, FetchedRecord, Fetcher, KafkaCluster } from '../cluster.ts';
import { recordsIn } from '../record-reader.ts';
import type { Cut, GatherPlace, RawKey, RawPlaceMark, ReadingPlace } from './bookmark.ts';
import { eachBranch, onBranch, takenOnAll, type Branches } from './branches.ts';
import { ClaimBook } from './claims.ts';
import { checkStored } from './lost-records.ts';
import { turn, type MappedPlace, type MappedPlaces } from './mapped-places.ts';
import { rowOf, toldBy } from './mapped-record.ts';
import type { Reassembler } from './reassemble.ts';
import { ownBytes, RowBuffer, type MappedRow } from './row-buffer.ts';
import type { QueuedSegment, SegmentQueue } from './segment-queue.ts';
import { trailOf } from './trail.ts';
import { missedBy, VainWait, type Missed } from './vain-wait.ts';

/** Mapped records that wait for their segment, unpacked. As they come, ahead of the segments that want them, they may be a part of it. */
const ROWS_BYTES_MAX = 32 * 1024 * 1024;
const PACKED_PART = 1 / 8;
const ORDER_BYTES_MAX = 8 * 1024 * 1024;
const SEGMENTS_MAX = 4096;
const CLAIMS_MAX = 65_536;
const POLL_MS = 50;
/** A roll-out of a new file takes a moment; what is mapped anew may take hours, and goes on. */
const PATIENCE_MS = 30_000;

export interface GatherCursorOptions {
  readonly cluster: KafkaCluster;
  readonly order: string;
  readonly claims: string;
  readonly places: MappedPlaces;
  readonly queue: SegmentQueue;
  readonly reassembler: Reassembler;
  readonly branches: Branches;
  /** Where reading begins; of a log read from its first record, all zero. */
  readonly place: Omit<ReadingPlace, 'mapped'>;
  /** Mapping's tag → where its mapped partitions were first read, of those that were not read from their beginning. */
  readonly begins: ReadonlyMap<number, readonly Offset[]>;
  /** What the trail is kept for: so much behind the place is not cut. */
  readonly retainBytes: number;
  /** Segments that end at or below this are passed over. */
  readonly from: Offset;
  /** Tags of the file's tables: what was mapped otherwise does not count. */
  readonly mappings: ReadonlySet<number>;
  /** Claims below this were there before `mappedEnd` was asked. */
  readonly claimsBefore: Offset;
  readonly mappedEnd: (topic: string, partition: number) => Offset | undefined;
  readonly rowsBytesMax?: number;
  /** So long rows may be waited for that were mapped by another file, and not by this one, while nothing more of them is. */
  readonly patienceMs?: number;
}

/** Raw partitions wanted up to an offset, until record `end` is through. */
interface Narrow {
  readonly limits: ReadonlyMap<RawKey, Offset>;
  readonly end: Offset;
}

export class GatherCursor implements Cursor {
  readonly #options: GatherCursorOptions;
  readonly #queue: SegmentQueue;
  readonly #claims: ClaimBook;
  readonly #rows: RowBuffer;
  readonly #rowsBytesMax: number;
  #fetcher: Fetcher | undefined;
  #orderNext: Offset;
  #claimsNext: Offset;
  #orderPaused = false;
  #claimsPaused = false;
  #narrow: Narrow | undefined;
  #ready: readonly ReadBatch[] = [];
  #readyAt = 0;
  #assembling = false;
  #mark: Bookmark | undefined;
  #markWanted = false;
  readonly #wait: VainWait;
  #bytes: number;
  #trail: readonly Cut[];
  #closed = false;

  constructor(options: GatherCursorOptions) {
    this.#options = options;
    this.#queue = options.queue;
    const placeOf = (topic: string, partition: number): number | undefined => options.places.number(topic, partition);
    // What was taken was taken for every target.
    this.#rows = new RowBuffer(takenOnAll(options.place.raw, (at) => this.#keys(at)));
    this.#claims = new ClaimBook({
      placeOf,
      mappings: options.mappings,
      marks: options.place.raw,
      begins: options.begins,
      branchOf: (mapping) => options.branches.number(mapping),
      takenOf: (raw) => this.#rows.taken(raw),
    });
    this.#bytes = options.place.bytes ?? 0;
    this.#trail = options.place.trail ?? [];
    this.#rowsBytesMax = options.rowsBytesMax ?? ROWS_BYTES_MAX;
    this.#wait = new VainWait(options.patienceMs ?? PATIENCE_MS);
    this.#orderNext = options.place.order;
    this.#claimsNext = options.place.claims;
  }

  async next(signal: AbortSignal): Promise<ReadBatch | undefined> {
    const fetcher = (this.#fetcher ??= await this.#open());
    for (;;) {
      if (signal.aborted || this.#closed) return undefined;
      if (this.#readyAt < this.#ready.length) return this.#ready[this.#readyAt++];
      if (await this.#assemble()) continue;
      this.#steer(fetcher);
      const fetched = await this.#fetch(fetcher, signal);
      if (fetched === undefined) return undefined;
      for (const part of fetched) this.#take(part);
    }
  }

  /** Waits a moment: what is durable may still be on its way through the transformers. */
  async poll(): Promise<ReadBatch | undefined> {
    return this.next(AbortSignal.timeout(POLL_MS));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#fetcher?.close();
  }

  /** @throws PipelineError CF-3003, CF-3006 when what comes next is not there, for too long, and others have it or what is behind it is. */
  async #fetch(fetcher: Fetcher, signal: AbortSignal): Promise<readonly Fetched[] | undefined> {
    const leftMs = this.#wait.leftMs(this.#missed(this.#queue.head));
    if (leftMs === undefined) return fetcher.next(signal);
    const fetched = await fetcher.next(AbortSignal.any([signal, AbortSignal.timeout(leftMs)]));
    return fetched ?? (signal.aborted || this.#closed ? undefined : []);
  }

  #missed(queued: QueuedSegment | undefined): Missed | undefined {
    // What is there already may take long to read, and says at its end what this file's transformers did.
    if (this.#claimsNext < this.#options.claimsBefore) return undefined;
    if (queued === undefined || this.#isClaimed(queued)) return undefined;
    for (const range of queued.segment.ranges.filter(({ topic }) => this.#options.reassembler.maps(topic))) {
      for (const raw of this.#keys(range)) {
        const missed = missedBy(this.#claims, { raw, to: range.to, topic: this.#queue.topic(range.topic), taken: this.#rows.taken(raw) });
        if (missed !== undefined) return missed;
      }
    }
    return undefined;
  }

  /** Of a raw partition, on its way to each target. */
  #keys({ topic, partition }: { readonly topic: number; readonly partition: number }): readonly RawKey[] {
    return eachBranch(topic, partition, this.#options.reassembler.branches(topic).length);
  }

  async #open(): Promise<Fetcher> {
    const { cluster, order, claims, places } = this.#options;
    const fetcher = await cluster.fetcher();
    fetcher.seek({ topic: order, partition: 0 }, this.#orderNext);
    fetcher.seek({ topic: claims, partition: 0 }, this.#claimsNext);
    for (const place of places.all) fetcher.seek(place, place.next);
    return fetcher;
  }

  #take(fetched: Fetched): void {
    const { order, claims, places } = this.#options;
    if (fetched.topic === order) {
      for (const { value, offset } of recordsIn(fetched)) if (value !== undefined) this.#queue.add(value, offset);
      this.#orderNext = fetched.next;
    } else if (fetched.topic === claims) {
      for (const { value, offset } of recordsIn(fetched)) if (value !== undefined) this.#takeClaim(value, offset);
      this.#claimsNext = fetched.next;
    } else {
      places.take(places.at(fetched.topic, fetched.partition)!, fetched);
    }
  }

  #takeClaim(value: Buffer, offset: Offset): void {
    const claim = JSON.parse(value.toString('utf8')) as Claim;
    if (offset < this.#options.claimsBefore) checkStored(claim, this.#options.mappedEnd);
    this.#claims.add(claim, offset);
  }

  /** @param isPicked few of many that come are kept, and each would keep all that came with it */
  #takeRow(record: FetchedRecord, place: MappedPlace, isPicked: boolean): void {
    const told = toldBy(record);
    if (told === undefined) return;
    const { offset, mapping } = told;
    if (!this.#options.mappings.has(mapping) && guarded('table-tag')) return;
    const branch = this.#options.branches.number(mapping);
    const raw = onBranch(told.raw, branch);
    if (!this.#rows.wants(raw, offset)) return;
    const narrow = this.#narrow;
    if (narrow !== undefined && offset >= (narrow.limits.get(raw) ?? 0)) {
      place.reread = Math.min(place.reread ?? record.offset, record.offset);
      return;
    }
    const row = rowOf(record, branch === 0 ? told : { ...told, raw }, place.number);
    this.#rows.add(isPicked ? ownBytes(row) : row);
  }

  /** The next segment's frames, if it is complete; true when something moved. */
  async #assemble(): Promise<boolean> {
    const queued = this.#queue.head;
    if (queued === undefined) return false;
    const { segment } = queued;
    const end = segment.base + segment.count;
    if (end > this.#options.from && !this.#complete(queued)) return false;
    if (this.#markWanted) this.#mark = this.#bookmark();
    this.#markWanted = false;
    this.#assembling = true;
    // No segment will name what stands below: it was a replaced reader's.
    for (const [topic, partition, to] of queued.floors) for (const key of this.#keys({ topic, partition })) this.#rows.drop(key, to);
    this.#bytes += queued.bytes;
    this.#ready = end > this.#options.from ? await this.#frames(queued) : this.#passOver(queued);
    this.#readyAt = 0;
    // Not after a failure: the segment's rows are gone then, and no bookmark may be made without them.
    this.#assembling = false;
    this.#queue.shift();
    if (this.#narrow !== undefined && end >= this.#narrow.end) this.#widen();
    return true;
  }

  async #frames({ segment }: QueuedSegment): Promise<readonly ReadBatch[]> {
    const rows: MappedRow[] = [];
    // Behind all frames but the one that ends them (foreign-order.ts).
    let v = segment.base + segment.skeleton.length - 1;
    for (const range of segment.ranges) {
      for (const key of this.#keys(range)) this.#rows.take(key, range, { epoch: segment.epoch, v }, rows);
      v += range.to - range.from;
    }
    for (const { value } of rows) this.#bytes += value?.length ?? 0;
    return this.#options.reassembler.frames(segment, rows);
  }

  #passOver({ segment }: QueuedSegment): readonly ReadBatch[] {
    for (const range of segment.ranges) for (const key of this.#keys(range)) this.#rows.drop(key, range.to);
    return [];
  }

  /** Unpacks what it waits for, as far as that has come. */
  #complete(queued: QueuedSegment): boolean {
    if (!this.#isClaimed(queued)) return false;
    const { places } = this.#options;
    for (;;) {
      const wanted = this.#wanted(queued);
      if (wanted.length === 0) return true;
      const came = places.all.filter((place) => wanted[place.number] === true && place.packed.length > 0);
      if (came.length === 0) return false;
      for (const place of came) for (const record of places.unpack(place)) this.#takeRow(record, place, this.#narrow !== undefined);
    }
  }

  /** Of the head: what stands below its ranges and was not taken is void, so nobody need have mapped it. */
  #isClaimed({ segment }: QueuedSegment): boolean {
    const { reassembler } = this.#options;
    if (guarded('order-range')) for (const range of segment.ranges) for (const key of this.#keys(range)) this.#rows.drop(key, range.from);
    return segment.ranges.every(
      (range) => !reassembler.maps(range.topic) || this.#keys(range).every((key) => this.#claims.reach(key, range.to)),
    );
  }

  /** Which mapped partitions (by number) have to be read further for it, as far as its claims have come. */
  #wanted({ segment }: QueuedSegment): readonly boolean[] {
    const { all } = this.#options.places;
    const wanted: boolean[] = [];
    for (const range of segment.ranges)
      for (const key of this.#keys(range))
        for (const [place, end] of this.#claims.ends(key)) if (all[place]!.next < end) wanted[place] = true;
    return wanted;
  }

  /** Pauses what brings too much, and never what the next segment waits for. */
  #steer(fetcher: Fetcher): void {
    const { order, claims, places } = this.#options;
    const head = this.#queue.head;
    const claimed = head !== undefined && this.#isClaimed(head);
    const share = this.#orderPaused ? 0.5 : 1;
    const manySegments = this.#queue.bytes > share * ORDER_BYTES_MAX || this.#queue.length > share * SEGMENTS_MAX;
    this.#orderPaused = turn(fetcher, { topic: order, partition: 0 }, this.#orderPaused, manySegments);
    this.#claimsPaused = turn(fetcher, { topic: claims, partition: 0 }, this.#claimsPaused, claimed && this.#claims.size > CLAIMS_MAX);
    if (head !== undefined && this.#rows.bytes > 2 * this.#rowsBytesMax) this.#narrowDown();
    const packedBytesMax = this.#rowsBytesMax * PACKED_PART;
    const hasRoom = this.#narrow === undefined && this.#rows.bytes < this.#rowsBytesMax / 2;
    if (places.bytes > packedBytesMax && hasRoom) for (const place of places.all) this.#passUnwanted(place);
    const full = places.bytes > packedBytesMax || this.#narrow !== undefined;
    const calm = this.#narrow === undefined && places.bytes < packedBytesMax / 2;
    const wanted = head === undefined ? [] : this.#wanted(head);
    for (const place of places.all) {
      const pause = wanted[place.number] === true || calm ? false : full || place.paused;
      place.paused = turn(fetcher, place, place.paused, pause);
    }
  }

  /** Batches of another file's transformers, and repeats: no segment asks for them, and they would stand in the way of all that comes. */
  #passUnwanted(place: MappedPlace): void {
    const { places } = this.#options;
    while (place.packed.length > 0 && !this.#isWanted(places.peek(place)))
      for (const record of places.unpack(place)) this.#takeRow(record, place, true);
  }

  #isWanted(record: FetchedRecord | undefined): boolean {
    const told = record && toldBy(record);
    if (told === undefined || !this.#options.mappings.has(told.mapping)) return false;
    return this.#rows.wants(told.raw, told.offset);
  }

  /** Lets go of what is not for the first segments that wait. Never widens: what was let go of before is not here. */
  #narrowDown(): void {
    const { places } = this.#options;
    const limits = new Map<RawKey, Offset>();
    let bytes = 0;
    let end: Offset | undefined;
    const farthest = this.#narrow?.end ?? Infinity;
    for (const segment of this.#queue.waiting()) {
      if (segment.base >= farthest) break;
      for (const range of segment.ranges) for (const key of this.#keys(range)) bytes += this.#rows.bytesOf(key, range);
      if (end !== undefined && bytes > this.#rowsBytesMax / 2) break;
      for (const range of segment.ranges) for (const key of this.#keys(range)) limits.set(key, range.to);
      end = segment.base + segment.count;
    }
    this.#narrow = { limits, end: end! };
    this.#rows.evict(limits, ({ place: number, at }) => {
      const place = places.all[number]!;
      place.reread = Math.min(place.reread ?? at, at);
    });
  }

  #widen(): void {
    this.#narrow = undefined;
    for (const place of this.#options.places.all) {
      if (place.reread === undefined) continue;
      this.#options.places.goBack(place, place.reread);
      this.#fetcher!.seek(place, place.next);
    }
  }

  /** Where reading can go on behind what was handed out; made between two segments only. */
  bookmark(): Bookmark | undefined {
    if (this.#assembling || this.#readyAt < this.#ready.length) this.#markWanted = true;
    else this.#mark = this.#bookmark();
    return this.#mark;
  }

  #bookmark(): Bookmark | undefined {
    const queue = this.#queue;
    const base = queue.head?.segment.base ?? queue.end;
    if (base === undefined) return undefined;
    for (const raw of this.#rows.raws()) this.#claims.reach(raw, this.#rows.taken(raw));
    const { checkpoint } = queue;
    const place: GatherPlace = {
      version: 2,
      ...(checkpoint !== undefined && { checkpoint }),
      bytes: this.#bytes,
      begins: [...this.#options.begins],
      mappings: [...this.#options.mappings],
      branches: Array.from(this.#options.mappings, (tag) => this.#options.branches.number(tag)),
      base,
      order: queue.head?.at ?? this.#orderNext,
      epoch: queue.epoch,
      topics: queue.topics,
      claims: this.#claims.readFrom(this.#claimsNext),
      ...this.#reading(),
    };
    this.#trail = trailOf(this.#trail, place, this.#options.retainBytes);
    return { offset: base, place: JSON.stringify({ ...place, trail: this.#trail } satisfies GatherPlace) };
  }

  #reading(): Pick<GatherPlace, 'mapped' | 'raw'> {
    const { all } = this.#options.places;
    const from = all.map(({ next, reread }) => Math.min(next, reread ?? next));
    for (const row of this.#rows.held()) from[row.place] = Math.min(from[row.place]!, row.at);
    const mapped: Record<string, Offset[]> = {};
    for (const { topic, partition, number } of all) (mapped[topic] ??= [])[partition] = from[number]!;
    // Also of what a claim was taken for before this cursor began, and of which nothing has come since: that claim is not read again.
    const raw = Array.from(new Set([...this.#rows.raws(), ...this.#claims.raws()]), (key): RawPlaceMark => {
      const { offset, ends } = this.#claims.taken(key);
      // What lies below where reading begins is read.
      const open = [...ends].filter(([number, end]) => end > from[number]!);
      const marked = open.map(([n, end]) => [all[n]!.topic, all[n]!.partition, end] as const);
      return { raw: key, taken: this.#rows.taken(key), claimed: offset, ends: marked };
    });
    return { mapped, raw: raw.filter(({ taken, claimed }) => taken > 0 || claimed > 0) };
  }
}
