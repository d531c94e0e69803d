/**
 * How far raw partitions are mapped, as the claims say. Guarantee: after `catchUp` no partition's offset is above what the claims
 * acknowledged before the call cover; one that is below makes a partition be mapped again from there, which is harmless.
 *
 * Now and then a claim is whole: it repeats all that its writer knows. So a new transformer reads the claims' end from such a one on
 * instead of all that were ever written.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Fetched, KafkaCluster } from '#connectors/change-log/kafka/cluster.ts';
import type { Claim, ClaimEntry } from '#schemas/order/order-record.ts';
import type { MappingLimits } from './limits.ts';

/** A claim as it is written. Its readers need not know of whole ones: what it repeats says nothing new. */
export type WrittenClaim = Claim & { readonly whole?: true };

/** A whole claim has to fit into one record. */
const WHOLE_ENTRIES_MAX = 10_000;
const PARTITIONS_MAX = 0x10000;

export class ClaimIndex {
  readonly #cluster: KafkaCluster;
  readonly #topic: string;
  readonly #limits: MappingLimits;
  readonly #offsets = new Map<number, Offset>();
  /** Of the claims topic: read below this; undefined before the first look. */
  #read: Offset | undefined;
  #sawWhole = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(cluster: KafkaCluster, topic: string, limits: MappingLimits) {
    this.#cluster = cluster;
    this.#topic = topic;
    this.#limits = limits;
  }

  /** Where mapping goes on; 0 for a partition that nobody has claimed. */
  offset(topic: number, partition: number): Offset {
    return this.#offsets.get(topic * PARTITIONS_MAX + partition) ?? 0;
  }

  take({ entries }: Claim): void {
    for (const { topic, partition, offset } of entries) {
      const key = topic * PARTITIONS_MAX + partition;
      if (offset > (this.#offsets.get(key) ?? 0)) this.#offsets.set(key, offset);
    }
  }

  /** The claim, with all else that is known; undefined when that is too much for a record. */
  whole(claim: Claim): WrittenClaim | undefined {
    if (this.#offsets.size > WHOLE_ENTRIES_MAX) return undefined;
    const own = new Set(claim.entries.map(({ topic, partition }) => topic * PARTITIONS_MAX + partition));
    const known = [...this.#offsets].filter(([key]) => !own.has(key));
    const others = known.map(([key, offset]): ClaimEntry => {
      return { topic: Math.floor(key / PARTITIONS_MAX), partition: key % PARTITIONS_MAX, offset, ends: {} };
    });
    return { ...claim, entries: [...claim.entries, ...others], whole: true };
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
        const fetched = await fetcher.next(signal);
        signal.throwIfAborted();
        for (const part of fetched ?? []) next = this.#takeAll(part);
        if (this.#read !== undefined) this.#read = next;
      }
    } finally {
      await fetcher.close();
    }
  }

  #takeAll({ records, next }: Fetched): Offset {
    for (const { value } of records) {
      if (value === undefined) continue;
      const claim = JSON.parse(value.toString('utf8')) as WrittenClaim;
      this.take(claim);
      if (claim.whole === true) this.#sawWhole = true;
    }
    return next;
  }
}
