/**
 * The composition root: every service in one process with the embedded log. Guarantee: one instance per data directory and per
 * target; whatever ends it, the next start goes on from the log and the target.
 *
 * Order of start: the log (its lock), the target (its lock and epoch), then the source. So a second instance is refused before it
 * touches anything of the first.
 */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import { PipelineError } from '#schemas/errors.ts';
import { readMigration, type Migration } from './read-migration.ts';
import { createCopier, type Copier } from '#services/reader/copy/copier.ts';
import { Reader } from '#services/reader/reader.ts';
import { instanceToken } from '#services/runtime/instance-file.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { createSink, type Sink } from '#services/sink/sink.ts';
import type { RunUpOptions, UpResult } from '#services/cli/up-port.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { controlActions } from './actions.ts';
import { createHttpServer } from './http/http-server.ts';
import { instanceStatus } from './instance-status.ts';
import { registerMetrics } from './instance-metrics.ts';
import { Retention } from './retention.ts';
import { installTestHooksFrom } from './test-hook-environment.ts';

const TRIM_EVERY_MS = 10_000;
const PROGRESS_EVERY_MS = 1_000;
const POLL_MS = 100;

export interface Running {
  readonly migration: Migration;
  readonly raw: Topic;
  readonly sink: Sink;
  readonly copier: Copier;
  readonly reader: Reader;
}

/** Resolves when drained or caught up. @throws PipelineError for what ended it (CF-3004 and CF-7003: another instance runs). */
export async function runUp(options: RunUpOptions): Promise<UpResult> {
  installTestHooksFrom(options.environment);
  await using stack = new AsyncDisposableStack();
  const log = await openEmbeddedLog({
    directory: join(options.dataDir, 'log'),
    onRecovered: (recovered) => options.logger.warn({ ...recovered }, 'the log had a torn tail; it was cut'),
  });
  stack.defer(() => log.close());
  const migration = await readMigration(options.file);
  const raw = await log.topic('raw', { partitions: 1 });
  const progress = await log.topic('progress', { partitions: 1 });
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const services = new Set<Promise<void>>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const start = (run: Promise<void>): void => {
    services.add(run);
    run.catch((error: unknown) => failed.reject(error));
  };
  let running: Running | undefined;
  const taken = Promise.withResolvers<{ readonly ordered: boolean }>();
  const sink = createSink({
    targetUrl: options.file.target.postgres,
    mapping: migration.mapping,
    source: migration.sourceTables,
    targetTables: migration.targetTables,
    raw,
    progress,
    settings: options.file.settings,
    instance: `${hostname()}:${options.dataDir}`,
    logger: options.logger,
    onTakenOver: taken.resolve,
    onMissingRows: async (table, keys) => {
      await running?.copier.requestRecopy({ kind: 'keys', schema: table.from.schema, table: table.from.name, keys, reason: 'a change met no row on the target' });
    },
  });
  stack.defer(async () => {
    stop.abort();
    await Promise.allSettled(services);
  });
  start(sink.run(signal));
  const { ordered } = await Promise.race([taken.promise, failed.promise, whenAborted(options.signal)]);
  const source = createCopySource({ url: options.file.source.postgres, applicationName: `crossfade ${options.file.name} copy` });
  stack.defer(() => source.close());
  const copier = await createCopier({
    name: options.file.name,
    source,
    tables: migration.mapping.tables.map((mapping) => ({
      mapping,
      catalog: migration.sourceOf(mapping),
      ignoresUnmapped: mapping.unmapped === 'ignore',
    })),
    progress,
    settings: options.file.settings,
    order: ordered ? 'parents-first' : 'smallest-first',
    spoolDirectory: join(options.dataDir, 'spool'),
    logger: options.logger,
  });
  const streaming = Promise.withResolvers<void>();
  const reader = new Reader({
    name: options.file.name,
    url: options.file.source.postgres,
    raw,
    progress,
    tables: migration.sourceTables,
    settings: options.file.settings,
    copy: copier.hooks,
    appliedLsn: () => sink.applied()?.lsn,
    onStarted: streaming.resolve,
    logger: options.logger,
  });
  running = { migration, raw, sink, copier, reader };
  const status = (): StatusResult => instanceStatus({ name: options.file.name, mapping: migration.mapping, reader, copier, sink, drift: () => null });
  const meter = createMeter();
  registerMetrics(meter, status, running);
  const http = await createHttpServer({
    host: options.host,
    port: options.port,
    token: await instanceToken(options.dataDir, options.environment),
    dataDir: options.dataDir,
    metrics: meter,
    actions: controlActions(running, signal),
    status,
    readiness: () => (reader.status().connected && sink.status().connected ? { ready: true } : { ready: false, reason: 'connecting to source or target' }),
  });
  stack.defer(() => http.close());
  start(reader.run(signal));
  await Promise.race([streaming.promise, failed.promise, whenAborted(options.signal).catch(() => undefined)]);
  start(copier.run(signal));
  start(keepTrimmed(running, options.file.settings.log.retainBytes, signal));
  start(reportProgress(() => options.onProgress(status()), signal));
  const reason = await Promise.race([failed.promise, stopped(options.signal), ...(options.until === 'caught-up' ? [caughtUp(running, signal)] : [])]);
  stop.abort();
  await Promise.all(services);
  return { reason, status: status() };
}

/** The copy is complete, and a marker written after that is applied. */
async function caughtUp({ copier, sink, reader }: Running, signal: AbortSignal): Promise<'caught-up'> {
  while (!copier.complete || sink.applied() === undefined) await delay(POLL_MS, undefined, { signal });
  const id = await reader.writeMarker();
  await sink.waitMarker(id, signal);
  return 'caught-up';
}

async function keepTrimmed({ raw, sink }: Running, retainBytes: number, signal: AbortSignal): Promise<void> {
  const retention = new Retention(retainBytes);
  let trimmedBytes = 0;
  while (!signal.aborted) {
    await delay(TRIM_EVERY_MS, undefined, { signal }).catch(() => undefined);
    const size = raw.size();
    retention.note(raw.end(0), trimmedBytes + size);
    const needed = sink.applied()?.offset;
    const before = needed === undefined ? undefined : retention.before(needed);
    if (before === undefined) continue;
    await raw.trim(0, before);
    trimmedBytes += size - raw.size();
  }
}

async function reportProgress(report: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    report();
    await delay(PROGRESS_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

function stopped(signal: AbortSignal): Promise<'stopped'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('stopped');
    else signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
}

async function whenAborted(signal: AbortSignal): Promise<never> {
  await stopped(signal);
  throw new PipelineError('CF-7002', 'stopped before it had started');
}
