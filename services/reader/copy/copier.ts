/**
 * The copy: every table in chunks between watermarks, and copied again where asked. Guarantee: after any crash it goes on from its
 * records in the progress topic, reading again only chunks whose rows were not yet recorded as durable.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { clearSpool } from '#connectors/source/row-spool.ts';
import { waitBackoff, RECONNECT } from '#services/runtime/backoff.ts';
import { readAll } from '#services/runtime/records.ts';
import { CatalogWatch } from './catalog-watch.ts';
import { ChunkReader } from './chunk-reader.ts';
import type { CopierOptions, CopierTable } from './copier-options.ts';
import { ControlJournal } from './control-journal.ts';
import { decodeCopyRecord, type CopyRecord } from './control-record.ts';
import { CopyLedger } from './copy-ledger.ts';
import { CopyPlan, GIVEN } from './copy-plan.ts';
import type { CopyHooks, CopyProgress, RecopyRequest } from './copy-port.ts';
import { CopyTable } from './copy-table.ts';
import { CopyWorkers } from './copy-workers.ts';
import { KeyQueue } from './key-queue.ts';
import { Notifier } from './notifier.ts';
import { StreamSide, type StreamSideEvents } from './stream-side.ts';
import { OperatorControl } from './operator-control.ts';
import { checkRecopy } from './recopy-check.ts';
import { endUnfit } from './unfit-request.ts';
import { Throttle } from './throttle.ts';
import { VisibilityMemory, type StreamedTransaction } from './visibility.ts';
import { Watermarks } from './watermarks.ts';

const VISIBILITY_EVERY_MS = 1_000;
const LOAD_EVERY_MS = 2_000;
const NEWS_EVERY_MS = 100;
/** A commit asked for to carry news may be lost with its session: it is asked for again after this. */
const NEWS_AGAIN_MS = 5_000;
export interface Copier {
  readonly hooks: CopyHooks;
  /** Every chunk of the initial copy, and every re-copy asked for before, stands in the log. */
  readonly complete: boolean;
  /** Nothing is to be copied, and everything copied is durable and recorded. */
  readonly idle: boolean;
  /** Resolves when stopped; rejects on what no repeat mends. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Resolves with the request's id once it is durable. A `given` id is taken once, also over restarts.
   * Keys that cannot be the table's make it one for the whole table. @throws PipelineError CF-1008 for a table that is not copied.
   */
  requestRecopy(request: RecopyRequest, given?: string): Promise<string>;
  /** Whether an operator's request can be made. @returns it as it is to be made. @throws PipelineError CF-1008, CF-1009; CF-2001, CF-2007 when the source cannot be asked. */
  checkRecopy(request: RecopyRequest): Promise<RecopyRequest>;
  addTable(table: CopierTable): Promise<void>;
  progress(): readonly CopyProgress[];
  readonly operator: OperatorControl;
  /** Looks at the catalogues now; else every heartbeat. */
  checkCatalog(): Promise<void>;
  /** Records what the visibility guard must remember, so that the slot may move up to now. */
  flush(): Promise<void>;
}

/** Reads the copy's records and takes the copy up where they leave it. The hooks work from then on, before `run`. */
export async function createCopier(options: CopierOptions): Promise<Copier> {
  clearSpool(options.spoolDirectory);
  const records: CopyRecord[] = [];
  await readAll(options.progress, options.progress.start(0), (payload) => {
    const record = decodeCopyRecord(payload);
    if (record) records.push(record);
  });
  return new CopierService(options, records);
}

class CopierService implements Copier {
  readonly hooks: StreamSide;
  readonly operator: OperatorControl;
  readonly #options: CopierOptions;
  readonly #plan: CopyPlan;
  readonly #memory: VisibilityMemory;
  readonly #journal: ControlJournal;
  readonly #ledger: CopyLedger;
  readonly #watermarks: Watermarks;
  readonly #throttle: Throttle;
  readonly #workers: CopyWorkers;
  readonly #watch: CatalogWatch;
  readonly #wake = new Notifier();
  #signal: AbortSignal | undefined;
  #operatorsOf: ReadonlyMap<number, string> = new Map();

