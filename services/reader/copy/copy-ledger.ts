/**
 * Writes what happened to the copy into the progress topic. Guarantee: a chunk's record follows its rows' durability, a request's
 * record precedes the slot past its cause, and the slot is released only once the record is durable.
 */
import { randomUUID } from 'node:crypto';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { Snapshot } from '#schemas/snapshot.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { Attempt } from './attempt.ts';
import type { ControlJournal } from './control-journal.ts';
import type { RecopyAskedRecord } from './control-record.ts';
import type { CopyPlan } from './copy-plan.ts';
import type { CopyTable } from './copy-table.ts';
import { fromRowKey, type RowKey } from './row-key.ts';
import type { VisibilityMemory } from './visibility.ts';

export type RecopyAsked = Omit<RecopyAskedRecord, 't' | 'id' | 'schema' | 'table'> & { readonly id?: string };

export interface CopyLedgerOptions {
  readonly plan: CopyPlan;
  readonly memory: VisibilityMemory;
  readonly journal: ControlJournal;
  readonly logger: Logger;
  /** There may be something new to read. */
  readonly changed: () => void;
  /** Holds the slot below an LSN until the function given back is called. */
  readonly holdSlot: (lsn: Lsn) => () => void;
  readonly makeId?: () => string;
}

export class CopyLedger {
  readonly #options: CopyLedgerOptions;

  constructor(options: CopyLedgerOptions) {
    this.#options = options;
  }

  /** The chunk's rows are durable: so is its record when `recorded` is called. */
  async chunkDurable(attempt: Attempt, recorded: () => void): Promise<void> {
    const { plan, journal, changed } = this.#options;
    const { work, deliveredRows } = attempt;
    failpoint('chunk.durable');
    const { table, chunk } = work;
    if (chunk.kind !== 'keys') {
      if (chunk.job.kind === 'initial') table.rowsCopied += deliveredRows;
      void journal.write({ t: 'chunk-finished', chunk: chunk.id, rows: deliveredRows, lsn: formatLsn(attempt.highEnd!) });
    }
    const done = plan.finish(work);
    table.unrecorded++;
    changed();
    await journal.flushed(done);
    table.unrecorded--;
    recorded();
  }

  async copyCompleteDurable(lsn: Lsn): Promise<void> {
    await this.#options.journal.write({ t: 'copy-complete', lsn: formatLsn(lsn) });
    this.#options.plan.isCompleteRecorded = true;
  }

  /** Resolves with the request's id once it is durable; the slot stays below `cause` until then. */
  async ask(table: CopyTable, request: RecopyAsked, cause?: Lsn): Promise<string> {
    const { plan, journal, logger, changed, holdSlot, makeId = randomUUID } = this.#options;
    const record: RecopyAskedRecord = { id: makeId(), ...request, t: 'recopy-asked', schema: table.schema, table: table.name };
    const release = cause === undefined ? undefined : holdSlot(cause);
    plan.ask(table, record);
    changed();
    if (request.kind !== 'keys') {
      logger.info({ table: `${table.schema}.${table.name}`, kind: request.kind, reason: request.reason }, 'a table is copied again');
    }
    await journal.write(record);
    release?.();
    return record.id;
  }

  /** All of the table is asked for instead of what was taken out of the plan; these requests are done with that. */
  async endInFull(table: CopyTable, ids: readonly string[]): Promise<void> {
    const asked = this.ask(table, { kind: 'table', reason: 'what was asked for is no value of its key any more' });
    if (ids.length > 0) void this.#options.journal.write({ t: 'recopy-done', ids });
    await asked;
  }

  movedKey(table: CopyTable, key: RowKey, cause: Lsn): void {
    void this.ask(table, { kind: 'keys', keys: [fromRowKey(key)], reason: 'its key changed' }, cause);
  }

  leafTruncated(table: CopyTable, cause: Lsn): void {
    void this.ask(table, { kind: 'replace', reason: 'a partition was truncated' }, cause);
  }

  /** The table changed in a way that the mapping does not cover. */
  async hold(table: CopyTable, reason: string): Promise<void> {
    if (table.error !== undefined) return;
    const failure = new PipelineError('CF-2006', `table ${table.schema}.${table.name} is held: ${reason}`);
    table.error = failure.message;
    this.#options.logger.error({ table: `${table.schema}.${table.name}`, code: failure.code, remedy: failure.remedy }, failure.message);
    await this.#options.journal.write({ t: 'table-held', schema: table.schema, table: table.name, error: failure.message });
  }

  /** Takes in a snapshot just read; what was streamed and it does not see is durable when this resolves, and the slot may pass. */
  async remember(snapshot: Snapshot): Promise<void> {
    const { memory, journal } = this.#options;
    const { transactions, mark } = memory.record(snapshot);
    const isCovered = memory.isCovered;
    memory.prune(snapshot);
    if (isCovered) return;
    await journal.write({ t: 'visibility', transactions: transactions.map(({ xid, lsn }) => [xid, formatLsn(lsn)]) });
    memory.recorded(mark);
  }
}
