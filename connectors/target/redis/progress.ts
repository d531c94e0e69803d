/**
 * Progress in Redis: keys `crossfade:{NAME}:…`. Guarantee: written after the rows that it covers, by the holder of the epoch only, as one
 * call; so what it says is applied, is. Rows beyond it may be there too: they are written again, which their guards make harmless.
 */
import { invariant } from '#schemas/errors.ts';
import { formatLsn, maxLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import { tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { freshTable, type Held, type Position, type Progress, type Round, type TableProgress } from '#connectors/target/target.ts';
import type { ScriptCalls } from './calls.ts';
import type { RedisClient } from './connection.ts';
import type { OwnKeys } from './names.ts';
import { packTexts } from './packer.ts';
import { rowFormOf, type RowForm } from './row-form.ts';
import { WRITE_PROGRESS } from './scripts.ts';

export interface StoredProgress {
  readonly progress: Progress;
  readonly tables: readonly TableProgress[];
  /** Of this migration's life on this server: guards of another one do not count. */
  readonly generation: string;
  /** By table: rows below are gone with a truncate. */
  readonly floors: ReadonlyMap<string, string>;
  /** By table: how its rows stand there. */
  readonly forms: ReadonlyMap<string, RowForm>;
}

/** Undefined when the migration has never run against this server. */
export async function readStoredProgress(client: RedisClient, name: string, keys: OwnKeys): Promise<StoredProgress | undefined> {
  const [row, texts] = await Promise.all([client.hgetall(keys.progress), client.hgetall(keys.tables)]);
  if (row['epoch'] === undefined) return undefined;
  const stored = Object.values(texts)
    .map((text) => JSON.parse(text) as StoredTable | null)
    .filter((table) => table !== null);
  return {
    progress: {
      name,
      epoch: BigInt(row['epoch']),
      mode: row['mode'] === 'consistent' ? 'consistent' : 'parallel',
      appliedLsn: optional(row['appliedLsn'], parseLsn),
      logOffset: optional(row['logOffset'], Number),
      commitTimeMs: optional(row['commitTimeMs'], Number),
      systemId: row['systemId'],
      timeline: optional(row['timeline'], Number),
      mappingHash: row['mappingHash'] ?? '',
      instance: row['instance'] ?? '',
      backends: [],
      updatedAtMs: Number(row['updatedAt'] ?? 0),
    },
    tables: stored.map(readTable).toSorted((a, b) => (tableId(a.from) < tableId(b.from) ? -1 : 1)),
    generation: row['generation'] ?? '',
    floors: new Map(stored.flatMap((table) => (table.floor === undefined ? [] : [[tableId(table.from), table.floor]]))),
    forms: new Map(stored.map((table) => [tableId(table.from), formIn(table)])),
  };
}

function optional<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined || text === '' ? undefined : parse(text);
}

/** As JSON under its source name; null of one that the file left out. */
interface StoredTable extends Omit<TableProgress, 'lsn' | 'heldLsn' | 'rowsEstimated' | 'error' | 'heldKey' | 'heldOffset'>, RowForm {
  readonly lsn?: string;
  readonly heldLsn?: string;
  readonly rowsEstimated?: number;
  readonly error?: string;
  readonly heldKey?: string;
  readonly heldOffset?: number;
  readonly floor?: string;
}

function formIn({ form, ttl, columns, dropped, steps, where }: StoredTable): RowForm {
  return {
    form,
    ...(ttl !== undefined && { ttl }),
    ...(columns !== undefined && { columns }),
    ...(dropped !== undefined && { dropped }),
    ...(steps !== undefined && { steps }),
    ...(where !== undefined && { where }),
  };
}

function readTable({
  floor: _floor,
  form: _form,
  ttl: _ttl,
  columns: _columns,
  dropped: _dropped,
  steps: _steps,
  where: _where,
  ...table
}: StoredTable): TableProgress {
  return {
    ...table,
    lsn: optional(table.lsn, parseLsn),
    heldLsn: optional(table.heldLsn, parseLsn),
    rowsEstimated: table.rowsEstimated,
    error: table.error,
    heldKey: table.heldKey,
    heldOffset: table.heldOffset,
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** The sink's view of what stands in Redis, shared by the sessions of one target: a table belongs to one of them at a time. */
export class ProgressState {
  readonly keys: OwnKeys;
  readonly #tables: Map<string, Writable<TableProgress>>;
  readonly #floors: Map<string, string>;
  readonly #forms: Map<string, RowForm>;
  readonly #changed = new Set<string>();

  constructor(keys: OwnKeys, stored: StoredProgress) {
    this.keys = keys;
    this.#tables = new Map(stored.tables.map((table) => [tableId(table.from), { ...table }]));
    this.#floors = new Map(stored.floors);
    this.#forms = new Map(stored.forms);
  }

  get tables(): readonly TableProgress[] {
    return [...this.#tables.values()];
  }

  table({ from }: TableMapping): Writable<TableProgress> {
    const table = this.#tables.get(tableId(from));
    invariant(table, 'every mapped table is registered');
    this.#changed.add(tableId(from));
    return table;
  }

  add(mapping: TableMapping): void {
    this.#tables.set(tableId(mapping.from), freshTable(mapping));
    this.keepForm(mapping);
  }

  /** Nobody brings its changes any more: when it comes back it is a new one. */
  remove({ from }: Pick<TableProgress, 'from'>): void {
    const id = tableId(from);
    for (const known of [this.#tables, this.#floors, this.#forms]) known.delete(id);
    this.#changed.add(id);
  }

  /** What the table's rows are written as from here on. */
  keepForm(mapping: TableMapping): void {
    const id = tableId(mapping.from);
    this.#forms.set(id, rowFormOf(mapping, this.#forms.get(id)));
    this.#changed.add(id);
  }

  floorOf({ from }: TableMapping): string {
    return this.#floors.get(tableId(from)) ?? '';
  }

  /** Rows of the table below `place` are gone. */
  raiseFloor({ from }: TableMapping, place: string): void {
    if (place > (this.#floors.get(tableId(from)) ?? '')) this.#floors.set(tableId(from), place);
    this.#changed.add(tableId(from));
  }

  hold({ table, key, message }: Held, position: Position | undefined): void {
    Object.assign(this.table(table), {
      state: 'held',
      error: message,
      heldKey: key,
      heldOffset: position?.offset ?? 0,
      heldLsn: position?.lsn,
    });
  }

  take({ states, counts }: Pick<Round, 'states' | 'counts'>): void {
    for (const { table, state, rowsEstimated, error } of states) {
      const row = this.table(table);
      Object.assign(row, { state, error, rowsEstimated: rowsEstimated ?? row.rowsEstimated });
    }
    for (const { table, rowsCopied, changesApplied } of counts) {
      const row = this.table(table);
      row.rowsCopied += rowsCopied;
      row.changesApplied += changesApplied;
    }
  }

  /** A lane's tables stand at least here. */
  advance(tables: readonly TableMapping[], { offset, lsn }: Position): void {
    for (const mapping of tables) {
      const table = this.table(mapping);
      table.logOffset = Math.max(table.logOffset, offset);
      table.lsn = table.lsn === undefined ? lsn : maxLsn(table.lsn, lsn);
    }
  }

  /** Names and texts of the tables that changed since. */
  takeChanged(): string[] {
    const changed = [...this.#changed].flatMap((id) => [id, this.#text(id)]);
    this.#changed.clear();
    return changed;
  }

  #text(id: string): string {
    const table = this.#tables.get(id);
    if (table === undefined) return 'null';
    const lsnText = (lsn: Lsn | undefined): string | undefined => (lsn === undefined ? undefined : formatLsn(lsn));
    return JSON.stringify({
      ...table,
      lsn: lsnText(table.lsn),
      heldLsn: lsnText(table.heldLsn),
      floor: this.#floors.get(id),
      ...this.#forms.get(id),
    });
  }
}

export interface ProgressWrite {
  readonly epoch: string;
  /** The offset that must stand there; '' for any. */
  readonly expected: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly markers: readonly string[];
}

/** @throws PipelineError CF-5005 when another sink took over, CF-5006 when Redis stands elsewhere. */
export async function writeProgress(calls: ScriptCalls, state: ProgressState, write: ProgressWrite): Promise<void> {
  const { progress, tables, markers } = state.keys;
  const now = String(Date.now());
  const fields = Object.entries({ ...write.fields, updatedAt: now }).flat();
  await calls.run({
    script: WRITE_PROGRESS,
    keys: [progress, tables, markers],
    args: [
      write.epoch,
      write.expected,
      packTexts(fields),
      packTexts(state.takeChanged()),
      packTexts(write.markers),
      now,
      write.fields['logOffset'] ?? '',
    ],
  });
}
