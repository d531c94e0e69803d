/** Which adapter serves which service, in one process. Guarantee: nothing is started here, and what is opened is closed with `stack`. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { embeddedDeadLetters } from '#connectors/change-log/embedded/dead-letters.ts';
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { createCopier, type Copier } from '#services/reader/copy/copier.ts';
import { copierTables } from './copier-tables.ts';
import { Reader } from '#services/reader/reader.ts';
import { createSink, type Sink } from '#services/sink/sink.ts';
import type { Migration } from './read-migration.ts';
import { openStore } from './target-store.ts';

export interface Running {
  readonly raw: Topic;
  readonly sink: Sink;
  readonly copier: Copier;
  readonly reader: Reader;
  /** Resolves once the first stream from the source is open. */
  readonly streaming: Promise<void>;
}

interface Base {
  readonly migration: Migration;
  readonly raw: Topic;
  readonly progress: Topic;
}

export interface TargetSide {
  readonly sink: Sink;
  readonly takenOver: Promise<{ readonly ordered: boolean }>;
  /** What the sink asks the copier for goes here once there is one. */
  connect(copier: Copier): void;
}

export async function createTargetSide(
  options: RunUpOptions,
  { migration, raw, progress, deadLetters }: Base & { readonly deadLetters: Topic },
): Promise<TargetSide> {
  const taken = Promise.withResolvers<{ readonly ordered: boolean }>();
  const connected = Promise.withResolvers<Copier>();
  const sink = createSink({
    store: await openStore(options.file, migration, `${hostname()}:${options.dataDir}`),
    mapping: migration.mapping,
    source: migration.sourceTables,
    targetTables: migration.targetTables,
    raw,
    progress,
    deadLetters: embeddedDeadLetters(deadLetters, raw),
    settings: options.file.settings,
    logger: options.logger,
    onTakenOver: taken.resolve,
    onMissingRows: async ({ from }, keys) => {
      const copier = await connected.promise;
      await copier.requestRecopy({
        kind: 'keys',
        schema: from.schema,
        table: from.name,
        keys,
        reason: 'a change met no row on the target',
      });
    },
    onResumedTable: async ({ from }) => {
      const copier = await connected.promise;
      await copier.requestRecopy({ kind: 'table', schema: from.schema, table: from.name, reason: 'the table was held and is resumed' });
    },
  });
  return { sink, takenOver: taken.promise, connect: connected.resolve };
}

export interface Assembly extends Base {
  readonly target: TargetSide;
  /** Parents are copied before their children. */
  readonly ordered: boolean;
  readonly stack: AsyncDisposableStack;
}

export async function assemble(options: RunUpOptions, { migration, raw, progress, target, ordered, stack }: Assembly): Promise<Running> {
  const { name, settings, source: url } = options.file;
  const { sink } = target;
  const source = createCopySource({ url: url.postgres, applicationName: `crossfade ${name} copy` });
  stack.defer(() => source.close());
  const copier = await createCopier({
    name,
    source,
    tables: copierTables(migration, ordered),
    progress,
    settings,
    order: ordered ? 'parents-first' : 'smallest-first',
    spoolDirectory: join(options.dataDir, 'spool'),
    logger: options.logger,
    onLeaves: (table, leaves) => sink.learn(table, leaves),
  });
  target.connect(copier);
  const streaming = Promise.withResolvers<void>();
  const reader = new Reader({
    name,
    url: url.postgres,
    raw,
    progress,
    tables: migration.sourceTables,
    settings,
    copy: copier.hooks,
    appliedLsn: () => sink.applied()?.lsn,
    recopy: async ({ schema, name: table }, reason) => {
      await copier.requestRecopy({ kind: 'replace', schema, table, reason });
    },
    onStarted: streaming.resolve,
    logger: options.logger,
  });
  return { raw, sink, copier, reader, streaming: streaming.promise };
}
