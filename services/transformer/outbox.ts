/**
 * Mapped records on their way out. Guarantee: at every moment each mapped partition holds a prefix of what was added for it since the
 * last claim (nothing is ever stored behind a gap, because a reader takes a record below one that it has seen for a repeat), and a claim
 * is appended only when every output of what it covers is acknowledged, and every claim before it; it names all of those outputs.
 *
 * So one produce at a time is under way, with one batch for each partition, and beside it one claim. No timer: what gathers while a
 * produce is under way goes out the moment it ends. After a failure nothing more is sent: what was stored is not known.
 */
import type { KafkaCluster, KafkaRecords, ProduceBatch, Produced, TopicPartition } from '#connectors/change-log/kafka/cluster.ts';
import { lostMapped } from '#connectors/change-log/kafka/order/lost-records.ts';
import {
  passedBytesMax,
  recordBytesMax,
  RecordsBuilder,
  type Compression,
  type PassedRecord,
} from '#connectors/change-log/kafka/record-batch.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Claim, ClaimEntry } from '#schemas/order/order-record.ts';
import type { ClaimIndex } from './claim-index.ts';
import type { MappingLimits } from './limits.ts';
import type { MappedRecord } from './map-event.ts';

export interface OutboxOptions {
  readonly cluster: KafkaCluster;
  readonly claimsTopic: string;
  readonly claims: Pick<ClaimIndex, 'end'>;
  readonly compression: Compression;
  readonly limits: MappingLimits;
  readonly onFailure: (error: unknown) => void;
  /** Last touch before a claim is appended. */
  readonly finish: (claim: Claim) => Claim;
  readonly onClaimed: (claim: Claim) => void;
}

/** A partition of a raw topic, by the topic's index. */
export interface RawPartition {
  readonly topic: number;
  readonly partition: number;
  /** Tag of the mapping that its records are mapped by. */
  readonly mapping: number;
}

/** A mapped topic, and how many bytes of records certainly fit into a batch of it. */
export interface BoundedTopic {
  readonly name: string;
  readonly sureBytes: number;
}

/** One mapped partition's records of a group. */
interface Outgoing extends TopicPartition {
  readonly builder: RecordsBuilder;
  /** Raw partitions that they come from. */
  readonly sources: Set<RawState>;
}

/** What goes out in one produce. */
interface Group {
  readonly outgoing: Map<string, Outgoing[]>;
  /** Of raw partitions, up to where everything is in this group or in one before. */
  readonly moved: Map<RawState, Mark>;
  bytes: number;
}

interface Mark {
  readonly offset: Offset;
  /** Records that the batches held then: what comes after them is of raw records at or above `offset`. */
  readonly counts: ReadonlyMap<Outgoing, number>;
}

interface Span {
  readonly begin: Offset;
  readonly end: Offset;
}

/** Mapped topic → partition → where it begins and ends. */
type Spans = Map<string, Map<number, Span>>;

interface RawState extends RawPartition {
  /** Acknowledged, below `offset`, and in no claim yet. */
  ends: Spans;
  /** Acknowledged outputs of raw records beyond the last mark: a claim names all outputs of what it covers, for others may pass over it. */
  ahead: Spans;
  /** Where the next claim begins. */
  from: Offset;
  /** To be claimed. */
  offset: Offset | undefined;
}

export class Outbox {
  readonly #options: OutboxOptions;
  /** One for each mapping. */
  readonly #raw = new Map<number, RawState[]>();
  #open: Group = emptyGroup();
  readonly #sealed: Group[] = [];
  readonly #claimable = new Set<RawState>();
  /** Mapped partitions that were looked at before anything was written to them. */
  readonly #looked = new Set<string>();
  #heldBytes = 0;
  #sending = false;
  /** What gathers is to go out as it stands. */
  #isDue = false;
  #claiming = false;
  #failed = false;
  #changed = Promise.withResolvers<void>();

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  add(raw: RawPartition, to: BoundedTopic, record: MappedRecord): void {
    const { partition, key, value, headers } = record;
    const outgoing = this.#placeFor(raw, to, partition, recordBytesMax(key, value, headers));
    const before = outgoing.builder.bytes;
    outgoing.builder.add(key, value, headers);
    this.#grew(outgoing, before, to);
  }

  /** The same for a record that is passed on. */
  pass(raw: RawPartition, to: BoundedTopic, partition: number, passed: PassedRecord): void {
    const outgoing = this.#placeFor(raw, to, partition, passedBytesMax(passed));
    const before = outgoing.builder.bytes;
    outgoing.builder.addPassed(passed);
    this.#grew(outgoing, before, to);
  }

