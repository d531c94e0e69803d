/**
 * An example of a target of one's own (connectors/target/README.md): a SQLite file, by `node:sqlite`. Guarantee: a round's rows and its
 * progress are one transaction of the file; a session whose epoch has passed cannot commit; at most one process holds the file.
 *
 * Rows stand as PostgreSQL's own texts, in a table for each target table that is made by itself. It is small rather than quick: no
 * statement is kept prepared, and rows come one by one.
 */
import { DatabaseSync } from 'node:sqlite';
import type { Bookmark } from '#schemas/bookmark.ts';
import { invariant, messageOf, PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { freshTable, type Target, type TargetEvents, type TargetSession, type TargetStore } from '#connectors/target/target.ts';
import { SqliteSession } from './session.ts';
import { StateFile } from './state-file.ts';
import { emptyTable, hasRows, makeTable } from './rows.ts';

export interface SqliteOptions {
  readonly path: string;
  readonly mapping: CompiledMapping;
  readonly instance: string;
}

const SQLITE_BUSY = 5;

export function sqliteStore(options: SqliteOptions): TargetStore {
  return {
    isAtomic: true,
    deadLettersUrl: undefined,
    open: (events) => Promise.try(() => open(options, events)),
    isTransient: (error) => (error as { errcode?: number }).errcode === SQLITE_BUSY,
    explain: (error) =>
      error instanceof PipelineError
        ? error
        : new PipelineError('CF-5003', `SQLite refused a statement: ${messageOf(error)}`, { cause: error }),
  };
}

function open({ path, mapping, instance }: SqliteOptions, events: TargetEvents): Target {
  const cast = mapping.tables.flatMap(({ columns }) => columns).find((column) => column.cast !== undefined);
  if (mapping.tables.some(({ explode }) => explode !== undefined)) throw new PipelineError('CF-4001', 'SQLite takes no arrays apart');
  if (cast !== undefined) throw new PipelineError('CF-4001', `column "${cast.target}" is cast, and SQLite has no types of PostgreSQL`);
  const database = new DatabaseSync(path);
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000');
  const state = new StateFile(database, mapping.name);
  try {
    state.transact(() => {
      takeOver(state, mapping, instance);
      registerTables(database, state, mapping);
    });
  } catch (error) {
    database.close();
    throw error;
  }
  return new SqliteTarget(database, state, events);
}

/** Also ends what a predecessor could still commit: its epoch has passed. */
function takeOver(state: StateFile, { name, hash }: CompiledMapping, instance: string): void {
  const holder = state.read<number>('holder');
  if (holder !== undefined && isAlive(holder))
    throw new PipelineError('CF-7003', `process ${holder} runs migration ${name} against this file`);
  state.write('holder', process.pid);
  const before = state.progress();
  state.writeProgress({
    name,
    mode: 'parallel',
    appliedLsn: undefined,
    logOffset: undefined,
    commitTimeMs: undefined,
    systemId: undefined,
    timeline: undefined,
    ...before,
    epoch: (before?.epoch ?? 0n) + 1n,
    mappingHash: hash,
    instance,
    backends: [],
    updatedAtMs: Date.now(),
  });
}

/** A number may have been given to another process since; that one then has to end, or the row `holder` has to be deleted. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Tables that have no progress yet must be empty, unless the file says what to do with their rows. */
function registerTables(database: DatabaseSync, state: StateFile, mapping: CompiledMapping): void {
  const fresh = mapping.tables.filter((table) => state.table(table) === undefined);
  for (const table of fresh) makeTable(database, table);
  const filled = fresh.filter((table) => table.existing === 'refuse' && hasRows(database, table));
  if (filled.length > 0)
    throw new PipelineError('CF-5004', `the file already holds rows of ${filled.map(({ to }) => `${to.schema}.${to.name}`).join(', ')}`);
  for (const table of fresh) {
    if (table.existing === 'truncate') emptyTable(database, table);
    state.writeTable(freshTable(table));
  }
}

class SqliteTarget implements Target {
  readonly progress: Target['progress'];
  readonly tables: Target['tables'];
  readonly blocked = { size: 0 };
  /** One connection writes, so there is one lane. */
  readonly ordered = true;
  readonly #database: DatabaseSync;
  readonly #state: StateFile;
  readonly #events: TargetEvents;

  constructor(database: DatabaseSync, state: StateFile, events: TargetEvents) {
    this.#database = database;
    this.#state = state;
    this.#events = events;
    const progress = state.progress();
    invariant(progress, 'the progress was just written');
    this.progress = progress;
    this.tables = state.tables();
  }

  async readMarkers(): Promise<readonly string[]> {
    return this.#state.markers();
  }

  async readBookmark(): Promise<Bookmark | undefined> {
    return this.#state.read<Bookmark>('bookmark');
  }

  async writeBookmark(bookmark: Bookmark): Promise<boolean> {
    if ((this.#state.read<Bookmark>('bookmark')?.offset ?? -1) < bookmark.offset) this.#state.write('bookmark', bookmark);
    return true;
  }

  consistent({ epoch, logOffset }: Parameters<Target['consistent']>[0]): TargetSession {
    return new SqliteSession({ ...this.#events, database: this.#database, state: this.#state, epoch, logOffset });
  }

  async lane(tables: readonly TableMapping[]): Promise<TargetSession> {
    return new SqliteSession({ ...this.#events, database: this.#database, state: this.#state, epoch: this.progress.epoch, tables });
  }

  /** Under a new epoch, so that no lane can commit any more. */
  async changeOver(
    { offset, lsn, commitTimeMs }: Parameters<Target['changeOver']>[0],
    news: Parameters<Target['changeOver']>[1],
  ): Promise<bigint> {
    return this.#state.transact(() => {
      const before = this.#state.holds(this.progress.epoch);
      const epoch = before.epoch + 1n;
      this.#state.writeProgress({ ...before, ...news.source, epoch, mode: 'consistent', appliedLsn: lsn, logOffset: offset, commitTimeMs });
      this.#state.addMarkers(news.markers);
      return epoch;
    });
  }

  async join({ offset, lsn, commitTimeMs }: Parameters<Target['join']>[0]): Promise<void> {
    this.#state.transact(() => {
      const before = this.#state.holds(this.progress.epoch);
      this.#state.writeProgress({ ...before, mode: 'consistent', appliedLsn: lsn, logOffset: offset, commitTimeMs });
      for (const row of this.tables) this.#state.writeTable({ ...row, state: 'copying', heldOffset: 0 });
    });
  }

  async emptyHeldTable(table: TableMapping): Promise<void> {
    this.#state.transact(() => {
      emptyTable(this.#database, table);
      const held = this.#state.table(table)!;
      const position = { heldOffset: held.heldOffset ?? 0 };
      this.#state.writeTable({ ...held, ...position, state: 'copying', error: undefined, heldKey: undefined, rowsCopied: 0 });
    });
  }

  async resumed(table: TableMapping): Promise<void> {
    const row = this.#state.table(table)!;
    if (row.state !== 'held') this.#state.writeTable({ ...row, heldOffset: undefined, heldLsn: undefined });
  }

  async close(): Promise<void> {
    if (!this.#database.isOpen) return;
    this.#state.forget('holder');
    this.#database.close();
  }
}
