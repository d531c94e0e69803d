/**
 * Applies rounds to the file. Guarantee: nothing of a round is seen before its progress; a row that cannot be mapped holds its own table, and
 * no other waits; a partial row whose key is not there is named, so that it is copied again.
 */
import type { DatabaseSync } from 'node:sqlite';
import { PipelineError } from '#schemas/errors.ts';
import { maxLsn } from '#schemas/lsn.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { decodeTuple } from '#schemas/pgoutput/message.ts';
import { copyFieldText, endOfCopyLine, splitCopyLine } from '#schemas/value/copy-text.ts';
import {
  OP,
  type ChunkBatch,
  type Held,
  type Position,
  type Round,
  type RoundOutcome,
  type TableBatch,
  type TargetEvents,
  type TargetSession,
  type TupleRef,
  type Work,
} from '#connectors/target/target.ts';
import { countRow, deleteRow, emptyTable, patchRow, putRow, readRow, type Value } from './rows.ts';
import type { StateFile } from './state-file.ts';

export interface SessionOptions {
  readonly database: DatabaseSync;
  readonly state: StateFile;
  readonly epoch: bigint;
  /** Of a lane: its tables. Absent: the one session of the consistent mode. */
  readonly tables?: readonly TableMapping[];
  readonly logOffset?: number | undefined;
  readonly onMissing: TargetEvents['onMissing'];
}

interface Found {
  readonly held: Held[];
  readonly missing: { readonly table: TableMapping; readonly keys: (readonly string[])[] }[];
}

export class SqliteSession implements TargetSession {
  readonly #options: SessionOptions;
  #offset: number | undefined;
  #open = false;
  /** Of the parts before the one that commits. */
  #held: Held[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#offset = options.logOffset;
  }

  async apply(round: Round): Promise<RoundOutcome> {
    const { database } = this.#options;
    const found: Found = { held: [], missing: [] };
    if (!this.#open) database.exec('BEGIN IMMEDIATE');
    this.#open = true;
    try {
      for (const work of round.work) if (!found.held.some(({ table }) => table === work.table)) this.#write(work, found);
      // Durable before the commit that would make their places known as done.
      for (const { table, keys } of found.missing) await this.#options.onMissing(table, keys);
      this.#held.push(...found.held);
      if (round.commit !== undefined) {
        this.#writeProgress(round, round.commit);
        database.exec('COMMIT');
        this.#open = false;
        this.#held = [];
        this.#offset = round.commit.offset;
      }
    } catch (error) {
      await this.rollback();
      throw error;
    }
    return { held: found.held, setAside: [], missing: found.missing, collided: [] };
  }

  #write(work: Work, found: Found): void {
    const { database } = this.#options;
    const { table } = work;
    if (work.kind === 'keys') {
      for (const key of work.keys) deleteRow(database, table, key);
      return;
    }
    if (work.truncate) emptyTable(database, table);
    const fault = work.kind === 'chunk' ? work.unmapped[0]?.fault : work.unmapped.values().next().value?.fault;
    if (fault !== undefined) found.held.push({ table, key: '', message: `${fault.code}: ${fault.message}` });
    else if (work.kind === 'chunk') this.#writeChunk(work);
    else this.#writeFold(work, found);
  }

  #writeChunk({ table, columns, rows }: ChunkBatch): void {
    const bounds = new Int32Array(2 * columns.length);
    for (const buffer of rows) {
      for (let at = 0; at < buffer.length; at = endOfCopyLine(buffer, at)) {
        splitCopyLine(buffer, at, bounds);
        const row = new Map(columns.map((column, i) => [column, copyFieldText(buffer, bounds[2 * i]!, bounds[2 * i + 1]!)]));
        putRow(this.#options.database, table, row);
      }
    }
  }

  #writeFold(batch: TableBatch, found: Found): void {
    const { database } = this.#options;
    const { table, size, ops, counts } = batch;
    // Read before anything is written: the old rows of changed keys go in this very batch.
    const carried = new Map([...batch.carries].map(([i, old]) => [i, readRow(database, table, keyOf(batch, old))]));
    const missing: (readonly string[])[] = [];
    for (let i = 0; i < size; i++) {
      const tuple = { buffer: batch.buffers[i]!, at: batch.at[i]! };
      if (table.targetKey.length === 0) {
        countRow(database, table, valuesOf(batch, tuple), counts[i]!);
        continue;
      }
      const key = keyOf(batch, tuple);
      const kind = ops[i]! & OP.kind;
      if (kind === OP.delete) deleteRow(database, table, key);
      else if (kind === OP.put) putRow(database, table, valuesOf(batch, tuple));
      else if ((ops[i]! & OP.carry) !== 0 && carried.get(i) !== undefined)
        putRow(database, table, new Map([...carried.get(i)!, ...valuesOf(batch, tuple)]));
      else if ((ops[i]! & OP.carry) !== 0 || !patchRow(database, table, key, valuesOf(batch, tuple))) missing.push(key);
    }
    if (missing.length > 0) found.missing.push({ table, keys: missing });
  }

  #writeProgress({ states, counts, markers, source }: Round, { offset, lsn, commitTimeMs }: Position): void {
    const { state, epoch, tables } = this.#options;
    const progress = state.holds(epoch);
    for (const { table, state: now, rowsEstimated, error } of states) {
      const row = state.table(table)!;
      state.writeTable({ ...row, state: now, error, rowsEstimated: rowsEstimated ?? row.rowsEstimated });
    }
    for (const { table, rowsCopied, changesApplied } of counts) {
      const row = state.table(table)!;
      state.writeTable({ ...row, rowsCopied: row.rowsCopied + rowsCopied, changesApplied: row.changesApplied + changesApplied });
    }
    for (const { table, key, message } of this.#held)
      state.writeTable({ ...state.table(table)!, state: 'held', error: message, heldKey: key, heldOffset: offset, heldLsn: lsn });
    if (tables !== undefined) {
      for (const table of tables) {
        const row = state.table(table)!;
        state.writeTable({ ...row, logOffset: Math.max(row.logOffset, offset), lsn: row.lsn === undefined ? lsn : maxLsn(row.lsn, lsn) });
      }
      return;
    }
    if (progress.logOffset !== this.#offset)
      throw new PipelineError('CF-5006', `the file stands at record ${progress.logOffset}, and this sink at ${this.#offset}`);
    state.writeProgress({ ...progress, ...source, appliedLsn: lsn, logOffset: offset, commitTimeMs });
    state.addMarkers(markers);
  }

  async rollback(): Promise<void> {
    if (this.#open && this.#options.database.isOpen) this.#options.database.exec('ROLLBACK');
    this.#open = false;
    this.#held = [];
  }

  async close(): Promise<void> {
    await this.rollback();
  }
}

/** What the tuple brings: absent columns (unchanged TOAST) are not there. */
function valuesOf({ layout }: TableBatch, { buffer, at }: TupleRef): Map<number, Value> {
  const values = new Map<number, Value>();
  decodeTuple(buffer, at).forEach((value, i) => {
    const column = layout.columns[i]!;
    if (column >= 0 && value !== undefined) values.set(column, value);
  });
  return values;
}

function keyOf({ layout }: TableBatch, { buffer, at }: TupleRef): string[] {
  const values = decodeTuple(buffer, at);
  return Array.from(layout.key, (i) => values[i] ?? '');
}
