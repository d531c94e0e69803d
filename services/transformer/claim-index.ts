/**
 * How far raw partitions are mapped by each mapping, as the claims say. Guarantee: after `catchUp` no partition's offset is above what the
 * claims of that mapping acknowledged before the call cover; one that is below makes a partition be mapped again from there, which is
 * harmless. What another mapping of the table has claimed is not looked at: the partition is mapped from its beginning then.
 *
 * Now and then a claim is whole: it repeats all that its writer knows. So a new transformer reads the claims' end from such a one on
 * instead of all that were ever written.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Fetched, KafkaCluster, TopicPartition } from '#connectors/change-log/kafka/cluster.ts';
import { keptFrom } from '#connectors/change-log/kafka/order/lost-records.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import type { Claim, ClaimEntry } from '#schemas/order/order-record.ts';
import type { MappingLimits } from './limits.ts';
import type { RawPartition } from './outbox.ts';

/** A claim as it is written. Its readers need not know of whole ones: what it repeats says nothing new. */
export type WrittenClaim = Claim & { readonly whole?: true; readonly mapped?: ClaimEntry['ends'] };

/** A whole claim has to fit into one record. */
const WHOLE_ENTRIES_MAX = 10_000;
const PARTITIONS_MAX = 0x10000;

export class ClaimIndex {
  readonly #cluster: KafkaCluster;
  readonly #topic: string;
  readonly #limits: MappingLimits;
  /** Mapping's tag → raw partition → offset. */
  readonly #offsets = new Map<number, Map<number, Offset>>();
  /** Of mapped partitions, as far as claims were read. */
  readonly #ends = new Map<string, Map<number, Offset>>();
  /** Of the claims topic: read below this; undefined before the first look. */
  #read: Offset | undefined;
  #sawWhole = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(cluster: KafkaCluster, topic: string, limits: MappingLimits) {
    this.#cluster = cluster;
    this.#topic = topic;
    this.#limits = limits;
  }

  /** Up to where claims that were read name records of a mapped partition. */
  end({ topic, partition }: TopicPartition): Offset {
    return this.#ends.get(topic)?.get(partition) ?? 0;
  }

  /** Where mapping goes on; 0 for a partition that nobody has claimed by this mapping. */
  offset({ topic, partition, mapping }: RawPartition): Offset {
    return this.#offsets.get(mapping)?.get(topic * PARTITIONS_MAX + partition) ?? 0;
  }

  take({ entries, mapped = {} }: WrittenClaim): void {
    this.#takeEnds(mapped);
    for (const { topic, partition, mapping, offset, ends } of entries) {
      this.#takeEnds(ends);
      const key = topic * PARTITIONS_MAX + partition;
      let offsets = this.#offsets.get(mapping);
      if (offsets === undefined) this.#offsets.set(mapping, (offsets = new Map()));
      if (offset > (offsets.get(key) ?? 0)) offsets.set(key, offset);
    }
  }

  #takeEnds(ends: ClaimEntry['ends']): void {
    for (const [topic, partitions] of Object.entries(ends)) {
      let known = this.#ends.get(topic);
      if (known === undefined) this.#ends.set(topic, (known = new Map()));
      for (const [partition, end] of partitions) known.set(partition, Math.max(end, known.get(partition) ?? 0));
    }
  }

  /** The claim, with all else that is known; undefined when that is too much for a record. */
  whole(claim: Claim): WrittenClaim | undefined {
    const own = new Set(claim.entries.map(keyOf));
    const known = [...this.#offsets].flatMap(([mapping, offsets]) =>
      Array.from(offsets, ([key, offset]): ClaimEntry => {
        // It repeats how far that mapping is, and covers nothing: where the outputs lie, only the claims say that were written of them.
        return { topic: Math.floor(key / PARTITIONS_MAX), partition: key % PARTITIONS_MAX, mapping, from: offset, offset, ends: {} };
      }),
    );
    if (known.length > WHOLE_ENTRIES_MAX) return undefined;
    const others = known.filter((entry) => !own.has(keyOf(entry)));
    const mapped = Object.fromEntries(Array.from(this.#ends, ([topic, ends]) => [topic, [...ends]]));
    return { ...claim, entries: [...claim.entries, ...others], whole: true, mapped };
  }

  /** Reads what there is now. */
  catchUp(signal: AbortSignal): Promise<void> {
    const read = this.#reading.then(() => this.#readOn(signal));
    this.#reading = read.catch(() => undefined);
    return read;
  }

  async #readOn(signal: AbortSignal): Promise<void> {
    const [bounds] = await this.#cluster.bounds(this.#topic);
    const { start, end } = bounds!;
    if (this.#read !== undefined) {
      await this.#readTo({ from: Math.max(this.#read, start), to: end }, signal);
      return;
    }
    this.#sawWhole = false;
    for (let records = this.#limits.firstLookRecords; ; records *= 4) {
      const from = Math.max(start, end - records);
      await this.#readTo({ from, to: end }, signal);
      if (this.#sawWhole || from === start) break;
    }
    this.#read = end;
  }

  async #readTo({ from, to }: { readonly from: Offset; readonly to: Offset }, signal: AbortSignal): Promise<void> {
    if (from >= to) return;
    const fetcher = await this.#cluster.fetcher();
    try {
      fetcher.seek({ topic: this.#topic, partition: 0 }, from);
      for (let next = from; next < to;) {
        const fetched = await fetcher.next(signal).catch((error: unknown) => {
          // What the claims below said is applied, or is mapped again.
          const start = keptFrom(error);
          next = start;
          fetcher.seek({ topic: this.#topic, partition: 0 }, start);
          return [];
        });
        signal.throwIfAborted();
        for (const part of fetched ?? []) next = this.#takeAll(part);
        if (this.#read !== undefined) this.#read = next;
      }
    } finally {
      await fetcher.close();
    }
  }

  #takeAll({ batches, next }: Fetched): Offset {
    for (const { value } of recordsIn({ batches })) {
      if (value === undefined) continue;
      const claim = JSON.parse(value.toString('utf8')) as WrittenClaim;
      this.take(claim);
      if (claim.whole === true) this.#sawWhole = true;
    }
    return next;
  }
}

function keyOf({ topic, partition, mapping }: RawPartition): string {
  return `${topic} ${partition} ${mapping}`;
}
