/**
 * One target of a running instance. Guarantee: from when it was first taken over, nothing that becomes of it ends the others; until then
 * its failure is the start's.
 */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { embeddedDeadLetters } from '#connectors/change-log/embedded/dead-letters.ts';
import type { PlanRecord } from '#connectors/target/postgres/plan-record.ts';
import type { Position } from '#connectors/target/target.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import type { Copier } from '#services/reader/copy/copier.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Logger } from '#services/runtime/service.ts';
import { type KeptTarget, keepTarget } from '#services/runtime/kept-target.ts';
import { createSink, type Sink, type SinkOptions } from '#services/sink/sink.ts';
import { PlanKeeper } from './plan-keeper.ts';
import type { TargetMigration } from './read-migration.ts';
import { openStore } from './target-store.ts';

const POLL_MS = 50;

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
  /** As it was when it was taken over before; undefined: it has to be there now. */
  readonly kept: KeptTarget | undefined;
}

export interface TargetSide extends TargetMigration {
  readonly name: string | undefined;
  readonly sink: Sink;
  /** Resolves once it is taken over, or known to be away; from then on it is on its own. */
  readonly ready: Promise<{ readonly ordered: boolean }>;
  /** It was not taken over yet. */
  readonly isAway: () => boolean;
  /** To be called once it is ready: what it is like is kept for a start while it is away, and on it under which plan it runs. */
  record(signal: AbortSignal): Promise<void>;
  /** As it says itself; undefined: nothing is recorded. */
  readonly plan: () => PlanRecord | undefined;
  /** What ended it for good while others go on. */
  readonly failure: () => unknown;
  run(signal: AbortSignal): Promise<void>;
  /** What the sink asks the copier for goes here once there is one. */
  connect(copier: Copier): void;
}

export async function createTargetSide(options: RunUpOptions, target: TargetMigration, log: TargetLog): Promise<TargetSide> {
  const { file, migration, catalog } = target;
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
    ...recopies(name, connected.promise),
  });
  const plan = new PlanKeeper(target);
  let failure: unknown;
  let ordered: boolean | undefined;
  let isOnItsOwn = false;
  void taken.promise.then((one) => (ordered = one.ordered));
  const ready = target.away !== undefined ? Promise.resolve(target.away) : readiness(taken.promise, sink, log.kept);
  void ready.then(() => (isOnItsOwn = true));
  return {
    ...target,
    name,
    sink,
    ready,
    isAway: () => ordered === undefined,
    record: async (signal) => {
      if (ordered === undefined) {
        void taken.promise.then(async () => plan.keepLate(signal, logger));
        return;
      }
      await plan.keep();
      if (name !== undefined) await keepTarget(options.dataDir, name, { ordered, ...(catalog !== undefined && { catalog }) });
    },
    plan: () => plan.record,
    failure: () => failure,
    connect: connected.resolve,
    run: async (signal) => {
      try {
        await target.away?.whenBack(signal);
        await sink.run(signal);
      } catch (error) {
        if (name === undefined) throw error;
        if (signal.aborted && ordered === undefined) return;
        if (!isOnItsOwn) throw ofTarget(name, error);
        failure = error;
        logger.error({ error: messageOf(error) }, 'This target is given up until the next start; the others go on');
      }
    },
  };
}

/** What the sink asks for, once there is somebody to ask. */
function recopies(name: string | undefined, copier: Promise<Copier>): Pick<SinkOptions, 'onMissingRows' | 'onResumedTable'> {
  return {
    onMissingRows: async ({ from: { schema, name: table } }, keys) => {
      await (await copier).requestRecopy({ kind: 'keys', schema, table, keys, reason: 'a change met no row on the target' });
    },
    onResumedTable: async ({ from: { schema, name: table } }) => {
      const reason = name === undefined ? 'the table was held and is resumed' : `target ${name} has to be filled with it`;
      await (await copier).requestRecopy({ kind: 'table', schema, table, reason });
    },
  };
}

/** Of a target that was there before: it counts as away when its first session fails. */
async function readiness(taken: Promise<{ readonly ordered: boolean }>, sink: Sink, kept: KeptTarget | undefined): typeof taken {
  if (kept === undefined) return taken;
  const isOver = new AbortController();
  const failed = async (): typeof taken => {
    while (sink.status().restarts === 0 && !isOver.signal.aborted) await delay(POLL_MS);
    return kept;
  };
  return Promise.race([taken, failed()]).finally(() => isOver.abort());
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
