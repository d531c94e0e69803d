/**
 * The transformer: raw topics → mapped topics, shared out by raw partition numbers among any number of processes. Guarantee: every raw
 * record that a segment can name is in the mapped topics below the ends of the claims that cover it; after whatever goes wrong mapping
 * goes on from the last claims, so records are written twice at times and never left out.
 */
import type { KafkaCluster } from '#connectors/change-log/kafka/cluster.ts';
import { claimsTopic, membersTopic, orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { Compression } from '#connectors/change-log/kafka/record-batch.ts';
import type { WorkShare } from '#connectors/change-log/kafka/work-share.ts';
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { TopicOrderRecord } from '#schemas/order/order-record.ts';
import type { CatalogType } from '#schemas/table.ts';
import { mappedShape } from '#schemas/wire/shape.ts';
import type { RowEncoder, WireFormat } from '#schemas/wire/wire.ts';
import { RECONNECT, waitBackoff, type Backoff } from '#services/runtime/backoff.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import { ClaimIndex } from './claim-index.ts';
import { foreignStamps } from './event-stamp.ts';
import { LIMITS, type MappingLimits } from './limits.ts';
import { EventMapper, type MapOutcome } from './map-event.ts';
import { MappedTopic } from './mapped-topic.ts';
import { MappingSession } from './mapping-session.ts';
import { OrderTopics } from './order-topics.ts';

export interface TransformerOptions {
  readonly cluster: KafkaCluster;
  readonly members: WorkShare;
  readonly mapping: CompiledMapping;
  /** The source's database, as events name it. */
  readonly database: string;
  /** The source's user types, for the labels of enums. */
  readonly types?: readonly CatalogType[];
  readonly format: WireFormat;
  /** Of each raw and each mapped topic. */
  readonly partitions: number;
  readonly compression: Compression;
  readonly logger: Logger;
  readonly backoff?: Backoff;
  readonly limits?: MappingLimits;
}

export interface TransformerStatus {
  /** joining: no share is known yet. waiting: others have everything, or a failure is waited out. */
  readonly state: 'joining' | 'waiting' | 'mapping';
  /** Raw partition numbers that are being mapped here. */
  readonly partitions: readonly number[];
  /** Raw records since the start, by what became of them. */
  readonly records: Readonly<Record<MapOutcome, number>>;
  readonly failures: number;
  readonly error?: string;
}

const NOTHING: readonly number[] = [];

const ODD = {
  misfit: 'the table lacks a mapped column now: its rows are not mapped, and the sink holds it',
  foreign: 'the raw topic holds records that are not of this migration: they are passed over',
  unmapped: 'the mapping makes nothing of a row: the sink sets it aside, or holds the table',
} as const;

export class Transformer implements Service {
  readonly id = 'transformer';
  readonly #options: TransformerOptions;
  readonly #claims: ClaimIndex;
  readonly #order = new OrderTopics();
  /** By source table: one for each target that it goes to. */
  readonly #tables = new Map<string, { readonly table: TableMapping; readonly encoder: RowEncoder }[]>();
  readonly #told = new Set<string>();
  readonly #counts: Record<MapOutcome, number> = { mapped: 0, 'left-out': 0, foreign: 0, misfit: 0, unmapped: 0 };
  #session: MappingSession | undefined;
  #share: readonly number[] | undefined;
  #failures = 0;
  /** In a row, for the back-off. */
  #tries = 0;
  #error: string | undefined;

  constructor(options: TransformerOptions) {
    this.#options = options;
    this.#claims = new ClaimIndex(options.cluster, claimsTopic(options.mapping.name), options.limits ?? LIMITS);
  }

  status(): TransformerStatus {
    const partitions = this.#session?.held ?? NOTHING;
    const state = this.#share === undefined ? 'joining' : partitions.length === 0 ? 'waiting' : 'mapping';
    const error = this.#error === undefined ? {} : { error: this.#error };
    return { state, partitions, records: { ...this.#counts }, failures: this.#failures, ...error };
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#untilDone(signal, () => this.#prepare());
    try {
      await this.#untilDone(signal, () => this.#join(signal));
      await this.#untilDone(signal, () => this.#map(signal));
    } finally {
      await this.#options.members.leave();
    }
  }

  /** Joining waits for the group's coordinator, a stop does not. */
  async #join(signal: AbortSignal): Promise<void> {
    const stopped = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    await Promise.race([stopped.promise, this.#options.members.join((numbers) => this.#hold(numbers))]);
  }

  #hold(numbers: readonly number[]): void {
    this.#share = numbers;
    this.#options.logger.info({ partitions: numbers }, 'mapping these partitions');
    this.#session?.hold(numbers);
  }

  /** Repeats until it succeeds or `signal` fires. @throws what only somebody else can mend */
  async #untilDone(signal: AbortSignal, attempt: () => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      try {
        await attempt();
        return;
      } catch (error) {
        this.#failures++;
        this.#error = messageOf(error);
        if (!passesByItself(error)) throw error;
        this.#options.logger.warn({ error: this.#error }, 'mapping was interrupted; going on from the last claims');
        await waitBackoff(this.#options.backoff ?? RECONNECT, this.#tries++, signal).catch(() => undefined);
      }
    }
  }

  async #prepare(): Promise<void> {
    const { cluster, mapping, partitions, format, database, types } = this.#options;
    const one = { partitions: 1 };
    const many = { partitions };
    const topics = new Map([
      [orderTopic(mapping.name), one],
      [claimsTopic(mapping.name), one],
      [membersTopic(mapping.name), many],
    ]);
    const shapes = mapping.tables.map((table) => {
      const relation = { oid: 0, schema: table.from.schema, name: table.from.name, replicaIdentity: 'd' as const, columns: [] };
      return { table, shape: mappedShape(table, { name: mapping.name, database, relation, ...(types !== undefined && { types }) }) };
    });
    for (const { shape } of shapes) topics.set(shape.topic, many);
    await cluster.ensureTopics(topics);
    for (const [id, group] of Map.groupBy(shapes, ({ table }) => tableId(table.from))) {
      if (this.#tables.has(id)) continue;
      const mapped = await Promise.all(group.map(async ({ table, shape }) => ({ table, encoder: await format.encoder(shape) })));
      this.#tables.set(id, mapped);
    }
  }

  async #map(signal: AbortSignal): Promise<void> {
    const { cluster, mapping, compression, format, partitions } = this.#options;
    const session = new MappingSession({
      cluster,
      orderTopic: orderTopic(mapping.name),
      claimsTopic: claimsTopic(mapping.name),
      compression,
      limits: this.#options.limits ?? LIMITS,
      format,
      claims: this.#claims,
      order: this.#order,
      numbers: partitions,
      mappersOf: (topic) => this.#mappersOf(topic),
      counts: this.#counts,
      onClaimed: () => {
        this.#tries = 0;
        this.#error = undefined;
      },
      onRemoved: (place, start) =>
        this.#options.logger.info({ ...place, start }, 'what was applied before was removed; reading begins here'),
      onOdd: (outcome, { table, to }) => this.#tellOnce(outcome, table, to.name),
    });
    this.#session = session;
    try {
      await session.run(signal, this.#share ?? NOTHING);
    } finally {
      this.#session = undefined;
    }
  }

  #tellOnce(outcome: 'misfit' | 'foreign' | 'unmapped', { from }: TableMapping, topic: string): void {
    const told = `${outcome} ${topic}`;
    if (this.#told.has(told)) return;
    this.#told.add(told);
    this.#options.logger.warn({ table: `${from.schema}.${from.name}`, topic }, ODD[outcome]);
  }

  #mappersOf({ index, schema, table: name, topic, oid }: TopicOrderRecord): readonly EventMapper[] {
    const known = this.#tables.get(tableId({ schema, name }));
    if (known === undefined) {
      this.#options.logger.warn({ topic }, 'the file does not map this topic; it is not read');
      return [];
    }
    const { format, partitions } = this.#options;
    // Its records do not say their relation: it is somebody else's.
    const stamps = oid === undefined ? {} : { stamps: foreignStamps(index) };
    return known.map(
      (one) => new EventMapper({ ...one, format, partitions, to: new MappedTopic(one.encoder.shape.topic, this.#options), ...stamps }),
    );
  }
}

/** Kafka or the registry out of reach; anything else that is not ours. */
function passesByItself(error: unknown): boolean {
  if (error instanceof InvariantError) return false;
  return !(error instanceof PipelineError) || error.retry === 'timed' || error.code === 'CF-3001';
}