  #placeFor(raw: RawPartition, to: BoundedTopic, partition: number, recordBytes: number): Outgoing {
    let outgoing = this.#outgoing(to.name, partition);
    // Alone, if it is a large one: only then is the batch as large as the row, which the topic takes.
    if (outgoing.builder.count > 0 && outgoing.builder.bytes + recordBytes > this.#batchBytes(to)) {
      this.#seal();
      outgoing = this.#outgoing(to.name, partition);
    }
    outgoing.sources.add(this.#state(raw));
    return outgoing;
  }

  #batchBytes({ sureBytes }: BoundedTopic): number {
    return Math.min(this.#options.limits.batchBytes, sureBytes);
  }

  #grew({ builder }: Outgoing, before: number, to: BoundedTopic): void {
    const { limits } = this.#options;
    const grown = builder.bytes - before;
    this.#open.bytes += grown;
    this.#heldBytes += grown;
    if (builder.bytes < this.#batchBytes(to) && this.#open.bytes < limits.groupBytes) return;
    this.#seal();
    this.#start();
  }

  /** The raw partition is mapped from `offset` on: what its claims speak of begins there. */
  begin(raw: RawPartition, offset: Offset): void {
    this.#state(raw).from = offset;
  }

  /** All of the raw partition below `offset` was added (or left no record). */
  moved(raw: RawPartition, offset: Offset): void {
    const state = this.#state(raw);
    const { moved, outgoing } = this.#open;
    const counts = new Map<Outgoing, number>();
    for (const partitions of outgoing.values())
      for (const one of Object.values(partitions)) if (one.sources.has(state)) counts.set(one, one.builder.count);
    moved.set(state, { offset: Math.max(offset, moved.get(state)?.offset ?? 0), counts });
  }

  /** Nothing more is sent. */
  close(): void {
    this.#failed = true;
    this.#tell();
  }

  /** Sends what there is as soon as nothing is under way: nothing more is at hand. */
  flush(): void {
    this.#isDue = true;
    this.#start();
  }

