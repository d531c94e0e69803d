/**
 * Time boxes. Guarantee: `within` settles by its limit, or as soon as one of the given promises rejects, whatever becomes of the work; the work is told by
 * its signal, and what it throws later is nobody's.
 */
import type { PipelineError } from '#schemas/errors.ts';
import type { FlipClock } from './ports.ts';

export interface TimeBox {
  readonly clock: FlipClock;
  readonly ms: number;
  readonly late: () => PipelineError;
  /** Each ends the work when it rejects; they never resolve. */
  readonly ends?: readonly Promise<never>[];
}

export async function within<T>({ clock, ms, late, ends = [] }: TimeBox, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const over = new AbortController();
  const done = work(over.signal);
  done.catch(() => undefined);
  const timer = clock.delay(Math.max(0, ms), over.signal).then(() => {
    throw late();
  });
  timer.catch(() => undefined);
  try {
    return await Promise.race([done, ...ends, timer]);
  } finally {
    over.abort();
  }
}

/** Rejects with the signal's reason; never resolves. */
export function rejection(signal: AbortSignal | undefined): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  if (signal === undefined) return promise;
  const stop = (): void => reject(signal.reason as Error);
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return promise;
}
