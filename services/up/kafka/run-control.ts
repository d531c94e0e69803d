/**
 * `crossfade control`: status and control over HTTP for services that run elsewhere. Guarantee: it owns nothing, so its end or absence
 * changes nothing; what it tells is read from the target and the source when asked.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import { readStoredStatus } from '#services/cli/status/stored-status.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { instanceToken } from '#services/runtime/instance-file.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { createHttpServer } from '../http/http-server.ts';
import { registerStatusMetrics } from '../instance-metrics.ts';
import { ServiceGroup } from '../service-group.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import { type OpenKafka, openKafka } from './open-kafka.ts';
import { RemoteControl } from './remote-control.ts';
import { retried } from './retried.ts';

/** For the metrics. */
const LOOK_EVERY_MS = 5_000;
const OLD_MS = 4 * LOOK_EVERY_MS;

export async function runControl(options: RunServiceOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  const { file, dataDir, logger, signal } = options;
  await using stack = new AsyncDisposableStack();
  const { kafka, requests, progress } = await retried({ signal, logger, what: 'Kafka cannot be reached' }, () => openTopics(options));
  stack.defer(() => kafka.close());
  const meter = createMeter();
  let last: { readonly status: StatusResult; readonly atMs: number } | undefined;
  // A server that hangs gives no answer, not even a failure: what was read before it is not told as if it were now.
  registerStatusMetrics(meter, () => (last !== undefined && performance.now() - last.atMs < OLD_MS ? last.status : undefined));
  const actions = new RemoteControl({ file, signal, requests, progress });
  stack.defer(() => actions.close());
  const status = async (): Promise<StatusResult> => {
    const [{ status: stored }, copy] = await Promise.all([readStoredStatus(file, dataDir), actions.copyStatus()]);
    last = { status: { ...stored, copy }, atMs: performance.now() };
    return last.status;
  };
  const http = await createHttpServer({
    host: options.host,
    port: options.port,
    token: await instanceToken(dataDir, options.environment),
    dataDir,
    metrics: meter,
    actions,
    status,
    readiness: () => ({ ready: true }),
  });
  stack.defer(() => http.close());
  logger.info({ url: http.url }, 'status and control are served');
  const group = stack.use(new ServiceGroup(signal));
  group.start(async (running) => {
    for (; !running.aborted; await delay(LOOK_EVERY_MS, undefined, { signal: running }).catch(() => undefined)) {
      // What cannot be read is unknown, and its samples are taken away.
      await status().catch(() => (last = undefined));
    }
  });
  await group.firstOf(undefined);
  await group.stop();
}

interface Topics {
  readonly kafka: OpenKafka;
  readonly requests: Topic;
  readonly progress: Topic;
}

async function openTopics(options: RunServiceOptions): Promise<Topics> {
  const kafka = await openKafka(options, 'control');
  try {
    return { kafka, requests: await kafka.requests(), progress: await kafka.progress() };
  } catch (error) {
    await kafka.close();
    throw error;
  }
}