  constructor(options: CopierOptions, records: readonly CopyRecord[]) {
    this.#options = options;
    const { name, source, logger } = options;
    const now = options.now ?? (() => performance.now());
    this.#plan = new CopyPlan(options.order, options.isFilled);
    for (const table of options.tables) this.#plan.add(this.#tableOf(table));
    for (const record of records) this.#plan.restore(record);
    this.#plan.settle();
    this.#memory = restoreMemory(records);
    this.#journal = new ControlJournal(options.progress, logger);
    this.#ledger = new CopyLedger({
      logger,
      plan: this.#plan,
      memory: this.#memory,
      journal: this.#journal,
      changed: () => this.#wake.notify(),
      holdSlot: (lsn) => this.hooks.holdSlot(lsn),
    });
    this.#watermarks = new Watermarks(source);
    const { maxRowsPerSecond, maxBytesPerSecond } = options.settings.copy;
    this.#throttle = new Throttle({}, now);
    this.operator = new OperatorControl(
      { maxRowsPerSecond, maxBytesPerSecond },
      { throttle: this.#throttle, journal: this.#journal, records },
    );
    this.hooks = new StreamSide(this.#plan, this.#memory, this.#events());
    this.#watch = new CatalogWatch({
      source,
      logger,
      plan: this.#plan,
      stream: this.hooks,
      ask: async (table, request) => void (await this.#ledger.ask(table, request, this.hooks.position)),
      hold: (table, reason) => this.#hold(table, reason),
      record: (record) => this.#journal.write(record),
      onLeaves: (table) =>
        options.onLeaves?.(
          { schema: table.schema, name: table.name },
          table.leaves.map((leaf) => leaf.oid),
        ),
    });
    const shared = { source, logger, throttle: this.#throttle };
    const reader = new ChunkReader({
      ...shared,
      name,
      now,
      stream: this.hooks,
      memory: this.#memory,
      spoolDirectory: options.spoolDirectory,
      random: options.random ?? Math.random,
      emit: (message) => this.#watermarks.emit(message),
      emitHigh: (message) => this.#watermarks.emitHigh(message, async () => this.#mayCopy(), this.complete ? options.migration : undefined),
      onShapeDiffers: (table) => this.#onShapeDiffers(table, this.hooks.position),
      ...(options.interludes && { interludes: options.interludes }),
    });
    this.#workers = new CopyWorkers({
      ...shared,
      reader,
      mayCopy: async () => this.#mayCopy(),
      plan: this.#plan,
      stream: this.hooks,
      journal: this.#journal,
      wake: this.#wake,
      hold: (table, reason) => this.#hold(table, reason),
      endUnfit: (work) => endUnfit(work, { source, plan: this.#plan, ledger: this.#ledger }),
      ...(options.oneChunkBytes !== undefined && { oneChunkBytes: options.oneChunkBytes }),
    });
    for (const table of this.#plan.tables()) this.hooks.track(table);
  }

  get complete(): boolean {
    return this.#plan.isComplete;
  }

  /** The first copy is over before anybody may flip. */
  async #mayCopy(): Promise<boolean> {
    return !this.complete || (await this.#options.mayCopy?.()) !== false;
  }

  get idle(): boolean {
    return this.#plan.isIdle() && this.#plan.isCompleteRecorded;
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const inner = AbortSignal.any([signal, stop.signal]);
    this.#signal = inner;
    try {
      await this.#prepare(inner);
      const { settings } = this.#options;
      const workers = Array.from({ length: Math.max(1, settings.copy.parallel) }, () => this.#workers.run(inner));
      await Promise.all([
        ...workers,
        this.#every(VISIBILITY_EVERY_MS, inner, () => this.flush()),
        this.#every(settings.heartbeatSeconds * 1000, inner, () => this.checkCatalog()),
        this.#every(LOAD_EVERY_MS, inner, () => this.#watchLoad()),
        this.#announceNews(inner),
      ]);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
    }
  }

  async requestRecopy(request: RecopyRequest, given?: string): Promise<string> {
    const { kind, reason } = request;
    const table = this.#tableAskedFor(request);
    const id = given === undefined ? undefined : GIVEN + given;
    if (id !== undefined && !this.#plan.noteAsked(id)) {
      await this.#journal.flushed();
      return id;
    }
    const asked = { kind, reason, ...(id !== undefined && { id }) };
    if (kind === 'table' || kind === 'replace') return this.#ledger.ask(table, asked);
    if (kind === 'keys') return this.#ledger.ask(table, { ...asked, keys: request.keys });
    return this.#ledger.ask(table, {
      ...asked,
      ...(request.from !== undefined && { from: request.from }),
      ...(request.to !== undefined && { to: request.to }),
    });
  }

  async checkRecopy(request: RecopyRequest): Promise<RecopyRequest> {
    return checkRecopy(this.#options.source, this.#tableAskedFor(request), request);
  }

  #tableAskedFor({ schema, table: name }: RecopyRequest): CopyTable {
    const table = this.#plan.table(tableId({ schema, name }));
    if (!table) throw new PipelineError('CF-1008', `table ${schema}.${name} is not part of this migration`);
    return table;
  }

  async addTable(added: CopierTable): Promise<void> {
    const table = this.#tableOf(added);
    if (this.#plan.table(table.id)) return;
    await this.#findOperators([added]);
    this.#nameOperators(table, added.catalog);
    this.#plan.add(table);
    this.hooks.track(table);
    await this.#watch.check();
    this.#wake.notify();
  }

  progress(): readonly CopyProgress[] {
    return this.#plan.tables().map((table) => ({
      schema: table.schema,
      table: table.name,
      state: table.reported,
      rowsCopied: table.rowsCopied,
      rowsEstimated: Math.max(table.rowsEstimated, table.rowsCopied),
      chunksInFlight: table.jobs.reduce((sum, job) => sum + job.chunksInFlight, 0),
      chunksReread: table.chunksReread,
      ...(table.error !== undefined && { error: table.error }),
    }));
  }

  checkCatalog(): Promise<void> {
    return this.#watch.check();
  }

  async flush(): Promise<void> {
    if (this.#memory.firstUncovered() === undefined && this.#memory.size === 0) return;
    await this.#ledger.remember(await this.#options.source.snapshot());
  }

  async #hold(table: CopyTable, reason: string): Promise<void> {
    await this.#ledger.hold(table, reason);
    this.hooks.voidTable(table, reason);
  }

  // --- start ---

  #tableOf({ mappings, catalog, isWhole = false }: CopierTable): CopyTable {
    const { chunkRows, chunkTargetMs } = this.#options.settings.copy;
    const table = new CopyTable(mappings, catalog, {
      chunkRows,
      chunkTargetMs,
      isWhole,
      keys: new KeyQueue(`${catalog.schema}.${catalog.name}`),
    });
    this.#nameOperators(table, catalog);
    return table;
  }

  /** What the stream brings goes to the ledger, shapes to the catalogue's watch. */
  #events(): StreamSideEvents {
    return {
      onChunkDurable: (attempt, recorded) => void this.#ledger.chunkDurable(attempt, recorded),
      onCopyCompleteDurable: (lsn) => void this.#ledger.copyCompleteDurable(lsn),
      onMovedKey: (table, key, cause) => this.#ledger.movedKey(table, key, cause),
      onLeafTruncated: (table, cause) => this.#ledger.leafTruncated(table, cause),
      onRelation: (table, relation, commit) => {
        if (this.#watch.differs(table, relation, commit)) this.#onShapeDiffers(table, commit);
      },
      onTruncated: (oid) => this.#watch.onTruncated(oid),
      onVoid: (attempt) => {
        this.#plan.giveBack(attempt.work);
        this.#wake.notify();
      },
    };
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#findOperators(this.#options.tables);
        for (const { catalog } of this.#options.tables) this.#nameOperators(this.#plan.table(tableId(catalog))!, catalog);
        this.#memory.prune(await this.#options.source.snapshot());
        await this.#watch.check();
        return;
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        this.#options.logger.warn({ error: messageOf(error) }, 'cannot prepare the copy; trying again');
        await waitBackoff(RECONNECT, attempt, signal);
      }
    }
  }

  /** Comparison operators of key types that do not live in pg_catalog (citext, ltree …). */
  async #findOperators(tables: readonly CopierTable[]): Promise<void> {
    const types = tables.flatMap(({ mappings, catalog }) =>
      catalog.columns.filter((column) => mappings[0]!.sourceKey.includes(column.name) && !column.builtin).map((column) => column.typeOid),
    );
    const found = await this.#options.source.operatorSchemas([...new Set(types)]);
    this.#operatorsOf = new Map([...this.#operatorsOf, ...found]);
  }

  #nameOperators(table: CopyTable, catalog: CatalogTable): void {
    table.key = table.key.map((column) => {
      const schema = this.#operatorsOf.get(catalog.columns.find((candidate) => candidate.name === column.name)?.typeOid ?? 0);
      return schema === undefined ? column : { ...column, operatorSchema: schema };
    });
  }

  // --- beside the work ---

  async #every(everyMs: number, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    for (;;) {
      await delay(everyMs, undefined, { signal });
      try {
        await act();
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        this.#options.logger.debug({ error: messageOf(error) }, 'the source could not be asked; trying again');
      }
    }
  }

  async #watchLoad(): Promise<void> {
    const limit = this.#options.settings.copy.maxSourceActiveSessions;
    if (limit === undefined || this.#plan.isIdle()) return;
    const active = await this.#options.source.activeSessions();
    if (active > limit) this.#throttle.close('source load');
    else this.#throttle.open('source load');
  }

  /** Table states and copy complete are appended behind a commit of ours: an idle source gets one. */
  async #announceNews(signal: AbortSignal): Promise<void> {
    let askedAt = -Infinity;
    let beats = 0;
    for (;;) {
      await delay(NEWS_EVERY_MS, undefined, { signal });
      if (!this.hooks.hasNews || this.hooks.attempts().length > 0) continue;
      if (performance.now() - askedAt < NEWS_AGAIN_MS && beats === this.hooks.heartbeats) continue;
      askedAt = performance.now();
      beats = this.hooks.heartbeats;
      await this.#watermarks.emit({ kind: 'heartbeat', name: this.#options.name, id: randomUUID() }).catch(() => undefined);
    }
  }

  // --- what the stream brings ---

  /** The slot waits until the catalogues were compared and what follows from it is durable. */
  #onShapeDiffers(table: CopyTable, cause: Lsn): void {
    const release = this.hooks.holdSlot(cause);
    this.hooks.voidTable(table, 'the table changed its shape');
    void this.#lookAgain().then(release);
  }

  async #lookAgain(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#watch.check();
        return;
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        // Stopped: the slot stays held, and the next start compares the catalogues anyway.
        if (this.#signal?.aborted) return new Promise(() => undefined);
        await waitBackoff(RECONNECT, attempt, this.#signal ?? new AbortController().signal).catch(() => undefined);
      }
    }
  }
}

/** From the last visibility record. Without one nothing is known of what was streamed before: the slot may be older than this log. */
export function restoreMemory(records: readonly CopyRecord[]): VisibilityMemory {
  if (!guarded('visibility-memory')) return new VisibilityMemory(true);
  const last = records.findLast((record) => record.t === 'visibility');
  if (!last) return new VisibilityMemory(false);
  const restored: StreamedTransaction[] = last.transactions.map(([xid, lsn]) => ({ xid, lsn: parseLsn(lsn) }));
  return new VisibilityMemory(true, restored);
}
