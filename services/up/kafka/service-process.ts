/**
 * What every service's process has around the service. Guarantee: a stop drains and is no error; whatever else ends the service ends the
 * process with that error; health answers as long as the process lives.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { instanceToken } from '#services/runtime/instance-file.ts';
import { createMeter, type Meter } from '#services/runtime/metrics.ts';
import { createHealthServer } from '../http/health-server.ts';
import { ServiceGroup } from '../service-group.ts';

const PROGRESS_EVERY_MS = 1_000;

export interface ServiceProcess {
  run(signal: AbortSignal): Promise<void>;
  /** False while it starts or reconnects; who stands by is as ready as it can be. */
  readiness(): { readonly ready: boolean; readonly reason?: string };
  registerMetrics?(meter: Meter): void;
  status?(): StatusResult | undefined;
}

export async function runServiceProcess(options: RunServiceOptions, service: ServiceProcess): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const meter = createMeter();
  service.registerMetrics?.(meter);
  const token = await instanceToken(options.dataDir, options.environment);
  const readiness = (): { readonly ready: boolean; readonly reason?: string } => service.readiness();
  const http = await createHealthServer({ host: options.host, port: options.port, token, metrics: meter, readiness });
  stack.defer(() => http.close());
  options.logger.info({ url: http.url }, 'health and metrics are served');
  const group = stack.use(new ServiceGroup(options.signal));
  group.start((signal) =>
    service.run(signal).catch((error: unknown) => (signal.aborted && isStop(error) ? undefined : Promise.reject(error))),
  );
  group.start((signal) => reportProgress(options, service, signal));
  await group.firstOf(undefined);
  await group.stop();
}

/** The stop itself, as what was waited for tells of it. */
function isStop(error: unknown): boolean {
  return error instanceof Error && ['AbortError', 'StopRequest'].includes(error.name);
}

async function reportProgress({ onProgress }: RunServiceOptions, service: ServiceProcess, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const status = service.status?.();
    if (status !== undefined) onProgress(status);
    await delay(PROGRESS_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
