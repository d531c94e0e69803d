/**
 * `crossfade control`: status and control over HTTP for services that run elsewhere. Guarantee: it owns nothing, so its end or absence
 * changes nothing; what it tells is read from the target and the source when asked. It answers from its start: without Kafka it is not ready,
 * tells the status that the servers know, and refuses what only services can do.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import { readStoredStatus } from '#services/cli/status/stored-status.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { instanceToken } from '#services/runtime/instance-file.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { openFlags } from '../flags.ts';
import { createHttpServer } from '../http/http-server.ts';
import { registerStatusMetrics } from '../instance-metrics.ts';
import { ServiceGroup } from '../service-group.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import { ControlOverKafka } from './control-over-kafka.ts';

/** For the metrics. */
const LOOK_EVERY_MS = 5_000;
const OLD_MS = 4 * LOOK_EVERY_MS;

export async function runControl(options: RunServiceOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  const { file, dataDir, logger, signal } = options;
  await using stack = new AsyncDisposableStack();
  const meter = createMeter();
  let last: { readonly status: StatusResult; readonly atMs: number } | undefined;
  // A server that hangs gives no answer, not even a failure: what was read before it is not told as if it were now.
  registerStatusMetrics(meter, () => (last !== undefined && performance.now() - last.atMs < OLD_MS ? last.status : undefined));
  const kafka = new ControlOverKafka(options);
  const status = async (): Promise<StatusResult> => {
    const [{ status: stored }, copy] = await Promise.all([readStoredStatus(file, dataDir), kafka.copyStatus()]);
    last = { status: { ...stored, copy }, atMs: performance.now() };
    return last.status;
  };
  const flags = await openFlags(options);
  const http = await createHttpServer({
    host: options.host,
    port: options.port,
    token: await instanceToken(dataDir, options.environment),
    dataDir,
    metrics: meter,
    actions: kafka.actions,
    status,
    flags,
    readiness: () => kafka.readiness(),
  });
  stack.defer(() => http.close());
  logger.info({ url: http.url }, 'status and control are served');
  stack.defer(() => kafka.close());
  const group = stack.use(new ServiceGroup(signal));
  group.start((running) => flags.run(running));
  group.start(async (running) => {
    const opened = kafka.open(running);
    const looking = (async () => {
      for (; !running.aborted; await delay(LOOK_EVERY_MS, undefined, { signal: running }).catch(() => undefined)) {
        // What cannot be read is unknown, and its samples are taken away.
        await status().catch(() => (last = undefined));
      }
    })();
    await Promise.all([opened, looking]);
  });
  await group.firstOf(undefined);
  await group.stop();
}
