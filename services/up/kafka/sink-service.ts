/**
 * The sink among several processes. Guarantee: one acts, by the lease on the target; the others take over within seconds of its end, also
 * when it is merely stopped. One that wakes up with a stale epoch or a lost lease stands by like the others.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { acquireLease, type Lease } from '#connectors/target/postgres/lease.ts';
import { recordPlan } from '#connectors/target/postgres/plan-record.ts';
import { postgresStore } from '#connectors/target/postgres/store.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { readServiceRequest } from '#schemas/service-request.ts';
import { forEachRecord } from '#services/runtime/records.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import { createSink, type Sink, type SinkSettings } from '#services/sink/sink.ts';
import type { Migration } from '../read-migration.ts';
import { ServiceGroup } from '../service-group.ts';
import { askService } from './ask-service.ts';
import { FencedTopic } from './fenced-topic.ts';
import { retried } from './retried.ts';

/** What a sink reads and asks through, opened for one tenure of the lease. */
export interface SinkLog extends Pick<SinkSettings, 'raw' | 'bookmarks' | 'describeRows' | 'progress' | 'deadLetters'> {
  /** As the rows in `raw` are to be read: over Kafka they have passed the filter. */
  readonly mapping: CompiledMapping;
  readonly requests: Topic;
  /** `told` hears of each relation before its first row comes: a leaf may have been attached. */
  onRelation(told: Sink['know']): void;
  close(): Promise<void>;
}

export interface SinkServiceOptions {
  readonly file: MigrationFile;
  readonly migration: Migration;
  readonly logger: Logger;
  readonly openLog: () => Promise<SinkLog>;
}

/** Keys of one request: its record stays well below what Kafka takes. */
const KEYS_PER_REQUEST = 1_000;

export class SinkService implements Service {
  readonly id = 'sink';
  readonly #options: SinkServiceOptions;
  readonly #holder = `${hostname()} pid ${process.pid} ${randomUUID()}`;
  #sink: Sink | undefined;
  #tenures = 0;

  constructor(options: SinkServiceOptions) {
    this.#options = options;
  }

  /** Undefined while it stands by. */
  get sink(): Sink | undefined {
    return this.#sink;
  }

  get tenures(): number {
    return this.#tenures;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { file, logger } = this.#options;
    while (!signal.aborted) {
      await retried({ signal, logger, what: 'applying was interrupted' }, async () => {
        const lease = await acquireLease(
          {
            url: postgresTarget(file, 'the change log on Kafka'),
            name: file.name,
            holder: this.#holder,
            onWaiting: (holder) => logger.info({ holder }, 'another sink is active; standing by'),
          },
          signal,
        );
        try {
          await this.#apply(lease, signal);
        } finally {
          this.#sink = undefined;
          await lease.release();
        }
      });
    }
  }

  async #apply(lease: Lease, signal: AbortSignal): Promise<void> {
    const tenure = AbortSignal.any([signal, lease.lost]);
    await using stack = new AsyncDisposableStack();
    const log = await this.#options.openLog();
    stack.defer(() => log.close());
    const taken = Promise.withResolvers<void>();
    const sink = this.#newSink(log, lease, () => taken.resolve());
    log.onRelation((oid, table) => sink.know(oid, table));
    this.#sink = sink;
    this.#tenures++;
    this.#options.logger.info({}, 'this sink is the active one');
    const group = stack.use(new ServiceGroup(tenure));
    group.start((inner) => sink.run(inner));
    await group.orFailure(taken.promise);
    const { file, migration } = this.#options;
    await recordPlan(postgresTarget(file, 'the change log on Kafka'), file.name, migration.plan);
    group.start((inner) => this.#resumeTables(log.requests, sink, inner));
    await group.firstOf(undefined);
    await group.stop();
  }

  #newSink(log: SinkLog, lease: Lease, onTakenOver: () => void): Sink {
    const { file, migration, logger } = this.#options;
    return createSink({
      store: postgresStore({
        url: postgresTarget(file, 'the change log on Kafka'),
        mapping: log.mapping,
        tables: migration.targetTables,
        synchronousCommit: file.settings.sink.synchronousCommit,
        // The same for all sinks of the migration: whoever has the lease may end what another one left.
        instance: 'sinks over Kafka',
      }),
      mapping: log.mapping,
      source: migration.sourceTables,
      targetTables: migration.targetTables,
      raw: log.raw,
      ...(log.bookmarks !== undefined && { bookmarks: log.bookmarks }),
      ...(log.describeRows !== undefined && { describeRows: log.describeRows }),
      progress: new FencedTopic(log.progress),
      ...(log.deadLetters !== undefined && { deadLetters: log.deadLetters }),
      settings: file.settings,
      logger,
      permit: () => lease.confirm(),
      onTakenOver,
      onMissingRows: async (table, keys) => askForKeys(log.requests, table, keys),
      onResumedTable: async ({ from }) =>
        ask(log.requests, { kind: 'table', schema: from.schema, table: from.name, reason: 'the table was held and is resumed' }),
    });
  }

  /** What an operator asks of held tables, once the reader has resumed. */
  async #resumeTables(requests: Topic, sink: Sink, signal: AbortSignal): Promise<void> {
    const from = requests.end(0);
    const cursor = requests.read(0, from);
    try {
      for (let batch = await cursor.next(signal); batch !== undefined; batch = await cursor.next(signal)) {
        const asked: ReturnType<typeof readServiceRequest>[] = [];
        forEachRecord(batch, from, (frame) => asked.push(readServiceRequest(frame)));
        for (const request of asked) {
          if (request.t !== 'resume-tables') continue;
          const except = new Set(request.except.map(([schema, table]) => JSON.stringify([schema, table])));
          const held = sink
            .status()
            .tables.filter(({ state, from: { schema, name } }) => state === 'held' && !except.has(JSON.stringify([schema, name])));
          for (const table of held) await this.#resumeTable(sink, table.from);
        }
      }
    } finally {
      await cursor.close();
    }
  }

  /** What is refused, since the target serves, ends no service. */
  async #resumeTable(sink: Sink, from: { readonly schema: string; readonly name: string }): Promise<void> {
    try {
      await sink.resumeTable(from);
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'CF-8002') throw error;
      this.#options.logger.warn({ code: error.code, error: error.message }, 'A held table stays held');
    }
  }
}

async function askForKeys(requests: Topic, { from }: TableMapping, keys: readonly (readonly string[])[]): Promise<void> {
  for (let i = 0; i < keys.length; i += KEYS_PER_REQUEST) {
    await ask(requests, {
      kind: 'keys',
      schema: from.schema,
      table: from.name,
      keys: keys.slice(i, i + KEYS_PER_REQUEST),
      reason: 'a change met no row on the target',
    });
  }
}

async function ask(requests: Topic, request: RecopyRequest): Promise<void> {
  await askService(requests, { t: 'recopy', id: randomUUID(), request, by: 'sink' });
}
