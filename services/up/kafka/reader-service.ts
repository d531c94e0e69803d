/**
 * The reader among several processes. Guarantee: one reads, the others wait for its lock on the source and take over when its session ends;
 * everything that is known of the log is read anew at each take-over, and forgotten with the lock.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { SharedLog } from '#connectors/change-log/shared-log.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import { lockReader } from '#connectors/source/postgres/reader-lock.ts';
import { isOrdered } from '#connectors/target/postgres/open-target.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Lsn } from '#schemas/lsn.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { createCopier, type Copier } from '#services/reader/copy/copier.ts';
import type { CopyHooks } from '#services/reader/copy/copy-port.ts';
import { Reader } from '#services/reader/reader.ts';
import { RequestFeed } from '#services/reader/request-feed.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import { canFlip } from '../assemble.ts';
import { copierTables } from '../copier-tables.ts';
import type { Migration } from '../read-migration.ts';
import { ServingSide, sidesOf } from '../reverse/serving-side.ts';
import { ServiceGroup } from '../service-group.ts';
import { FencedTopic } from './fenced-topic.ts';
import { refuseLostLog } from './lost-log.ts';
import { retried } from './retried.ts';

/** What a reader writes to and is asked through, opened for one tenure of the lock. */
export interface ReaderLog {
  readonly raw: SharedLog;
  readonly progress: Topic;
  readonly requests: Topic;
  /** Leaves of a table, once the copier has seen a new one. */
  learn(table: { readonly schema: string; readonly name: string }, leaves: readonly number[]): void;
  close(): Promise<void>;
}

export interface ReaderServiceOptions {
  readonly file: MigrationFile;
  /** Read anew for each tenure: leaves may have been attached while this one stood by. */
  readonly readMigration: () => Promise<Migration>;
  readonly dataDir: string;
  readonly logger: Logger;
  readonly openLog: (migration: Migration) => Promise<ReaderLog>;
  readonly appliedLsn: () => Promise<Lsn | undefined>;
}

export interface ReadingNow {
  readonly reader: Reader;
  readonly copier: Copier;
}

export class ReaderService implements Service {
  readonly id = 'reader';
  readonly #options: ReaderServiceOptions;
  #now: ReadingNow | undefined;
  #tenures = 0;

  constructor(options: ReaderServiceOptions) {
    this.#options = options;
  }

  /** Undefined while it stands by or starts. */
  get now(): ReadingNow | undefined {
    return this.#now;
  }

  /** Times that it took over. */
  get tenures(): number {
    return this.#tenures;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { file, logger } = this.#options;
    while (!signal.aborted) {
      await retried({ signal, logger, what: 'reading was interrupted' }, async () => {
        const lock = await lockReader(
          {
            url: file.source.postgres,
            name: file.name,
            onWaiting: (holder) => logger.info({ holder }, 'another reader is active; standing by'),
          },
          signal,
        );
        try {
          await this.#read(AbortSignal.any([signal, lock.lost]));
        } finally {
          this.#now = undefined;
          await lock.release();
        }
      });
    }
  }

  /** Until the signal: the lock is ours. */
  async #read(signal: AbortSignal): Promise<void> {
    await using stack = new AsyncDisposableStack();
    const { file, logger, openLog, readMigration } = this.#options;
    const migration = await readMigration();
    const ordered = await isOrdered({
      url: postgresTarget(file, 'the change log on Kafka'),
      mapping: migration.mapping,
      tables: migration.targetTables,
    });
    const log = await openLog(migration);
    stack.defer(() => log.close());
    if (log.progress.end(0) === 0) await refuseLostLog(file);
    const replaced = Promise.withResolvers<never>();
    const progress = new FencedTopic(log.progress, randomUUID(), replaced.reject);
    stack.defer(() => progress.retire());
    const serving = stack.use(new ServingSide(sidesOf(file)));
    const mayCopy = async (): Promise<boolean> => !canFlip(file) || (await serving.ask()) === 'source';
    const source = createCopySource({ url: file.source.postgres, applicationName: `crossfade ${file.name} copy` });
    stack.defer(() => source.close());
    const copying = Promise.withResolvers<Copier>();
    const streaming = Promise.withResolvers<void>();
    const reader = this.#newReader(
      { migration, log, progress, mayCopy },
      {
        onStarted: streaming.resolve,
        copy: async () => {
          const copier = await this.#newCopier({
            migration,
            source,
            progress,
            ordered,
            mayCopy,
            learn: (table, leaves) => log.learn(table, leaves),
          });
          copying.resolve(copier);
          return copier.hooks;
        },
        copier: copying.promise,
      },
    );
    const group = stack.use(new ServiceGroup(signal));
    // Not everybody who writes control records hears of a failure at once.
    group.start((inner) => Promise.race([replaced.promise, aborted(inner)]));
    group.start((inner) => reader.run(inner));
    const started = group.orFailure(streaming.promise).then(
      () => true,
      (error: unknown) => (signal.aborted ? false : Promise.reject(error)),
    );
    if (await started) {
      const copier = await copying.promise;
      this.#now = { reader, copier };
      this.#tenures++;
      logger.info({}, 'this reader is the active one');
      const feed = new RequestFeed({ requests: log.requests, progress, copier, logger, makeId: randomUUID });
      group.start((inner) => copier.run(inner));
      group.start((inner) => feed.run(inner));
      await group.firstOf(undefined);
    }
    await group.stop();
  }

  #newReader(
    {
      migration,
      log,
      progress,
      mayCopy,
    }: { readonly migration: Migration; readonly log: ReaderLog; readonly progress: Topic; readonly mayCopy: () => Promise<boolean> },
    {
      copy,
      copier,
      onStarted,
    }: { readonly copy: () => Promise<CopyHooks>; readonly copier: Promise<Copier>; readonly onStarted: () => void },
  ): Reader {
    const { file, logger, appliedLsn } = this.#options;
    return new Reader({
      name: file.name,
      url: file.source.postgres,
      raw: log.raw,
      progress,
      tables: migration.sourceTables,
      settings: file.settings,
      ignoreOrigins: [reverseName(file.name)],
      copy,
      appliedLsn,
      recopy: async ({ schema, name: table }, reason) => {
        if (!(await mayCopy())) return;
        await (await copier).requestRecopy({ kind: 'replace', schema, table, reason });
      },
      onStarted,
      logger,
    });
  }

  async #newCopier({
    migration,
    source,
    progress,
    ordered,
    mayCopy,
    learn,
  }: {
    readonly migration: Migration;
    readonly source: ReturnType<typeof createCopySource>;
    readonly progress: Topic;
    readonly ordered: boolean;
    readonly mayCopy: () => Promise<boolean>;
    readonly learn: ReaderLog['learn'];
  }): Promise<Copier> {
    const { file, dataDir, logger } = this.#options;
    return createCopier({
      name: file.name,
      source,
      tables: copierTables(migration, ordered),
      progress,
      settings: file.settings,
      order: ordered ? 'parents-first' : 'smallest-first',
      spoolDirectory: join(dataDir, 'spool'),
      mayCopy,
      ...(canFlip(file) && { migration: file.name }),
      logger,
      onLeaves: learn,
    });
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
