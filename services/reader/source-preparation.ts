/**
 * What has to be on the source before a stream starts: publication and slot. Guarantee: a table that was not published throughout is
 * asked for again before anything newer is read, and a slot is made only for a log that holds nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { PipelineSettings } from '#schemas/config/migration-file.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { ensurePublication, readPublicationPrints, tablesNotPublishedThroughout } from '#connectors/source/postgres/publication.ts';
import { createSlot, hasSettled, nextTransaction, runningTransactions } from '#connectors/source/postgres/slot.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { DurableRecord, PublicationRecord } from './control-records.ts';
import { appendControl } from './follow.ts';
import type { RecoveredControl, RecoveredLog } from './recover.ts';
import type { SourceSession } from './source-session.ts';

const TICK_MS = 250;

export interface PreparationOptions {
  readonly name: string;
  readonly progress: Topic;
  readonly tables: readonly CatalogTable[];
  readonly settings: PipelineSettings;
  /** A table's changes were not streamed for a while: all of it is to be copied again. Resolves once that is durable. */
  readonly recopy: (table: CatalogTable, reason: string) => Promise<void>;
  readonly logger: Logger;
}

export class SourcePreparation {
  readonly #options: PreparationOptions;
  readonly #session: SourceSession;
  /** Under what each relation was published at the last look; undefined before the first. */
  #prints: ReadonlyMap<string, string> | undefined;
  /** Those of them that the log knows. */
  #accounted: ReadonlyMap<string, string> | undefined;

  constructor(options: PreparationOptions, session: SourceSession) {
    this.#options = options;
    this.#session = session;
  }

  /** Nobody has changed the publication since `publish`. */
  async isAsPublished(client: pg.Client): Promise<boolean> {
    return this.#prints !== undefined && isSame(await readPublicationPrints(client, this.#options.name), this.#prints);
  }

  /** The publication is there and names every table. */
  async publish(client: pg.Client): Promise<void> {
    const { name, settings, tables } = this.#options;
    const found = await readPublicationPrints(client, name);
    if (this.#prints !== undefined && isSame(found, this.#prints)) return;
    const changed = await ensurePublication(client, name, tables, settings.publication.create);
    this.#prints = changed ? await readPublicationPrints(client, name) : found;
  }

  /** Changes of a table that was not published for a while were never streamed, whatever the slot says: it is copied again. */
  async account(client: pg.Client, log: RecoveredControl, isSlotThere: boolean, signal: AbortSignal): Promise<void> {
    const { tables, logger, progress, recopy } = this.#options;
    const prints = this.#prints ?? new Map<string, string>();
    if (this.#accounted === prints) return;
    const lost = log.fresh ? [] : tablesNotPublishedThroughout(tables, log.prints, prints);
    if (isSlotThere && lost.length > 0) {
      logger.warn(
        { tables: lost.map((table) => `${table.schema}.${table.name}`) },
        'the publication was changed by somebody: what these tables met meanwhile was not streamed; they are copied again',
      );
      await this.#settle(client, signal);
    }
    for (const table of lost) await recopy(table, 'its publication was changed');
    await appendControl(progress, { t: 'publication', prints: Object.fromEntries(prints) } satisfies PublicationRecord);
    this.#accounted = prints;
  }

  /** Waits for every running transaction. @returns the slot's confirmed LSN */
  async makeSlot(client: pg.Client, signal: AbortSignal): Promise<Lsn> {
    const { name, settings, logger } = this.#options;
    logger.info({ waitsFor: await runningTransactions(client) }, 'creating the replication slot; it waits for running transactions to end');
    const onAbort = (): void => void this.#session.close();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await createSlot(client, name, settings.slot.failover);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Of a log that holds nothing yet: it begins where the slot stands. */
  async beginAt(log: RecoveredLog, confirmed: Lsn, offset: Offset): Promise<RecoveredLog> {
    const text = formatLsn(confirmed);
    const record: DurableRecord = { t: 'durable', offset, commitLsn: '0/0', endLsn: text, confirm: text };
    await appendControl(this.#options.progress, record);
    return { ...log, fresh: false, durableEnd: confirmed, confirmed };
  }

  /** A transaction that wrote a row before its table was published streams nothing of it: no chunk may be read before it has ended. */
  async #settle(client: pg.Client, signal: AbortSignal): Promise<void> {
    const xid = await nextTransaction(client);
    for (let told = false; !(await hasSettled(client, xid)); told = true) {
      if (!told) this.#options.logger.info({ waitsFor: await runningTransactions(client) }, 'waiting for running transactions to end');
      await delay(TICK_MS, undefined, { signal });
    }
  }
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([relation, print]) => b.get(relation) === print);
}
