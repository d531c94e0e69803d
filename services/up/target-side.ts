/**
 * One target of a running instance. Guarantee: from when it was first taken over, nothing that becomes of it ends the others; until then
 * its failure is the start's.
 */
import { hostname } from 'node:os';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { embeddedDeadLetters } from '#connectors/change-log/embedded/dead-letters.ts';
import { type PlanRecord, recordPlan } from '#connectors/target/postgres/plan-record.ts';
import type { Position } from '#connectors/target/target.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import type { Copier } from '#services/reader/copy/copier.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Logger } from '#services/runtime/service.ts';
import { createSink, type Sink } from '#services/sink/sink.ts';
import type { TargetMigration } from './read-migration.ts';
import { openStore } from './target-store.ts';

export interface TargetLog {
  readonly raw: Topic;
  readonly progress: Topic;
  readonly deadLetters: Topic;
  /** By `tableId`: source tables that were copied before. */
  readonly copied: ReadonlySet<string>;
  /** By `tableId`: source tables of all targets, where they have names. */
  readonly published?: ReadonlySet<string>;
  /** Where this target begins if it is an empty one. */
  readonly joinAt: Position | undefined;
}

export interface TargetSide extends TargetMigration {
  readonly name: string | undefined;
  readonly sink: Sink;
  readonly takenOver: Promise<{ readonly ordered: boolean }>;
  /** Under which plan it runs; to be called once it is taken over. */
  record(): Promise<void>;
  /** As it says itself; undefined: nothing is recorded. */
  readonly plan: () => PlanRecord | undefined;
  /** What ended it for good while others go on. */
  readonly failure: () => unknown;
  run(signal: AbortSignal): Promise<void>;
  /** What the sink asks the copier for goes here once there is one. */
  connect(copier: Copier): void;
}

export async function createTargetSide(options: RunUpOptions, target: TargetMigration, log: TargetLog): Promise<TargetSide> {
  const { file, migration } = target;
  const { raw, progress, deadLetters, copied, published, joinAt } = log;
  const name = file.targetName;
  const taken = Promise.withResolvers<{ readonly ordered: boolean }>();
  const connected = Promise.withResolvers<Copier>();
  const logger = name === undefined ? options.logger : namedLogger(options.logger, name);
  const instance = [hostname(), options.dataDir, ...(name === undefined ? [] : [name])].join(':');
  const sink = createSink({
    store: await openStore(file, migration, { instance, copied, ...(published !== undefined && { published }) }),
    mapping: migration.mapping,
    source: migration.sourceTables,
    targetTables: migration.targetTables,
    raw,
    progress,
    deadLetters: embeddedDeadLetters(deadLetters, raw),
    settings: file.settings,
    logger,
    ...(joinAt !== undefined && { joinAt }),
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
      const reason = name === undefined ? 'the table was held and is resumed' : `target ${name} has to be filled with it`;
      await copier.requestRecopy({ kind: 'table', schema: from.schema, table: from.name, reason });
    },
  });
  let plan: PlanRecord | undefined;
  let failure: unknown;
  let isTaken = false;
  void taken.promise.then(() => (isTaken = true));
  return {
    ...target,
    name,
    sink,
    takenOver: taken.promise,
    record: async () => {
      if (file.target.postgres !== undefined) plan = await recordPlan(file.target.postgres, file.name, migration.plan);
    },
    plan: () => plan,
    failure: () => failure,
    connect: connected.resolve,
    run: async (signal) => {
      try {
        await sink.run(signal);
      } catch (error) {
        if (name === undefined) throw error;
        if (!isTaken) throw ofTarget(name, error);
        failure = error;
        logger.error({ error: messageOf(error) }, 'This target is given up until the next start; the others go on');
      }
    },
  };
}

/** Why it could not be taken over, and what that means beside others. */
function ofTarget(name: string, error: unknown): unknown {
  if (!(error instanceof PipelineError)) return error;
  const { code, remedy, details } = error;
  return new PipelineError(code, `target ${name}: ${error.message}`, {
    cause: error,
    remedy: code === 'CF-5006' ? FILL_ANEW : remedy,
    ...(details !== undefined && { details }),
  });
}

const FILL_ANEW =
  'Give the data directory (--data) that belongs to this target. If it was away while the log was cut: take it out, or have it filled anew (docs/targets.md).';

function namedLogger(logger: Logger, target: string): Logger {
  return {
    info: (details, message) => logger.info({ target, ...details }, message),
    warn: (details, message) => logger.warn({ target, ...details }, message),
    error: (details, message) => logger.error({ target, ...details }, message),
    debug: (details, message) => logger.debug({ target, ...details }, message),
  };
}
