/**
 * Keys of which a row was set aside. Guarantee: what stands in crossfade.blocked is what the committed rounds said, because it is written
 * in their transactions, and what is held in memory is what stands there; so a later change of such a key is known without a look-up.
 *
 * `BlockedRows` is the committed state, shared by all sessions of one target (a table belongs to one of them at a time).
 * `BlockedChanges` is what an open transaction makes of it; a rolled back attempt is simply forgotten.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { formatLsn } from '#schemas/lsn.ts';
import { pairId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { SessionOutdated, type Position } from '#connectors/target/target.ts';
import { PAIR, pairOf } from './progress.ts';
import type { StatementError, StatementResult, Wire } from './wire.ts';

/** Beyond this the cause is not in single rows: the table is held. */
export const BLOCKED_MAX = 1_000;
/** A row's values are kept up to this size; the source still has them in any case. */
const VALUES_MAX_BYTES = 64 * 1024;

export type RowValues = Readonly<Record<string, string | null>>;

/**
 * row: the target refused it. moved: its absent columns stand under a key that is set aside. dependant: it refers to a row set aside.
 * mapping: the mapping makes nothing of it.
 */
export type BlockedCause = 'row' | 'moved' | 'dependant' | 'mapping';

/** Why a row was set aside, and what it would have been. */
export interface Refusal {
  readonly cause: BlockedCause;
  /** The target's, or (of a row that could not be mapped) ours: CF-NNNN. */
  readonly sqlState: string;
  readonly message: string;
  readonly constraint: string;
  /** By target column; absent columns are left out. Undefined: the change is a delete. */
  readonly values: RowValues | undefined;
}

/** What a transaction does to one key. */
type Change =
  | { readonly kind: 'release' }
  | { readonly kind: 'block'; readonly refusal: Refusal; readonly queued: number }
  | { readonly kind: 'queue'; readonly queued: number };

interface TableChanges {
  readonly keys: Set<string>;
  readonly changes: Map<string, Change>;
  /** All that was recorded before goes. */
  cleared: boolean;
}

const NO_KEYS: ReadonlySet<string> = new Set();

export class BlockedRows {
  readonly #keys: Map<TableMapping, ReadonlySet<string>>;
  readonly #version: string;

  constructor(keys: Map<TableMapping, ReadonlySet<string>>, version: string) {
    this.#keys = keys;
    this.#version = version;
  }

  of(table: TableMapping): ReadonlySet<string> {
    return this.#keys.get(table) ?? NO_KEYS;
  }

  set(table: TableMapping, keys: ReadonlySet<string>): void {
    this.#keys.set(table, keys);
  }

