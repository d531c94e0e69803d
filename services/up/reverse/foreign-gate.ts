/**
 * What others than our sink write on the target, as long as the source serves: counted, and carried nowhere. Guarantee: a write that was committed
 * after a cut-over's decision is never taken for one; each transaction counts once.
 */
import type pg from 'pg';
import { countForeignWrites } from '#connectors/postgres/foreign-writes.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { formatLsn } from '#schemas/lsn.ts';
import type { ForeignWrites, LeftOut } from '#services/reader/left-out.ts';
import type { ServingSide } from './serving-side.ts';

export class ForeignGate implements ForeignWrites, AsyncDisposable {
  readonly #file: MigrationFile;
  readonly #serving: ServingSide;
  #client: pg.Client | undefined;

  /** `file`: of the reverse direction. It is counted on the side that it reads. */
  constructor(file: MigrationFile, serving: ServingSide) {
    this.#file = file;
    this.#serving = serving;
  }

  areTaken(): boolean {
    return this.#serving.known === 'target';
  }

  async ask(): Promise<boolean> {
    return (await this.#serving.ask()) === 'target';
  }

  async leftOut({ commitLsn, changes }: LeftOut): Promise<void> {
    this.#client ??= await this.#open();
    try {
      await countForeignWrites(this.#client, this.#file.name, { commitLsn: formatLsn(commitLsn), changes });
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #open(): Promise<pg.Client> {
    const client = await connect(this.#file.source.postgres, { applicationName: 'crossfade foreign writes', role: 'target' });
    await ensureSchema(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }
}
