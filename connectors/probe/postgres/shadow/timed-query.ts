/**
 * How long a server takes to answer a query of the application. Guarantee: the query can write nothing (a read-only transaction, one statement),
 * an answer that takes too long is given up, and times reach from sending the query until its last row is here.
 */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import type { Side } from '../held-snapshot.ts';

/** Waiting longer for a lock would say nothing of the query. */
const LOCK_TIMEOUT_MS = 5_000;

/** With the server's own settings for planning: the application's queries run under these. */
export async function openTimedSession(url: string, side: Side, timeoutMs: number): Promise<pg.Client> {
  return connect(url, {
    applicationName: 'crossfade shadow',
    role: side,
    settings: { default_transaction_read_only: 'on', statement_timeout: String(timeoutMs), lock_timeout: String(LOCK_TIMEOUT_MS) },
  });
}

export interface TimedQuery {
  readonly sql: string;
  readonly values: readonly (string | null)[];
}

/** Statements after the other in one read-only transaction, until `next` has none. */
export async function timeQueries(
  client: pg.Client,
  next: () => TimedQuery | undefined,
  onAnswer: (milliseconds: number) => void,
): Promise<void> {
  await client.query('BEGIN TRANSACTION READ ONLY');
  try {
    for (let query = next(); query; query = next()) {
      const config: pg.QueryArrayConfig & { readonly queryMode: 'extended' } = {
        text: query.sql,
        values: [...query.values],
        rowMode: 'array',
        queryMode: 'extended',
      };
      const begun = performance.now();
      await client.query(config);
      onAnswer(performance.now() - begun);
    }
  } finally {
    await client.query('ROLLBACK').catch(() => undefined);
  }
}
