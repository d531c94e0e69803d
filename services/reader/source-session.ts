/** The reader's own session for watermarks, markers and health. Guarantee: it never waits for a synchronous standby. */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';

export class SourceSession {
  readonly #url: string;
  readonly #applicationName: string;
  #client: Promise<pg.Client> | undefined;

  constructor(url: string, applicationName: string) {
    this.#url = url;
    this.#applicationName = applicationName;
  }

  /** The open session; a new one when the last broke. @throws PipelineError CF-2001 */
  client(): Promise<pg.Client> {
    this.#client ??= this.#open();
    return this.#client;
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.then((open) => open.end()).catch(() => undefined);
  }

  async #open(): Promise<pg.Client> {
    try {
      // Our own messages must not hang on an absent synchronous standby; the WAL that we read is flushed anyway.
      const settings = { synchronous_commit: 'local', statement_timeout: '0' };
      const client = await connect(this.#url, { applicationName: this.#applicationName, role: 'source', settings });
      client.once('end', () => (this.#client = undefined));
      return client;
    } catch (error) {
      this.#client = undefined;
      throw error;
    }
  }
}