  get size(): number {
    let size = 0;
    for (const keys of this.#keys.values()) size += keys.size;
    return size;
  }

  /** The last column of the guard's row is the version. @throws SessionOutdated when rows were discarded since. */
  check(guard: StatementResult | undefined): void {
    const row = guard?.rows[0];
    if (row !== undefined && row.at(-1) !== this.#version) throw new SessionOutdated('rows were discarded');
  }
}

/** One key as one text: the columns in the order of `targetKey`. */
export function blockedKey(key: readonly string[]): string {
  return JSON.stringify(key);
}

export class BlockedChanges {
  readonly #committed: BlockedRows;
  readonly #tables = new Map<TableMapping, TableChanges>();

  /** Goes on from `before`, earlier parts of the same transaction, which stays as it is. */
  constructor(committed: BlockedRows, before?: BlockedChanges) {
    this.#committed = committed;
    if (before === undefined) return;
    for (const [table, { keys, changes, cleared }] of before.#tables)
      this.#tables.set(table, { keys: new Set(keys), changes: new Map(changes), cleared });
  }

  keys(table: TableMapping): ReadonlySet<string> {
    return this.#tables.get(table)?.keys ?? this.#committed.of(table);
  }

  /** The key's row is not to be applied. A key that is blocked already gets the new cause. */
  block(table: TableMapping, key: string, refusal: Refusal): void {
    const { keys, changes } = this.#touch(table);
    keys.add(key);
    changes.set(key, { kind: 'block', refusal, queued: queuedOf(changes.get(key)) });
  }

  /** A later change of a blocked key. */
  queue(table: TableMapping, key: string): void {
    const { changes } = this.#touch(table);
    const before = changes.get(key);
    const queued = queuedOf(before) + 1;
    changes.set(key, before?.kind === 'block' ? { ...before, queued } : { kind: 'queue', queued });
  }

  /** The target shows the key as the source has it. */
  release(table: TableMapping, key: string): void {
    const { keys, changes } = this.#touch(table);
    keys.delete(key);
    changes.set(key, { kind: 'release' });
  }

  /** The table was emptied. */
  releaseAll(table: TableMapping): void {
    this.#tables.set(table, { keys: new Set(), changes: new Map(), cleared: true });
  }

  #touch(table: TableMapping): TableChanges {
    let touched = this.#tables.get(table);
    if (touched === undefined) {
      touched = { keys: new Set(this.#committed.of(table)), changes: new Map(), cleared: false };
      this.#tables.set(table, touched);
    }
    return touched;
  }

  /** Adds the statements that record it, to be part of the transaction that commits `position`. */
  write(wire: Wire, name: string, position: Position): void {
    for (const [table, { changes, cleared }] of this.#tables) {
      if (cleared) wire.execute(DELETE_OPEN, [...pairOf(name, table)]);
      for (const [key, change] of changes) writeChange(wire, { name, table, key, position }, change);
    }
  }

  /** The transaction is committed. */
  adopt(): void {
    for (const [table, { keys }] of this.#tables) this.#committed.set(table, keys);
  }
}

function queuedOf(change: Change | undefined): number {
  return change === undefined || change.kind === 'release' ? 0 : change.queued;
}

interface Place {
  readonly name: string;
  readonly table: TableMapping;
  readonly key: string;
  readonly position: Position;
}

const DELETE_OPEN = `DELETE FROM crossfade.blocked WHERE ${PAIR} AND discarded_at IS NULL`;

function writeChange(wire: Wire, { name, table, key, position }: Place, change: Change): void {
  const place = [...pairOf(name, table), hashOf(key)];
  const at = [formatLsn(position.lsn), String(position.offset)];
  if (change.kind === 'release') {
    wire.execute(`${DELETE_OPEN} AND key_hash = $6`, place);
  } else if (change.kind === 'queue') {
    wire.execute(
      `UPDATE crossfade.blocked SET queued = queued + $7::bigint, last_lsn = $8::pg_lsn, last_at = now()
       WHERE ${PAIR} AND key_hash = $6 AND discarded_at IS NULL`,
      [...place, String(change.queued), at[0]!],
    );
  } else {
    const { cause, sqlState, message, constraint, values } = change.refusal;
    const text = values === undefined ? null : JSON.stringify(values);
    const bytes = text === null ? 0 : Buffer.byteLength(text);
    wire.execute(
      `INSERT INTO crossfade.blocked AS b (name, source_schema, source_table, target_schema, target_table, key_hash, key, cause, sql_state, message,
         constraint_name, row_values, row_bytes, is_delete, lsn, log_offset, last_lsn, queued)
       VALUES ($1, $2, $3, $4, $5, $6, $7::json, $8, $9, $10, nullif($11, ''), $12::json, $13, $14, $15, $16, $15, $17)
       ON CONFLICT (name, source_schema, source_table, target_schema, target_table, key_hash) WHERE discarded_at IS NULL DO UPDATE SET cause = EXCLUDED.cause,
         sql_state = EXCLUDED.sql_state, message = EXCLUDED.message, constraint_name = EXCLUDED.constraint_name, row_values = EXCLUDED.row_values,
         row_bytes = EXCLUDED.row_bytes, is_delete = EXCLUDED.is_delete, lsn = EXCLUDED.lsn, log_offset = EXCLUDED.log_offset,
         last_lsn = EXCLUDED.last_lsn, queued = b.queued + EXCLUDED.queued, attempts = b.attempts + 1, published = false, last_at = now()`,
      [
        ...place,
        key,
        cause,
        sqlState,
        message,
        constraint,
        bytes > VALUES_MAX_BYTES ? null : text,
        String(bytes),
        String(values === undefined),
        ...at,
        String(change.queued),
      ],
    );
  }
}

/** Keys may be longer than an index takes. */
function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** Data that a column, a constraint or a trigger does not take: numbers and texts out of range, integrity, CHECK OPTION, limits, RAISE. */
export function belongsToRow(error: StatementError): boolean {
  return /^(21|22|23|44|54|P0)/.test(error.sqlState);
}

/** The keys that are blocked; the version comes first, so that a row discarded meanwhile is noticed. */
export async function readBlockedRows(client: pg.ClientBase, mapping: CompiledMapping): Promise<BlockedRows> {
  const version = await client.query<{ version: string }>(
    'SELECT blocked_version::text AS version FROM crossfade.progress WHERE name = $1',
    [mapping.name],
  );
  const rows = await client.query<{
    source_schema: string;
    source_table: string;
    target_schema: string;
    target_table: string;
    key: string;
  }>(
    'SELECT source_schema, source_table, target_schema, target_table, key::text AS key FROM crossfade.blocked WHERE name = $1 AND discarded_at IS NULL',
    [mapping.name],
  );
  const byPair = Map.groupBy(rows.rows, (row) =>
    pairId({ from: { schema: row.source_schema, name: row.source_table }, to: { schema: row.target_schema, name: row.target_table } }),
  );
  const keys = new Map<TableMapping, ReadonlySet<string>>();
  for (const table of mapping.tables) {
    const blocked = byPair.get(pairId(table));
    if (blocked !== undefined) keys.set(table, new Set(blocked.map((row) => row.key)));
  }
  return new BlockedRows(keys, version.rows[0]?.version ?? '0');
}
