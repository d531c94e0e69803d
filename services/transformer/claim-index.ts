/**
 * How far raw partitions are mapped by each mapping, as the claims say. Guarantee: after `catchUp` no partition's offset is above what the
 * claims of that mapping acknowledged before the call cover; one that is below makes a partition be mapped again from there, which is
 * harmless. What another mapping of the table has claimed is not looked at: the partition is mapped from its beginning then.
 *
 * Now and then a claim is whole: it repeats all that its writer knows. So a new transformer reads the claims' end from such a one on
 * instead of all that were ever written.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { Fetched, KafkaCluster } from '#connectors/change-log/kafka/cluster.ts';
import type { Claim, ClaimEntry } from '#schemas/order/order-record.ts';
import type { MappingLimits } from './limits.ts';
import type { RawPartition } from './outbox.ts';

/** A claim as it is written. Its readers need not know of whole ones: what it repeats says nothing new. */
export type WrittenClaim = Claim & { readonly whole?: true };

/** A whole claim has to fit into one record. */
const WHOLE_ENTRIES_MAX = 10_000;
const PARTITIONS_MAX = 0x10000;

export class ClaimIndex {
  readonly #cluster: KafkaCluster;
  readonly #topic: string;
  readonly #limits: MappingLimits;
  /** Mapping's tag → raw partition → offset. */
  readonly #offsets = new Map<number, Map<number, Offset>>();
  /** Of the claims topic: read below this; undefined before the first look. */
  #read: Offset | undefined;
  #sawWhole = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(cluster: KafkaCluster, topic: string, limits: MappingLimits) {
    this.#cluster = cluster;
    this.#topic = topic;
    this.#limits = limits;
  }

  /** Where mapping goes on; 0 for a partition that nobody has claimed by this mapping. */
  offset({ topic, partition, mapping }: RawPartition): Offset {
    return this.#offsets.get(mapping)?.get(topic * PARTITIONS_MAX + partition) ?? 0;
  }

  take({ entries }: Claim): void {
    for (const { topic, partition, mapping, offset } of entries) {
      const key = topic * PARTITIONS_MAX + partition;
      let offsets = this.#offsets.get(mapping);
      if (offsets === undefined) this.#offsets.set(mapping, (offsets = new Map()));
      if (offset > (offsets.get(key) ?? 0)) offsets.set(key, offset);
    }
  }

  /** The claim, with all else that is known; undefined when that is too much for a record. */
  whole(claim: Claim): WrittenClaim | undefined {
    const own = new Set(claim.entries.map(keyOf));
    const known = [...this.#offsets].flatMap(([mapping, offsets]) =>
      Array.from(offsets, ([key, offset]): ClaimEntry => {
        return { topic: Math.floor(key / PARTITIONS_MAX), partition: key % PARTITIONS_MAX, mapping, offset, ends: {} };
      }),
    );
    if (known.length > WHOLE_ENTRIES_MAX) return undefined;
    const others = known.filter((entry) => !own.has(keyOf(entry)));
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

function keyOf({ topic, partition, mapping }: RawPartition): string {
  return `${topic} ${partition} ${mapping}`;
}
