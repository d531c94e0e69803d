/**
 * One session a side, opened when it is first needed and kept: within the block nobody waits for a connection. Guarantee: one piece of work at a time on each;
 * a broken one is replaced; closed with the owner.
 */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import type { Side } from '#schemas/migration/transitions.ts';

/** A statement of ours that waits longer has found something that it should not wait for. */
const SETTINGS: Readonly<Record<string, string>> = { statement_timeout: '30000', lock_timeout: '5000' };

export class SideSessions implements AsyncDisposable {
  readonly #urls: Readonly<Record<Side, string>>;
  readonly #applicationName: string;
  readonly #open = new Map<Side, Promise<pg.Client>>();
  readonly #turns = new Map<Side, Promise<unknown>>();

  constructor(urls: Readonly<Record<Side, string>>, name: string) {
    this.#urls = urls;
    this.#applicationName = `crossfade ${name} flip`;
  }

  /** In turn with whatever else is asked of that side. @throws PipelineError CF-2001, CF-5001 */
  async run<T>(side: Side, work: (client: pg.Client) => Promise<T>): Promise<T> {
    const before = this.#turns.get(side) ?? Promise.resolve();
    const mine = before.then(async () => work(await this.#client(side)));
    this.#turns.set(
      side,
      mine.catch(() => undefined),
    );
    return mine;
  }

  async #client(side: Side): Promise<pg.Client> {
    const open = this.#open.get(side) ?? this.#connect(side);
    this.#open.set(side, open);
    return open;
  }

  async #connect(side: Side): Promise<pg.Client> {
    try {
      const client = await connect(this.#urls[side], { applicationName: this.#applicationName, role: side, settings: SETTINGS });
      client.once('end', () => this.#open.delete(side));
      return client;
    } catch (error) {
      this.#open.delete(side);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = [...this.#open.values()];
    await Promise.allSettled(open.map(async (client) => (await client).end()));
  }
}
