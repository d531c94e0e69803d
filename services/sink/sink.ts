/**
 * The sink: raw log → target. Guarantee: each change is committed once, in the source's order and with its progress; from the change-over
 * on the target always shows exactly the source state of the applied LSN. Whatever ends a session (deadlock, lost connection, an answer
 * that never came), the next goes on from the progress rows on the target.
 *
 * Parallel mode (during the initial copy): one lane per group of tables, each with its own connection and positions. Consistent mode:
 * one session, one transaction per round of whole source transactions. The change-over happens by itself at the copy-complete record.
 */
import type { Bookmarked } from '#connectors/change-log/bookmark.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { DeadLetterTopic } from '#connectors/change-log/dead-letter-topic.ts';
import {
  FinerGrainNeeded,
  SessionOutdated,
  type ConflictCounts,
  type Position,
  type Target,
  type TargetStore,
} from '#connectors/target/target.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DescribeRows } from '#schemas/mapping/mapped-side.ts';
import type { PipelineSettings } from '#schemas/config/migration-file.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { waitBackoff, type Backoff } from '#services/runtime/backoff.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import { RelationResolver } from './bind-relation.ts';
import { publishDeadLetters } from './dead-letter-publisher.ts';
import type { FinerGrain } from './session-events.ts';
import { checkBeginning, checkOffsets, isUntouched } from './resume-point.ts';
import { SinkSession } from './sink-session.ts';

export interface SinkSettings {
  readonly store: TargetStore;
  readonly mapping: CompiledMapping;
  /** The source's mapped tables, with their leaves. */
  readonly source: readonly CatalogTable[];
  readonly targetTables: readonly CatalogTable[];
  readonly raw: Topic;
  /** Of `raw`, where its reading begins again only at a bookmark. */
  readonly bookmarks?: Bookmarked;
  /** Rows of a relation as they stand in `raw`, where that is not as the source wrote them. */
  readonly describeRows?: DescribeRows;
  readonly progress: Topic;
  /** Told of each row that is set aside. */
  readonly deadLetters?: DeadLetterTopic;
  readonly settings: Pick<PipelineSettings, 'sink'>;
  readonly logger: Logger;
  /** Asked before each take-over of the target. @throws PipelineError CF-5005 when another process is to act. */
  readonly permit?: () => Promise<void>;
  /** Rows must be copied again; resolves once the request is durable. */
  /** Where a target begins that nothing was applied to; absent: with the log. */
  readonly joinAt?: Position;
  readonly onMissingRows: (table: TableMapping, keys: readonly (readonly string[])[]) => Promise<void>;
  /** The target is ours; `ordered`: foreign keys are checked while we write, so parents have to be copied before their children. */
  readonly onTakenOver?: (taken: { readonly ordered: boolean }) => void;
  /** A held table was emptied for a resume: it is to be copied again as a whole; resolves once that is durable. */
  readonly onResumedTable?: (table: TableMapping) => Promise<void>;
  readonly onApplied?: (position: Position, consistent: boolean) => void;
  readonly onMarker?: (id: string) => void;
  readonly onHeld?: (table: TableMapping, message: string) => void;
  readonly onSetAside?: (table: TableMapping, message: string) => void;
}

export interface SinkOptions extends SinkSettings {
  readonly resolver: RelationResolver;
}

export interface SinkTableStatus {
  readonly from: { readonly schema: string; readonly name: string };
  readonly to: { readonly schema: string; readonly name: string };
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly rowsCopied: number;
  readonly rowsEstimated: number | undefined;
  readonly changesApplied: number;
  readonly conflicts?: ConflictCounts;
  readonly error: string | undefined;
  readonly heldKey: string | undefined;
}

export interface SinkStatus {
  readonly connected: boolean;
  readonly mode: 'parallel' | 'consistent';
  readonly applied: Position | undefined;
  /** False: what lies above the applied LSN may show on the target already. */
  readonly isAtomic: boolean;
  /** Keys that are blocked because a row was set aside. */
  readonly deadLetters: number;
  readonly tables: readonly SinkTableStatus[];
  readonly restarts: number;
  readonly error: string | undefined;
}

