/** What the target knows of the migration, in two tables of the file. Guarantee: plain JSON by key, in the transaction that is open. */
import type { DatabaseSync } from 'node:sqlite';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, parseLsn } from '#schemas/lsn.ts';
import { tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Progress, TableProgress } from '#connectors/target/target.ts';

const MARKERS_KEPT = 100;

export class StateFile {
  readonly #database: DatabaseSync;
  readonly #name: string;

  constructor(database: DatabaseSync, name: string) {
    this.#database = database;
    this.#name = name;
    database.exec(`CREATE TABLE IF NOT EXISTS crossfade_state (name TEXT, key TEXT, value TEXT, PRIMARY KEY (name, key)) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS crossfade_markers (name TEXT, id TEXT, UNIQUE (name, id))`);
  }

  transact<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  read<T>(key: string): T | undefined {
    const row = this.#database.prepare('SELECT value FROM crossfade_state WHERE name = ? AND key = ?').get(this.#name, key);
    return row === undefined ? undefined : (JSON.parse(row['value'] as string, revive) as T);
  }

  write(key: string, value: unknown): void {
    this.#database.prepare('INSERT OR REPLACE INTO crossfade_state VALUES (?, ?, ?)').run(this.#name, key, JSON.stringify(value, replace));
  }

  forget(key: string): void {
    this.#database.prepare('DELETE FROM crossfade_state WHERE name = ? AND key = ?').run(this.#name, key);
  }

  progress(): Progress | undefined {
    return this.read<Progress>('progress');
  }

  writeProgress(progress: Progress): void {
    this.write('progress', { ...progress, updatedAtMs: Date.now() });
  }

  /** @throws PipelineError CF-5005 when another sink has taken over. */
  holds(epoch: bigint): Progress {
    const progress = this.progress();
    if (progress?.epoch === epoch) return progress;
    throw new PipelineError('CF-5005', `another sink has taken over migration ${this.#name}`);
  }

  table({ from }: Pick<TableMapping, 'from'>): TableProgress | undefined {
    return this.read<TableProgress>(`table ${tableId(from)}`);
  }

  writeTable(table: TableProgress): void {
    this.write(`table ${tableId(table.from)}`, table);
  }

  tables(): TableProgress[] {
    const rows = this.#database.prepare(`SELECT value FROM crossfade_state WHERE name = ? AND key LIKE 'table %'`).all(this.#name);
    return rows.map((row) => JSON.parse(row['value'] as string, revive) as TableProgress);
  }

  addMarkers(ids: readonly string[]): void {
    for (const id of ids) this.#database.prepare('INSERT OR IGNORE INTO crossfade_markers VALUES (?, ?)').run(this.#name, id);
  }

  markers(): string[] {
    const rows = this.#database
      .prepare('SELECT id FROM crossfade_markers WHERE name = ? ORDER BY rowid DESC LIMIT ?')
      .all(this.#name, MARKERS_KEPT);
    return rows.map((row) => row['id'] as string);
  }
}

/** 64 bits do not fit JSON's numbers: positions as PostgreSQL writes them, the epoch as text. */
function replace(key: string, value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  return key === 'epoch' ? String(value) : formatLsn(value as Parameters<typeof formatLsn>[0]);
}

function revive(key: string, value: unknown): unknown {
  if (key === 'epoch') return BigInt(value as string);
  return (key === 'lsn' || key === 'heldLsn' || key === 'appliedLsn') && typeof value === 'string' ? parseLsn(value) : value;
}
