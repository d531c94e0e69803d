/**
 * The reader of a migration whose rows come from a Debezium connector's topics: it orders their records. Guarantee: one orders, the others
 * wait for its lock on the source and take over; it holds nothing that is not in the order topic.
 */
import { ForeignOrder, type ForeignTopic } from '#connectors/change-log/kafka/order/foreign-order.ts';
import { rawTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { lockReader } from '#connectors/source/postgres/reader-lock.ts';
import type { KafkaInput, KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import { bySource } from '#schemas/mapping/compiled-mapping.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import type { Migration } from '../read-migration.ts';
import { openFormat } from './open-format.ts';
import { refuseLostLog } from './lost-log.ts';
import type { OpenKafka } from './open-kafka.ts';
import { retried } from './retried.ts';

const DISCOVER_EVERY_MS = 2_000;

export interface OrderServiceOptions {
  readonly file: MigrationFile;
  readonly kafka: KafkaSettings;
  readonly input: KafkaInput;
  readonly readMigration: () => Promise<Migration>;
  readonly openKafka: () => Promise<OpenKafka>;
  readonly logger: Logger;
}

export class OrderService implements Service {
  readonly id = 'reader';
  readonly #options: OrderServiceOptions;
  #active = false;
  #repeats = 0;

  constructor(options: OrderServiceOptions) {
    this.#options = options;
  }

  /** False while it stands by or starts. */
  get active(): boolean {
    return this.#active;
  }

  /** Records that the connector repeated, left out since the start. */
  get repeats(): number {
    return this.#repeats;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { file, logger } = this.#options;
    while (!signal.aborted) {
      await retried({ signal, logger, what: 'ordering was interrupted' }, async () => {
        const onWaiting = (holder: string): void => logger.info({ holder }, 'another reader is active; standing by');
        const lock = await lockReader({ url: file.source.postgres, name: file.name, onWaiting }, signal);
        try {
          await this.#order(AbortSignal.any([signal, lock.lost]));
        } finally {
          this.#active = false;
          await lock.release();
        }
      });
    }
  }

  async #order(signal: AbortSignal): Promise<void> {
    const { file, input, logger, readMigration } = this.#options;
    const topics = foreignTopics(await readMigration(), input);
    await using stack = new AsyncDisposableStack();
    const kafka = await this.#options.openKafka();
    stack.defer(() => kafka.close());
    const wire = await openFormat(kafka, file.name, this.#options.kafka);
    stack.defer(() => wire.close());
    const { format } = wire;
    const order = new ForeignOrder({ cluster: kafka.cluster, name: file.name, topics, format, onNothing: () => refuseLostLog(file) });
    stack.defer(() => order.close());
    await order.begin();
    this.#active = true;
    logger.info({ prefix: input.prefix }, 'this reader is the active one: it orders what the connector writes');
    for (let told = 0; !signal.aborted;) {
      await order.discover();
      const soon = AbortSignal.any([signal, AbortSignal.timeout(DISCOVER_EVERY_MS)]);
      while (await order.advance(soon));
      this.#repeats += order.leftOut - told;
      if (order.leftOut > told) logger.info({ records: order.leftOut - told }, 'the connector repeated records; they are left out');
      told = order.leftOut;
    }
  }
}

/** Of a partitioned table the connector has the root's topic, or one of each leaf. */
function foreignTopics(migration: Migration, { prefix }: KafkaInput): readonly ForeignTopic[] {
  return [...bySource(migration.mapping.tables).values()].flatMap(([first]): ForeignTopic[] => {
    const table = first!;
    const source = migration.sourceOf(table);
    const key = new Set(table.sourceKey);
    const relation: Relation = {
      oid: source.oid,
      schema: source.schema,
      name: source.name,
      replicaIdentity: key.size === 0 ? 'f' : 'd',
      columns: source.columns
        .filter(({ generated }) => generated === '')
        .map(({ name, typeOid, typmod }) => ({ name, typeOid, typmod, isKey: key.has(name) })),
    };
    return [source, ...source.leaves].map((each) => ({ topic: rawTopic(prefix, each), relation }));
  });
}