  /** Full groups go out in any case; one that is filling up only when nothing more is at hand. */
  #start(): void {
    if (this.#sending || this.#failed) return;
    if (this.#sealed.length === 0 && this.#isDue) this.#seal();
    if (this.#sealed.length === 0) return;
    this.#sending = true;
    void this.#sendAll();
  }

  /** Resolves when little enough is held; at once after a failure. */
  async room(): Promise<void> {
    while (this.#heldBytes > this.#options.limits.heldBytes && !this.#failed) {
      this.flush();
      await this.#changed.promise;
    }
  }

  /** Resolves when everything added is acknowledged and claimed; at once after a failure. */
  async idle(): Promise<void> {
    this.flush();
    while ((this.#sending || this.#claiming || this.#heldBytes > 0) && !this.#failed) await this.#changed.promise;
  }

  #outgoing(topic: string, partition: number): Outgoing {
    let partitions = this.#open.outgoing.get(topic);
    if (partitions === undefined) this.#open.outgoing.set(topic, (partitions = []));
    const { compression } = this.#options;
    return (partitions[partition] ??= { topic, partition, builder: new RecordsBuilder({ compression }), sources: new Set() });
  }

  #state({ topic, partition, mapping }: RawPartition): RawState {
    const key = topic * 0x10000 + partition;
    let states = this.#raw.get(key);
    if (states === undefined) this.#raw.set(key, (states = []));
    let state = states.find((one) => one.mapping === mapping);
    if (state === undefined)
      states.push((state = { topic, partition, mapping, ends: new Map(), ahead: new Map(), from: 0, offset: undefined }));
    return state;
  }

  #seal(): void {
    this.#isDue = false;
    if (this.#open.moved.size === 0 && this.#open.outgoing.size === 0) return;
    this.#sealed.push(this.#open);
    this.#open = emptyGroup();
  }

  async #sendAll(): Promise<void> {
    try {
      for (;;) {
        if (this.#sealed.length === 0 && this.#isDue) this.#seal();
        const group = this.#sealed.shift();
        if (group === undefined || this.#failed) break;
        await this.#send(group);
        this.#heldBytes -= group.bytes;
        this.#claim();
        this.#tell();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#sending = false;
      this.#tell();
    }
  }

  async #send(group: Group): Promise<void> {
    const outgoing = [...group.outgoing.values()].flatMap((partitions) => Object.values(partitions));
    const batches = outgoing.map(({ topic, partition, builder }): ProduceBatch => ({ topic, partition, records: builder.take() }));
    const spans = batches.length === 0 ? new Map<string, Span>() : await this.#produce(batches);
    for (const [state, { offset }] of group.moved) {
      for (const [topic, partitions] of state.ahead)
        for (const [partition, span] of partitions) widen(state.ends, { topic, partition }, span);
      state.ahead = new Map();
      state.offset = Math.max(offset, state.offset ?? 0);
      this.#claimable.add(state);
    }
    for (const one of outgoing) {
      const { begin, end } = spans.get(placeKey(one))!;
      for (const state of one.sources) {
        const upTo = begin + (group.moved.get(state)?.counts.get(one) ?? 0);
        if (upTo > begin) widen(state.ends, one, { begin, end: upTo });
        if (upTo < end) widen(state.ahead, one, { begin: upTo, end });
      }
    }
  }

  async #produce(batches: readonly ProduceBatch[]): Promise<ReadonlyMap<string, Span>> {
    const { claims, cluster } = this.#options;
    // Asked before: what others claim while this is under way may stand behind it.
    const claimed = new Map(batches.map((batch) => [placeKey(batch), claims.end(batch)]));
    await this.#checkKept(batches, claimed);
    const produced = await cluster.produce(batches);
    for (const one of produced) checkBehind(one, claimed.get(placeKey(one))!);
    const counts = new Map(batches.map((batch) => [placeKey(batch), batch.records.count]));
    return new Map(produced.map((one) => [placeKey(one), { begin: one.baseOffset, end: one.baseOffset + counts.get(placeKey(one))! }]));
  }

  /**
   * Nothing may be written into a topic that lost what was claimed of it: a reader could take it for that. What others claim meanwhile is
   * not in `claimed`, which was asked before.
   * @throws PipelineError CF-3002
   */
  async #checkKept(batches: readonly TopicPartition[], claimed: ReadonlyMap<string, Offset>): Promise<void> {
    const first = batches.filter((batch) => !this.#looked.has(placeKey(batch)));
    for (const [topic, places] of Map.groupBy(first, (batch) => batch.topic)) {
      const bounds = await this.#options.cluster.bounds(topic);
      for (const place of places) {
        const end = bounds[place.partition]?.end ?? 0;
        const wanted = claimed.get(placeKey(place))!;
        if (end < wanted && guarded('mapped-ends')) throw lostMapped(place, end, wanted);
        this.#looked.add(placeKey(place));
      }
    }
  }

  #claim(): void {
    if (this.#claiming || this.#failed || this.#claimable.size === 0) return;
    this.#claiming = true;
    void this.#claimAll();
  }

  async #claimAll(): Promise<void> {
    try {
      while (this.#claimable.size > 0 && !this.#failed) {
        const claim = this.#takeClaim();
        await this.#options.cluster.produce([{ topic: this.#options.claimsTopic, partition: 0, records: recordOf(claim) }]);
        this.#options.onClaimed(claim);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#claiming = false;
      this.#tell();
    }
  }

  #takeClaim(): Claim {
    const entries = [...this.#claimable].map((state): ClaimEntry => {
      const ends = Object.fromEntries(
        [...state.ends].map(([topic, spans]) => [topic, Array.from(spans, ([number, { begin, end }]) => [number, end, begin] as const)]),
      );
      const { topic, partition, mapping } = state;
      const offset = state.offset!;
      const entry = { topic, partition, mapping, from: Math.min(state.from, offset), offset, ends };
      state.from = Math.max(state.from, offset);
      state.ends = new Map();
      state.offset = undefined;
      return entry;
    });
    this.#claimable.clear();
    return this.#options.finish({ t: 'claim', entries });
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#options.onFailure(error);
    this.#tell();
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** @throws PipelineError CF-3002 when it is stored below what was claimed before it was sent */
function checkBehind({ baseOffset, ...place }: Produced, claimed: Offset): void {
  if (baseOffset < claimed && guarded('mapped-ends')) throw lostMapped(place, baseOffset, claimed);
}

function emptyGroup(): Group {
  return { outgoing: new Map(), moved: new Map(), bytes: 0 };
}

function placeKey({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`;
}

function widen(spans: Spans, { topic, partition }: TopicPartition, { begin, end }: Span): void {
  let partitions = spans.get(topic);
  if (partitions === undefined) spans.set(topic, (partitions = new Map()));
  const known = partitions.get(partition);
  partitions.set(partition, { begin: Math.min(begin, known?.begin ?? begin), end: Math.max(end, known?.end ?? end) });
}

function recordOf(claim: Claim): KafkaRecords {
  const builder = new RecordsBuilder();
  builder.add(undefined, Buffer.from(JSON.stringify(claim), 'utf8'));
  return builder.take();
}
