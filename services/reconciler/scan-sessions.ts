/**
 * Sessions of one worker, which compares table after table in the same two snapshots. Guarantee: a session that is handed out is in its snapshot and
 * holds no lock; one that met an error is never handed out again.
 */
import type pg from 'pg';
import type { HeldSnapshot, Side } from '#connectors/probe/postgres/held-snapshot.ts';

/** A backend of its own for each table and side would cost more than what is read of a small one. */
export class ScanSessions implements AsyncDisposable {
  readonly #snapshots: Readonly<Record<Side, HeldSnapshot>>;
  readonly #open = new Map<Side, pg.Client>();

  constructor(snapshots: Readonly<Record<Side, HeldSnapshot>>) {
    this.#snapshots = snapshots;
  }

  /** The side's one session: who had it before has let it go. */
  async enter(side: Side): Promise<pg.Client> {
    const known = this.#open.get(side);
    if (known !== undefined) {
      await this.#snapshots[side].enter(known);
      return known;
    }
    const client = await this.#snapshots[side].session();
    this.#open.set(side, client);
    return client;
  }

  /** A table is done: its locks go, so that nobody waits for them while others are compared. */
  async leave(): Promise<void> {
    await Promise.all([...this.#open.values()].map(async (client) => client.query('ROLLBACK')));
  }

  /** Nothing of before is used again. */
  async close(): Promise<void> {
    const clients = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(clients.map(async (client) => client.end().catch(() => undefined)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
