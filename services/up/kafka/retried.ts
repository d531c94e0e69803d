/** What a service tries again by itself. Guarantee: an outage of a server or of Kafka ends no process; what an operator has to mend does. */
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import { waitBackoff, type Backoff } from '#services/runtime/backoff.ts';
import type { Logger } from '#services/runtime/service.ts';

const RETRY: Backoff = { firstMs: 100, lastMs: 5_000 };
/** So long without a failure, and the next one is the first again. */
const CALM_MS = 60_000;

/** Kafka out of reach; somebody else acts now; the slot is held by a session that has not ended yet. */
const PASSING: ReadonlySet<string> = new Set(['CF-3001', 'CF-3007', 'CF-5005', 'CF-2009']);

function passesByItself(error: unknown): boolean {
  if (error instanceof InvariantError) return false;
  return !(error instanceof PipelineError) || error.retry === 'timed' || PASSING.has(error.code);
}

export interface Retrying {
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** What is tried, for the log. */
  readonly what: string;
}

/** Repeats `attempt` until it succeeds. @throws what does not pass by itself; once stopped, the signal's reason */
export async function retried<T>({ signal, logger, what }: Retrying, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    const startedAt = performance.now();
    try {
      return await attempt();
    } catch (error) {
      if (!passesByItself(error)) throw error;
      // Told to stop: what the interruption looked like from within is nobody's business.
      signal.throwIfAborted();
      if (performance.now() - startedAt > CALM_MS) failures = 0;
      logger.warn({ error: messageOf(error) }, `${what}; trying again`);
      await waitBackoff(RETRY, failures, signal);
    }
  }
}
