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
import type { RunUpOptions, UpResult } from '#services/cli/up-port.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { instanceToken } from '#services/runtime/instance-file.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { swapsNames } from '#schemas/mapping/renames.ts';
import { runAcrossFailOvers } from './across-fail-overs.ts';
import { runAcrossSwaps } from './across-swaps.ts';
import { bothWays, controlActions } from './actions.ts';
import { assemble, type Running } from './assemble.ts';
import { caughtUp } from './caught-up.ts';
import { flipKeeper } from './flip-keeper.ts';
import { openFlags, type RunningFlags } from './flags.ts';
import { createHttpServer, type HttpServer } from './http/http-server.ts';
import { registerMetrics, registerTargetMetrics } from './instance-metrics.ts';
import { openTargets } from './open-targets.ts';
import { keepTrimmed } from './keep-trimmed.ts';
import { type ReverseService, reverseService } from './reverse/reverse-service.ts';
import { ServingSide, sidesOf } from './reverse/serving-side.ts';
import { keepProof } from './proof-keeper.ts';
import { ServiceGroup } from './service-group.ts';
import type { TargetSides } from './target-sides.ts';
import { targetsStatus } from './targets-status.ts';
import { installTestHooksFrom } from './test-hook-environment.ts';
import { compareWhileObserving } from './observing-compare.ts';
import { openTriggers } from './triggers.ts';
import { watchMirrors } from './watch-mirrors.ts';

const PROGRESS_EVERY_MS = 1_000;
const POLL_MS = 100;

/** Resolves when drained or caught up. @throws PipelineError for what ended it (CF-3004 and CF-7003: another instance runs). */
export async function runUp(options: RunUpOptions): Promise<UpResult> {
  installTestHooksFrom(options.environment);
  const { kafka } = options.file.settings.log;
  if (kafka !== undefined) return (await import('./kafka/run-kafka-up.ts')).runKafkaUp(options, kafka);
  return swapsNames(options.file) ? runAcrossSwaps(options, runInstance) : runAcrossFailOvers(options, runInstance);
}

async function runInstance(options: RunUpOptions): Promise<UpResult> {
  await using stack = new AsyncDisposableStack();
  const log = await openEmbeddedLog({
    directory: join(options.dataDir, 'log'),
    onRecovered: (recovered) => options.logger.warn({ ...recovered }, 'the log had a torn tail; it was cut'),
  });
  stack.defer(() => log.close());
  const raw = await log.topic('raw', { partitions: 1 });
  const progress = await log.topic('progress', { partitions: 1 });
  const deadLetters = await log.topic('dlq', { partitions: 1 });
  const group = stack.use(new ServiceGroup(options.signal));
  const targets = await openTargets(options, { raw, progress, deadLetters });
  for (const target of targets.all) group.start((signal) => target.run(signal));
  const taken = await group.orFailure(Promise.all(targets.all.map(({ ready }) => ready)));
  await targets.recorded(group.signal);
  const serving = stack.use(new ServingSide(sidesOf(options.file)));
  const running = await assemble(options, { serving, raw, progress, targets, ordered: taken.map(({ ordered }) => ordered), stack });
  const reverse = reverseService(options, serving);
  const keeper = flipKeeper(options, targets.all[0]!.migration.mapping, serving);
  const flags = await openFlags(options);
  const triggers = openTriggers({ ...options, actor: `crossfade up on ${hostname()}`, reports: () => flags.observations.report().minutes });
  const status = (): StatusResult => {
    const now = targetsStatus(options.file.name, running, options.dataDir);
    const back = reverse?.status();
    const watched = triggers?.status() ?? [];
    return {
      ...(keeper?.withPhase(now) ?? now),
      ...(back !== undefined && { reverse: back }),
      ...(watched.length > 0 && { triggers: watched }),
    };
  };
  const http = await serve(options, running, { status, signal: group.signal, flags, reverse });
  stack.defer(() => http.close());
  group.start((signal) => flags.run(signal));
  group.start((signal) => running.reader.run(signal));
  await group.orFailure(running.streaming);
  group.start((signal) => running.copier.run(signal));
  group.start((signal) => keepTrimmed(running, options.file.settings.log.retainBytes, signal));
  group.start((signal) => reportProgress(() => options.onProgress(status()), options.progressEveryMs ?? PROGRESS_EVERY_MS, signal));
  if (options.file.settings.reconcile.stream === true)
    group.start((signal) =>
      watchMirrors({ raw, progress, targets: targets.all, boards: running.boards, serving, logger: options.logger }, signal),
    );
  group.start((signal) => endWithoutTargets(targets, signal));
  for (const monitor of running.monitors.values()) group.start((signal) => monitor.run(signal));
  if (options.file.target.postgres !== undefined) group.start((signal) => serving.watch(signal));
  if (triggers !== undefined) group.start((signal) => triggers.run(signal));
  group.start((signal) => compareWhileObserving(options, signal));
  const { mapping } = targets.all[0]!.migration;
  group.start((signal) =>
    keepProof({ file: options.file, mapping, logger: options.logger, compared: () => status().reconciliation }, signal),
  );
  if (reverse !== undefined) group.start((signal) => reverse.run(signal));
  if (keeper !== undefined) group.start((signal) => keeper.run(signal));
  const goal = options.until === 'caught-up' ? caughtUp({ file: options.file, running, serving, reverse }, group.signal) : undefined;
  const reason = await group.firstOf(goal);
  const { reverse: back } = status();
  await group.stop();
  targets.throwFailure();
  // What ran back is gone now.
  return { reason, status: { ...status(), ...(back !== undefined && { reverse: back }) } };
}

interface Serve {
  readonly status: () => StatusResult;
  readonly signal: AbortSignal;
  readonly flags: RunningFlags;
  readonly reverse: ReverseService | undefined;
}

async function serve(options: RunUpOptions, running: Running, { status, signal, flags, reverse }: Serve): Promise<HttpServer> {
  const meter = createMeter();
  const { reader, targets } = running;
  const back = reverse?.actions(signal);
  registerMetrics(meter, status, { ...running, sink: { status: () => ({ connected: targets.missing() === undefined }) } });
  if (options.file.targets !== undefined) registerTargetMetrics(meter, status);
  return createHttpServer({
    host: options.host,
    port: options.port,
    token: await instanceToken(options.dataDir, options.environment),
    dataDir: options.dataDir,
    metrics: meter,
    actions: bothWays(controlActions(running, signal), back),
    ...(back !== undefined && { reverse: back }),
    status,
    flags,
    readiness: () => {
      const reason = reader.status().connected ? targets.missing() : 'connecting to the source';
      return reason === undefined ? { ready: true } : { ready: false, reason };
    },
  });
}

/** With one left there is work to do. */
async function endWithoutTargets(targets: TargetSides, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (targets.all.every(({ failure }) => failure() !== undefined)) targets.throwFailure();
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function reportProgress(report: () => void, everyMs: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    report();
    await delay(everyMs, undefined, { signal }).catch(() => undefined);
  }
}
