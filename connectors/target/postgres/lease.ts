/**
 * Which of several sinks acts: a row on the target with an expiry by the target's own clock. Guarantee: one holder at a time as far as the
 * row goes; who finds it expired, or its holder's session gone, takes it in one statement and ends what the holder left open.
 *
 * The lease decides who tries, not who may commit: that is the epoch's (progress.ts). A holder that was stopped and wakes up finds its
 * sessions ended, its lease taken and its epoch stale.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';

/** Long enough for a slow round trip and a pause of the event loop, short enough for a take-over within seconds. */
const LEASE_MS = 5_000;
const RENEW_EVERY_MS = 1_000;
const POLL_MS = 250;

export interface LeaseOptions {
  readonly url: string;
  readonly name: string;
  /** Names this process among all that may hold it. */
  readonly holder: string;
  /** Told once for each holder that is waited for. */
  readonly onWaiting: (holder: string) => void;
}

export interface Lease {
  /** Fires when it can no longer be relied on. */
  readonly lost: AbortSignal;
  /** @throws PipelineError CF-5005 when it is not ours any more. */
  confirm(): Promise<void>;
  /** A waiting sink takes over at once. */
  release(): Promise<void>;
}

/** Waits until the lease is ours. @throws PipelineError CF-5001, CF-5002; what `signal` says */
export async function acquireLease(options: LeaseOptions, signal: AbortSignal): Promise<Lease> {
  const client = await connect(options.url, { applicationName: sessionName(options.name), role: 'target' });
  try {
    await ensureSchema(client);
    for (let told = ''; ;) {
      signal.throwIfAborted();
      const holder = await readHolder(client, options.name);
      if (await take(client, options)) {
        if (holder !== undefined) await endSession(client, options.name, holder.backend);
        return new HeldLease(client, options);
      }
      if (holder !== undefined && holder.name !== told) options.onWaiting(holder.name);
      told = holder?.name ?? told;
      await delay(POLL_MS, undefined, { signal });
    }
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** Not the name of the sessions that write: a take-over of the target ends those, and not who waits for the lease. */
function sessionName(name: string): string {
  return `crossfade ${name} lease`;
}

async function readHolder(client: pg.Client, name: string): Promise<{ readonly name: string; readonly backend: string } | undefined> {
  const row = await queryRow(client, 'SELECT holder, backend::text AS backend FROM crossfade.lease WHERE name = $1', [name]);
  return row && { name: row['holder'] ?? '', backend: row['backend'] ?? '' };
}

async function take(client: pg.Client, { name, holder }: LeaseOptions): Promise<boolean> {
  const result = await client.query(
    `INSERT INTO crossfade.lease AS l (name, holder, backend, expires_at)
     VALUES ($1, $2, pg_backend_pid(), clock_timestamp() + $4 * interval '1 ms')
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, backend = excluded.backend, expires_at = excluded.expires_at
       WHERE l.expires_at < clock_timestamp()
          OR NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.backend AND a.application_name = $3)`,
    [name, holder, sessionName(name), LEASE_MS],
  );
  return result.rowCount === 1;
}

async function endSession(client: pg.Client, name: string, backend: string): Promise<void> {
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid = $1 AND application_name = $2 AND usename = current_user AND pid <> pg_backend_pid()`,
    [backend, sessionName(name)],
  );
}

class HeldLease implements Lease {
  readonly #client: pg.Client;
  readonly #options: LeaseOptions;
  readonly #lost = new AbortController();

  constructor(client: pg.Client, options: LeaseOptions) {
    this.#client = client;
    this.#options = options;
    client.once('end', () => this.#lose());
    void this.#keep().catch(() => this.#lose());
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async confirm(): Promise<void> {
    if (!this.lost.aborted && (await this.#renew().catch(() => false))) return;
    this.#lose();
    throw new PipelineError('CF-5005', `another sink may have taken over migration ${this.#options.name}: the lease is not ours any more`);
  }

  async release(): Promise<void> {
    this.#lose();
    const { name, holder } = this.#options;
    await this.#client
      .query('DELETE FROM crossfade.lease WHERE name = $1 AND holder = $2 AND backend = pg_backend_pid()', [name, holder])
      .catch(() => undefined);
    await this.#client.end().catch(() => undefined);
  }

  async #keep(): Promise<void> {
    for (;;) {
      await delay(RENEW_EVERY_MS, undefined, { signal: this.lost });
      if (!(await this.#renew())) return this.#lose();
    }
  }

  /** False when it is not ours, or the target has not answered within the time that the lease has. */
  async #renew(): Promise<boolean> {
    const { name, holder } = this.#options;
    const renewed = this.#client.query(
      `UPDATE crossfade.lease SET expires_at = clock_timestamp() + $3 * interval '1 ms'
        WHERE name = $1 AND holder = $2 AND backend = pg_backend_pid()`,
      [name, holder, LEASE_MS],
    );
    return Promise.race([renewed.then((result) => result.rowCount === 1), delay(LEASE_MS, false, { ref: false })]);
  }

  #lose(): void {
    this.#lost.abort(new PipelineError('CF-5005', `the lease of migration ${this.#options.name} is lost`));
  }
}