export interface Sink extends Service {
  status(): SinkStatus;
  /** Undefined before the change-over. */
  applied(): Position | undefined;
  /** Resolves once everything with a commit LSN below `lsn` is applied (consistent mode). */
  waitApplied(lsn: Lsn, signal: AbortSignal): Promise<void>;
  /** Resolves once the marker is applied. To be called before the marker is written, or with one that is in crossfade.markers. */
  waitMarker(id: string, signal: AbortSignal): Promise<void>;
  /** Nothing is committed from when it resolves until `release`. */
  hold(): Promise<void>;
  release(): void;
  /**
   * Tries a source table's held targets again, once the cause was mended: empties them and asks for the table's re-copy (`onResumedTable`).
   * @returns false when none is held. @throws PipelineError CF-7001 while the target is not connected.
   */
  resumeTable(from: { readonly schema: string; readonly name: string }): Promise<boolean>;
  /** Leaves of a table changed. */
  learn(table: { readonly schema: string; readonly name: string }, leaves: readonly number[]): void;
  /** A relation is this table, or a leaf of it that was attached. */
  know(oid: number, table: { readonly schema: string; readonly name: string }): void;
}

const RETRY: Backoff = { firstMs: 50, lastMs: 5_000 };

interface Waiter {
  readonly done: (position: Position | undefined, marker: string | undefined) => boolean;
  readonly resolve: () => void;
}

export function createSink(options: SinkSettings): Sink {
  return new TargetSink(options);
}

class TargetSink implements Sink {
  readonly id = 'sink';
  readonly #options: SinkOptions;
  readonly #waiters = new Set<Waiter>();
  readonly #seenMarkers = new Set<string>();
  #session: SinkSession | undefined;
  #position: Position | undefined;
  #restarts = 0;
  #error: string | undefined;
  /** As the last session knew them: they do not go away with it. */
  #blocked: Target['blocked'] | undefined;
  #holds = 0;
  #finer: FinerGrain | undefined;
  #decoded = 0;

  constructor(options: SinkSettings) {
    this.#options = { ...options, resolver: new RelationResolver(options.mapping, options.source) };
  }

  async run(signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const publishing = this.#publish(AbortSignal.any([signal, ended.signal]));
    try {
      await this.#runSessions(signal);
    } finally {
      ended.abort();
      await publishing;
    }
  }

  async #publish(signal: AbortSignal): Promise<void> {
    const { deadLetters: topic, store, mapping, logger } = this.#options;
    const { deadLettersUrl: targetUrl } = store;
    if (topic === undefined || targetUrl === undefined) return;
    const pending = (): boolean => (this.#blocked?.size ?? 0) > 0;
    await publishDeadLetters({ targetUrl, name: mapping.name, topic, pending, logger }, signal);
  }

  async #runSessions(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      const before = this.#position;
      try {
        await this.#runSession(signal);
        return;
      } catch (error) {
        if (error instanceof FinerGrainNeeded) {
          this.#finer = { grain: error.grain, until: this.#decoded };
          continue;
        }
        if (error instanceof SessionOutdated) continue;
        if (!this.#isRetried(error)) throw this.#options.store.explain(error) as Error;
        if (this.#position !== before) attempt = 0;
        this.#error = messageOf(error);
        this.#restarts++;
        this.#options.logger.warn({ error: messageOf(error), attempt }, 'The target session ended; trying again');
        await waitBackoff(RETRY, attempt, signal).catch(() => undefined);
      }
    }
  }

