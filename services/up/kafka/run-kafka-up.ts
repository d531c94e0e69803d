/**
 * `crossfade up` over Kafka: reader, transformer and sink in one process. Guarantee: each is what it is as a process of its own; others of
 * the same kind may run beside it, and whoever stands by here is served by them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunUpOptions, UpResult } from '#services/cli/up-port.ts';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { instanceToken } from '#services/runtime/instance-file.ts';
import { lastDrift } from '#services/runtime/last-verify.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { openFlags, type RunningFlags } from '../flags.ts';
import { createHttpServer, type HttpServer } from '../http/http-server.ts';
import { registerMetrics } from '../instance-metrics.ts';
import { instanceStatus } from '../instance-status.ts';
import { readMigration, type Migration } from '../read-migration.ts';
import { ServiceGroup } from '../service-group.ts';
import { readAppliedLsn } from './applied-lsn.ts';
import { openKafka, type OpenKafka } from './open-kafka.ts';
import { openReaderLog } from './open-reader-log.ts';
import { openSinkLog } from './open-sink-log.ts';
import { openTransformer } from './open-transformer.ts';
import { ReaderService } from './reader-service.ts';
import { RemoteControl } from './remote-control.ts';
import { IDLE_READER, IDLE_SINK } from './service-status.ts';
import { SinkService } from './sink-service.ts';

const PROGRESS_EVERY_MS = 1_000;
const POLL_MS = 200;
/** The longest that one marker waits; another is written then. */
const MARKER_WAIT_MS = 600_000;

interface Services {
  readonly migration: Migration;
  readonly reader: ReaderService;
  readonly sink: SinkService;
}

/** Resolves when drained or caught up. @throws PipelineError for what ended it */
export async function runKafkaUp(options: RunUpOptions, kafka: KafkaSettings): Promise<UpResult> {
  if (kafka.input !== undefined) {
    throw new PipelineError('CF-1004', 'log.kafka.input: rows of a Debezium connector are not read by `crossfade up`', {
      remedy: 'Run crossfade reader, crossfade transformer and crossfade sink with this file.',
    });
  }
  await using stack = new AsyncDisposableStack();
  const { file, logger } = options;
  const settings = { ...options, kafka };
  const migration = await readMigration(file);
  const opened = await openKafka(settings, 'up');
  stack.defer(() => opened.close());
  const { transformer } = stack.use(await openTransformer({ ...settings, migration }));
  const group = stack.use(new ServiceGroup(options.signal));
  const reader = new ReaderService({
    file,
    dataDir: options.dataDir,
    logger,
    readMigration: () => readMigration(file),
    openLog: async (now) => openReaderLog(await openKafka(settings, 'reader'), { ...settings, migration: now }),
    appliedLsn: () => readAppliedLsn(file),
  });
  const openLog = async (): ReturnType<typeof openSinkLog> => openSinkLog(await openKafka(settings, 'sink'), { ...settings, migration });
  const sink = new SinkService({ file, migration, logger, openLog });
  const status = (): StatusResult => statusOf(options, { migration, reader, sink });
  const control = await newControl(options, opened, group.signal);
  stack.defer(() => control.close());
  const flags = await openFlags(options);
  const http = await serve(options, { control, status, reader, sink, flags });
  stack.defer(() => http.close());
  group.start(async (signal) => flags.run(signal));
  group.start(async (signal) => stopped(sink.run(signal), signal));
  group.start(async (signal) => stopped(transformer.run(signal), signal));
  group.start(async (signal) => stopped(reader.run(signal), signal));
  group.start((signal) => reportProgress(() => options.onProgress(status()), signal));
  const reason = await group.firstOf(options.until === 'caught-up' ? caughtUp(options, { control, reader }, group.signal) : undefined);
  const last = status();
  await group.stop();
  return { reason, status: last };
}

async function newControl({ file }: RunUpOptions, kafka: OpenKafka, signal: AbortSignal): Promise<RemoteControl> {
  return new RemoteControl({ file, signal, requests: await kafka.requests(), progress: await kafka.progress() });
}

/** A stop ends what waits for a lock or a lease with the stop itself. */
async function stopped(run: Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    await run;
  } catch (error) {
    if (signal.aborted && error instanceof Error && ['AbortError', 'StopRequest'].includes(error.name)) return;
    throw error;
  }
}

function statusOf({ file, dataDir }: RunUpOptions, { migration, reader, sink }: Services): StatusResult {
  return instanceStatus({
    name: file.name,
    mapping: migration.mapping,
    reader: { status: () => reader.now?.reader.status() ?? IDLE_READER },
    copier: reader.now?.copier ?? { progress: () => [], complete: false },
    sink: { status: () => sink.sink?.status() ?? IDLE_SINK },
    drift: () => lastDrift(dataDir),
  });
}

async function serve(
  options: RunUpOptions,
  {
    control,
    status,
    reader,
    sink,
    flags,
  }: Omit<Services, 'migration'> & {
    readonly control: RemoteControl;
    readonly status: () => StatusResult;
    readonly flags: RunningFlags;
  },
): Promise<HttpServer> {
  const isConnected = (): boolean => (reader.now?.reader.status().connected ?? true) && (sink.sink?.status().connected ?? true);
  const meter = createMeter();
  registerMetrics(meter, status, {
    reader: { status: () => reader.now?.reader.status() ?? IDLE_READER },
    sink: { status: () => sink.sink?.status() ?? IDLE_SINK },
    raw: { size: () => undefined },
  });
  return createHttpServer({
    host: options.host,
    port: options.port,
    token: await instanceToken(options.dataDir, options.environment),
    dataDir: options.dataDir,
    metrics: meter,
    actions: control,
    // While it stands by, what the active reader has recorded.
    status: async () => (reader.now === undefined ? { ...status(), copy: await control.copyStatus() } : status()),
    flags,
    readiness: () => (isConnected() ? { ready: true } : { ready: false, reason: 'connecting to source or target' }),
  });
}

/** Nothing is left to copy, and a marker written after that is applied. */
async function caughtUp(
  { file }: RunUpOptions,
  { control, reader }: { readonly control: RemoteControl; readonly reader: ReaderService },
  signal: AbortSignal,
): Promise<'caught-up'> {
  const isCopied = async (): Promise<boolean> =>
    (reader.now?.copier.idle ?? true) && (await readAppliedLsn(file).catch(() => undefined)) !== undefined;
  for (;;) {
    while (!(await isCopied())) await delay(POLL_MS, undefined, { signal });
    if ((await control.marker({ waitMs: MARKER_WAIT_MS })).applied) return 'caught-up';
  }
}

async function reportProgress(report: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    report();
    await delay(PROGRESS_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
