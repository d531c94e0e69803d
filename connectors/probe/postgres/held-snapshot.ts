/**
 * A snapshot kept open and shared between sessions. Guarantee: every session of it sees exactly one state of one running server; when
 * the server restarts, every later statement fails, so no comparison can end on two states.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type pg from 'pg';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { invariant } from '#schemas/errors.ts';
import { quoteLiteral } from '#schemas/table.ts';

/** Set on all sessions: a policy that hides rows must fail loudly, and ours must not take more than their share of the server. */
const SETTINGS: Readonly<Record<string, string>> = {
  row_security: 'off',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  // Some sessions wait until the largest table is compared.
  idle_session_timeout: '0',
  max_parallel_workers_per_gather: '0',
  synchronous_commit: 'local',
  default_transaction_read_only: 'off',
  jit: 'off',
  work_mem: '64MB',
};

/** Waiting longer for a table lock would make the application queue behind us. */
const LOCK_TIMEOUT_MS = 5_000;

/** How soon a server notices, in the middle of a statement, that nobody waits for it. */
const CONNECTION_CHECK_MS = 2_000;

export type Side = 'source' | 'target';

const scope = new AsyncLocalStorage<AbortSignal>();

/** Sessions that `work` opens are cut off when the signal fires, whatever their server is doing: a sum over a big table takes minutes. */
export async function cutOffBy<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return scope.run(signal, work);
}

function followScope(client: pg.Client): void {
  const signal = scope.getStore();
  if (signal === undefined) return;
  const cut = (): void => {
    client.connection.stream.destroy();
  };
  signal.addEventListener('abort', cut, { once: true });
  client.once('end', () => signal.removeEventListener('abort', cut));
  if (signal.aborted) cut();
}

export async function openSession(url: string, side: Side): Promise<pg.Client> {
  const client = await connect(url, {
    applicationName: 'crossfade verify',
    role: side,
    settings: { ...SETTINGS, lock_timeout: String(LOCK_TIMEOUT_MS) },
  });
  followScope(client);
  // Since 17; the snapshot is meant to stay open.
  await client.query("SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('transaction_timeout', true) IS NOT NULL");
  // A session that is cut off ends on the server too, with its statement and its slot; a server on another system than Linux refuses this.
  await client.query(`SET client_connection_check_interval = ${CONNECTION_CHECK_MS}`).catch(() => undefined);
  return client;
}

export class HeldSnapshot implements AsyncDisposable {
  readonly url: string;
  readonly side: Side;
  /** The holder: its transaction takes no table lock, so it may stay open long. */
  readonly client: pg.Client;
  /** pg_current_snapshot() as text. */
  readonly triple: string;
  /** Differs between two starts of a server, and between two servers. */
  readonly serverStart: string;
  readonly #exported: string;

  private constructor(url: string, side: Side, client: pg.Client, row: Record<string, string | null>) {
    this.url = url;
    this.side = side;
    this.client = client;
    this.triple = row['triple'] ?? '';
    this.serverStart = row['started'] ?? '';
    this.#exported = row['exported'] ?? '';
  }

  static async take(url: string, side: Side): Promise<HeldSnapshot> {
    const client = await openSession(url, side);
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const row = await queryRow(
        client,
        'SELECT pg_current_snapshot()::text AS triple, pg_export_snapshot() AS exported, pg_postmaster_start_time()::text AS started',
      );
      invariant(row, 'one row per SELECT');
      return new HeldSnapshot(url, side, client, row);
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  /** A further session on this snapshot. Its table locks last until it ends. */
  async session(): Promise<pg.Client> {
    const client = await openSession(this.url, this.side);
    try {
      await this.enter(client);
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  /** Ends the session's transaction, which lets its locks go, and enters the same snapshot again. */
  async enter(client: pg.Client): Promise<void> {
    const snapshot = quoteLiteral(this.#exported);
    // At one go: a comparison of many small tables is mostly the way to the servers and back.
    await client.query(`ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ${snapshot}`);
  }

  /** Fails when the server is not the one that gave the snapshot. */
  async stillHeld(): Promise<void> {
    await this.client.query('SELECT 1');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.end().catch(() => undefined);
  }
}
