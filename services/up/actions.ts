/** What an operator tells a running instance. Guarantee: an action has taken effect, or is durable, when its promise resolves. */
import { formatLsn } from '#schemas/lsn.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { ControlActions } from './http/http-server.ts';
import type { Running } from './up.ts';

export function controlActions({ copier, reader, sink }: Running, signal: AbortSignal): ControlActions {
  let limits: { rowsPerSecond?: number | undefined; bytesPerSecond?: number | undefined } = {};
  return {
    recopy: async (request) => {
      await copier.requestRecopy(request);
    },
    pause: async () => copier.pause(),
    resume: async () => copier.resume(),
    throttle: async (request) => {
      const next = { ...limits };
      if (request.maxRowsPerSecond !== undefined) next.rowsPerSecond = request.maxRowsPerSecond ?? undefined;
      if (request.maxBytesPerSecond !== undefined) next.bytesPerSecond = request.maxBytesPerSecond ?? undefined;
      limits = next;
      copier.setThrottle({ rowsPerSecond: next.rowsPerSecond, bytesPerSecond: next.bytesPerSecond });
      return { maxRowsPerSecond: next.rowsPerSecond ?? null, maxBytesPerSecond: next.bytesPerSecond ?? null };
    },
    marker: async ({ waitMs }) => {
      const startedAt = performance.now();
      const id = await reader.writeMarker();
      const seconds = (): number => (performance.now() - startedAt) / 1000;
      const lsn = (): string => formatLsn(sink.applied()?.lsn ?? reader.status().durableEnd);
      if (waitMs === 0) return { lsn: lsn(), applied: false, seconds: seconds() };
      try {
        await sink.waitMarker(id, AbortSignal.any([signal, AbortSignal.timeout(waitMs)]));
        return { lsn: lsn(), applied: true, seconds: seconds() };
      } catch (error) {
        if (signal.aborted) throw new PipelineError('CF-7001', 'the instance is stopping', { cause: error });
        return { lsn: lsn(), applied: false, seconds: seconds() };
      }
    },
  };
}
