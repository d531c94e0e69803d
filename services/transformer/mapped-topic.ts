/**
 * What a mapped topic takes. Guarantee: a record that it is said to take fits into a batch of the topic, by itself, as the topic was set up
 * when that was last asked; and a row is refused only by what the topic takes at that moment, so that raising its limit helps at once.
 */
import type { KafkaCluster } from '#connectors/change-log/kafka/cluster.ts';
import { RecordsBuilder, recordBytesMax, type Compression } from '#connectors/change-log/kafka/record-batch.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { UnmappableRow } from '#schemas/mapping/unmappable-row.ts';
import type { RowFields } from '#schemas/wire/wire.ts';
import type { Unplaced } from './map-event.ts';

/** Below this part of the limit nothing has to be tried: a batch has a head, and compressing may add a little. */
const SURE_SHARE = 0.95;
/** Of the largest columns, so many are told. */
const COLUMNS_TOLD = 3;

/** A row was too large by what was asked before: to be asked again, and the record to be mapped again. */
export class LimitOutdated extends Error {}

export interface MappedTopicOptions {
  readonly cluster: Pick<KafkaCluster, 'batchBytesMax'>;
  readonly compression: Compression;
}

export class MappedTopic {
  readonly name: string;
  readonly #options: MappedTopicOptions;
  #batchBytesMax: number | undefined;
  /** As it is at this moment. */
  #isFresh = false;

  constructor(name: string, options: MappedTopicOptions) {
    this.name = name;
    this.#options = options;
  }

  /** Bytes of records that fit into one batch whatever compressing makes of them; nothing is known to be too much before it was asked. */
  get sureBytes(): number {
    return Math.floor((this.#batchBytesMax ?? Infinity) * SURE_SHARE);
  }

  get isAsked(): boolean {
    return this.#batchBytesMax !== undefined;
  }

  async ask(): Promise<void> {
    const told = await this.#options.cluster.batchBytesMax(this.name);
    // Not told for once, what it was before is the better guess.
    if (told !== Infinity || this.#batchBytesMax === undefined) this.#batchBytesMax = told;
  }

  /** Asks, and does `work` by what is answered. */
  async freshly(work: () => void): Promise<void> {
    await this.ask();
    this.#isFresh = true;
    try {
      work();
    } finally {
      this.#isFresh = false;
    }
  }

  takes({ key, value, headers }: Unplaced): boolean {
    if (recordBytesMax(key, value, headers) <= this.sureBytes) return true;
    const builder = new RecordsBuilder({ compression: this.#options.compression });
    builder.add(key, value, headers);
    return builder.take().bytes <= this.#batchBytesMax!;
  }

  /** What is thrown for a row (in the mapping's columns) that it does not take. */
  refusal(row: RowFields, { from, columns }: TableMapping): UnmappableRow | LimitOutdated {
    if (!this.#isFresh) return new LimitOutdated();
    const sizes = columns.map(({ target }, i) => ({ target, bytes: Math.max(0, row.length[i]!) }));
    const all = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
    const largest = sizes.toSorted((a, b) => b.bytes - a.bytes).slice(0, COLUMNS_TOLD);
    const told = largest.filter(({ bytes }) => bytes > all / 10).map(({ target, bytes }) => `${target} ${bytes}`);
    return new UnmappableRow(
      'CF-3005',
      `a row of ${from.schema}.${from.name} has ${all} bytes as it is mapped (${told.join(', ')}) and does not fit into topic ${this.name}: ` +
        `raise max.message.bytes (now ${this.#batchBytesMax}) of that topic`,
    );
  }
}