  #isRetried(error: unknown): boolean {
    return error instanceof PipelineError ? error.retry === 'timed' : this.#options.store.isTransient(error);
  }

  async #runSession(signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    await this.#options.permit?.();
    const target = await this.#options.store.open({ onMissing: this.#options.onMissingRows });
    try {
      await this.#join(target);
      await this.#options.bookmarks?.prepare(await target.readBookmark());
      if (this.#options.bookmarks === undefined) checkBeginning(this.#options.raw, target.progress, target.tables);
      checkOffsets(this.#options.raw, target.progress, target.tables);
      // A commit whose answer was lost may have applied a marker that somebody waits for.
      const markers = await target.readMarkers();
      const session = this.#open(target, markers);
      this.#options.onTakenOver?.({ ordered: target.ordered });
      const { progress } = target;
      logger.info(
        {
          mode: progress.mode,
          epoch: Number(progress.epoch),
          applied: progress.appliedLsn === undefined ? null : formatLsn(progress.appliedLsn),
        },
        'Target taken over',
      );
      await session.run(signal);
    } finally {
      this.#decoded = this.#session?.decoded ?? 0;
      this.#session = undefined;
      await target.close();
    }
  }

  /** @throws SessionOutdated once it stands there. */
  async #join(target: Target): Promise<void> {
    const { joinAt, mapping } = this.#options;
    if (joinAt === undefined || !isUntouched(target)) return;
    if (target.ordered) {
      throw new PipelineError(
        'CF-5002',
        'the role may not switch off foreign keys, so rows that are copied again table by table could not be applied: a target cannot be added to a running migration like that',
        { remedy: 'GRANT SET ON PARAMETER session_replication_role TO its role (PostgreSQL 15 and later), or add the foreign keys later.' },
      );
    }
    await target.join(joinAt);
    this.#options.logger.info({ tables: mapping.tables.length }, 'The target joins: all its tables are copied');
    throw new SessionOutdated('the target has joined');
  }

  #open(target: Target, appliedMarkers: readonly string[]): SinkSession {
    const { progress } = target;
    if (progress.appliedLsn !== undefined && progress.logOffset !== undefined) {
      this.#position = { offset: progress.logOffset, lsn: progress.appliedLsn, commitTimeMs: progress.commitTimeMs ?? 0 };
      this.#notify(this.#position, appliedMarkers);
    }
    const session = new SinkSession(
      this.#options,
      target,
      {
        onCommitted: (position, markers, consistent) => this.#committed(position, markers, consistent),
        onHeld: (table, message) => {
          this.#options.logger.error({ table: `${table.to.schema}.${table.to.name}`, error: message }, 'Table held');
          this.#options.onHeld?.(table, message);
        },
        onSetAside: (table, message) => {
          this.#options.logger.warn({ table: `${table.to.schema}.${table.to.name}`, error: message }, 'A row was set aside');
          this.#options.onSetAside?.(table, message);
        },
      },
      this.#finer,
    );
    this.#finer = undefined;
    if (this.#holds > 0) void session.pause();
    this.#session = session;
    this.#blocked = target.blocked;
    this.#error = undefined;
    return session;
  }

  #committed(position: Position, markers: readonly string[], consistent: boolean): void {
    if (consistent) this.#position = position;
    this.#options.onApplied?.(position, consistent);
    if (consistent) this.#notify(position, markers);
  }

  #notify(position: Position, markers: readonly string[]): void {
    for (const id of markers) {
      this.#seenMarkers.add(id);
      this.#options.onMarker?.(id);
    }
    for (const waiter of this.#waiters) {
      if (!waiter.done(position, undefined) && !markers.some((id) => waiter.done(undefined, id))) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  status(): SinkStatus {
    const tables = this.#session === undefined ? [] : [...this.#session.tables];
    return {
      connected: this.#session !== undefined,
      mode: this.#position === undefined ? 'parallel' : 'consistent',
      applied: this.#position,
      isAtomic: this.#options.store.isAtomic,
      deadLetters: this.#blocked?.size ?? 0,
      tables: tables.map((table) => ({
        from: table.mapping.from,
        to: table.mapping.to,
        state: table.state,
        rowsCopied: table.rowsCopied,
        rowsEstimated: table.rowsEstimated,
        changesApplied: table.changesApplied,
        conflicts: table.conflicts,
        error: table.error,
        heldKey: table.heldKey,
      })),
      restarts: this.#restarts,
      error: this.#error,
    };
  }

  applied(): Position | undefined {
    return this.#position;
  }

  async waitApplied(lsn: Lsn, signal: AbortSignal): Promise<void> {
    if (this.#position !== undefined && this.#position.lsn >= lsn) return;
    await this.#wait((position) => position !== undefined && position.lsn >= lsn, signal);
  }

  async waitMarker(id: string, signal: AbortSignal): Promise<void> {
    if (this.#seenMarkers.has(id)) return;
    await this.#wait((_position, marker) => marker === id, signal);
  }

  async #wait(done: Waiter['done'], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { done, resolve };
    const abort = (): void => {
      this.#waiters.delete(waiter);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', abort, { once: true });
    this.#waiters.add(waiter);
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async hold(): Promise<void> {
    this.#holds++;
    if (this.#holds === 1) await this.#session?.pause();
  }

  release(): void {
    this.#holds--;
    if (this.#holds === 0) this.#session?.resume();
  }

  async resumeTable(from: { readonly schema: string; readonly name: string }): Promise<boolean> {
    const session = this.#session;
    if (session === undefined) throw new PipelineError('CF-7001', 'the target is not connected at the moment');
    const held = session.tables.of(from).filter(({ state }) => state === 'held');
    if (held.length === 0) return false;
    await session.resumeTables(held);
    return true;
  }

  learn(table: { readonly schema: string; readonly name: string }, leaves: readonly number[]): void {
    this.#options.resolver.learn(table, leaves);
    this.#session?.forgetRoutes();
  }

  know(oid: number, table: { readonly schema: string; readonly name: string }): void {
    if (this.#options.resolver.know(oid, table)) this.#session?.forgetRoutes();
  }
}
