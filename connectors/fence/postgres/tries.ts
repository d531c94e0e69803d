/**
 * Short transactions that need a lock of tables in use. Guarantee: each try queues in front of others no longer than its lock time-out, the tries
 * come to an end, and a try that failed has changed nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { messageOf, PipelineError } from '#schemas/errors.ts';

const TRIES = 20;
const PAUSE_FIRST_MS = 20;
const PAUSE_LAST_MS = 1_000;
/** A lock that was not had in time, a deadlock, a tuple of the catalogue that somebody else changed. */
const PASSING = new Set(['55P03', '57014', '40P01', '40001', 'XX000']);

export interface Tries {
  readonly lockMs: number;
  /** How the error begins if none succeeds. */
  readonly what: string;
}

/** @throws PipelineError CF-8101 after the last try */
export async function withTries<T>(client: pg.Client, { lockMs, what }: Tries, work: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      await client.query(`BEGIN; SET LOCAL lock_timeout = ${lockMs}`);
      const result = await work();
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      if (!PASSING.has(causeOf(error))) throw error;
      if (tried === TRIES) throw new PipelineError('CF-8101', `${what} in ${TRIES} tries: ${messageOf(error)}`, { cause: error });
    }
    await delay(Math.min(PAUSE_LAST_MS, PAUSE_FIRST_MS * 2 ** (tried - 1)));
  }
}

/** The server's word also where it was told as a refused lock. */
function causeOf(error: unknown): string {
  const told = error instanceof PipelineError ? error.cause : error;
  return (told as { code?: string } | undefined)?.code ?? '';
}
