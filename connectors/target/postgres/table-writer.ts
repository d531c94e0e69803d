/**
 * Writes the statements for a round's rows into a pipeline, the quick way. Guarantee: deletes come before the rows that take freed
 * keys; every statement whose answer would betray a missing row has an expectation, and COMMIT is not sent until all are met.
 *
 * Large groups: COPY into a temporary table and one statement over it, or COPY straight into the target for rows that cannot be
 * there. Small groups (the latency path): one prepared statement per row, all in the same round trip.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { momentText } from '#schemas/mapping/kept-rows.ts';
import { ownOrNobodysSql, shareSql } from '#schemas/mapping/share.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import {
  OP,
  type ChunkBatch,
  type DeleteBatch,
  type Layout,
  type PgMicros,
  type TableBatch,
  type Work,
} from '#connectors/target/target.ts';
import { bindKey, bindRow, presentColumns, writeCopyKey, writeCopyRow, writeCopyTail } from './encode.ts';
import { distinctRuns, groupEntries, type Groups } from './groups.ts';
import { deleteSql } from './delete-sql.ts';
import { type StageKind, type TableSql } from './statements.ts';
import type { Wire } from './wire.ts';

/** Below this a prepared statement per row is quicker than the fixed cost of a COPY and a join (measured: about equal at 50). */
export const SMALL_ROWS = 48;

/** Statement `at` of the pipeline must have touched `count` rows. */
export interface Expectation {
  readonly at: number;
  readonly count: number;
}

export interface WriterTarget {
  readonly wire: Wire;
  readonly sqlOf: (table: TableMapping) => TableSql;
  readonly rank: (table: TableMapping) => number;
  readonly ordered: boolean;
}

export interface WriteOptions {
  readonly expectations: Expectation[];
  /** Temporary tables that hold rows of this transaction: emptied before they are used again (at COMMIT they empty themselves). */
  readonly dirty: { has(stage: string): boolean; add(stage: string): unknown };
  /** The batch holds one change of the source: a delete and a row are then one key change. */
  readonly single: boolean;
}

/** Entries of a key change that is all there is in the batch: the old key's delete and the new key's row. */
export function soleMove(batch: TableBatch, single: boolean): { readonly from: number; readonly to: number } | undefined {
  // What others feed of the row stays under its key, and so does the row where the file keeps deleted ones.
  // Children are moved by way of a temporary table.
  if (batch.table.merge !== undefined || batch.table.deletes !== undefined || batch.table.explode !== undefined) return undefined;
  if (!single || batch.size !== 2 || batch.layout.key.length === 0) return undefined;
  const kinds = [0, 1].map((i) => batch.ops[i]! & OP.kind);
  const from = kinds.indexOf(OP.delete);
  return from < 0 || kinds[1 - from] === OP.delete ? undefined : { from, to: 1 - from };
}

/** An update of the row in place: where foreign keys act, the old row cannot be deleted nor the new one stand beside it. */
function writeMove(target: WriterTarget, batch: TableBatch, { from, to }: { readonly from: number; readonly to: number }): void {
  const { wire } = target;
  const columns = presentColumns(batch.buffers[to]!, batch.at[to]!, batch.layout);
  wire.bindHead(target.sqlOf(batch.table).moveOne(columns), columns.length + batch.layout.key.length);
  bindRow(wire, batch.buffers[to]!, batch.at[to]!, batch.layout);
  bindKey(wire, batch.buffers[from]!, batch.at[from]!, batch.layout);
  wire.bindEnd();
}

/** Before rows are copied into a temporary table. */
function useStage(target: WriterTarget, sql: TableSql, kind: StageKind, options: WriteOptions): void {
  const stage = sql.stage(kind);
  if (options.dirty.has(stage)) target.wire.execute(sql.clearStage(kind));
  else options.dirty.add(stage);
}

/**
 * Entries whose rows are written, where deletes come after them and a key that goes may equal one of theirs (1.0 that became 1.00): it is the
 * row that was just written, which stays. Empty where no delete has to look.
 */
export function writtenTwins(ordered: boolean, sql: TableSql, batch: TableBatch): readonly number[] {
  if (!ordered || sql.soft !== undefined || batch.layout.key.length === 0 || !sql.hasTwins) return [];
  const kinds = Array.from(batch.ops.subarray(0, batch.size), (op) => op & OP.kind);
  return kinds.includes(OP.delete) ? kinds.flatMap((kind, i) => (kind === OP.delete ? [] : [i])) : [];
}

/** Whole rows that are written one group after another: of two keys that are equal, the row that lives comes after the one that was deleted. */
export function inTurns(sql: TableSql, batch: TableBatch, puts: readonly number[]): readonly (readonly number[])[] {
  if (sql.soft === undefined || !sql.hasTwins || batch.deletedAt.size === 0) return [puts];
  return [puts.filter((i) => batch.deletedAt.has(i)), puts.filter((i) => !batch.deletedAt.has(i))];
}

/** Into the stage `s`, which no row needs any more. */
export function copyWritten(wire: Wire, sql: TableSql, batch: TableBatch, written: readonly number[]): void {
  wire.copyStart(sql.copyStage(sql.key));
  for (const i of written) writeCopyKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
  wire.copyEnd();
}

/** Temporary tables that the quick way needs for this work. `ordered`: deletes come after rows. */
export function neededStages(work: Work, sql: TableSql, ordered: boolean): readonly StageKind[] {
  if (work.kind === 'keys') return [];
  if (work.kind === 'chunk') return work.mayExist || sql.isStaged ? ['s'] : [];
  if (work.layout.key.length === 0) {
    if (work.counts.subarray(0, work.size).some((count) => count < 0)) return ['s', 'f'];
    return sql.isStaged ? ['s'] : [];
  }
  if (writtenTwins(ordered, sql, work).length > 0) return ['s', 'd'];
  if (work.size <= SMALL_ROWS) return [];
  const deletes = work.ops.subarray(0, work.size).some((op) => (op & OP.kind) === OP.delete || (op & OP.recreate) !== 0);
  return deletes ? ['s', 'd'] : ['s'];
}

export function writeWork(target: WriterTarget, work: readonly Work[], options: WriteOptions): void {
  for (const run of distinctRuns(work)) writeRun(target, run, options);
}

function writeRun(target: WriterTarget, work: readonly Work[], options: WriteOptions): void {
  let folds: TableBatch[] = [];
  for (const item of work) {
    if (item.kind === 'fold') {
      folds.push(item);
      continue;
    }
    writeFolds(target, folds, options);
    folds = [];
    if (item.kind === 'chunk') writeChunk(target, item, options);
    else writeDeletes(target, item);
  }
  writeFolds(target, folds, options);
}

/** Writes the key changes among one change's batches (one for each target of its table), and gives the other ones back. */
function withoutMoves(target: WriterTarget, batches: readonly TableBatch[], options: WriteOptions): readonly TableBatch[] {
  return batches
    .toSorted((a, b) => target.rank(a.table) - target.rank(b.table))
    .filter((batch) => {
      const move = soleMove(batch, options.single);
      if (move === undefined) return true;
      writeMove(target, batch, move);
      options.expectations.push({ at: target.wire.statements - 1, count: 1 });
      return false;
    });
}

/**
 * Batches of different tables. Deletes go first, so that what they free can be taken. Where foreign keys are checked they go last, from
 * the referring tables up, after the rows, from the referred tables down: no row ever lacks the one that it refers to. Marks go first there too.
 */
function writeFolds(target: WriterTarget, all: readonly TableBatch[], options: WriteOptions): void {
  const batches = target.ordered && options.single ? withoutMoves(target, all, options) : all;
  const truncated = batches.filter((batch) => batch.truncate);
  const emptied = truncated.filter(({ table }) => target.sqlOf(table).soft === undefined);
  for (const sql of truncateTables(emptied.map(({ table }) => table))) target.wire.execute(sql);
  writeSoftTruncates(target, truncated);
  const folds = batches.map((batch) => ({ batch, groups: groupEntries(batch, target.ordered) }));
  folds.sort((a, b) => target.rank(a.batch.table) - target.rank(b.batch.table));
  const deletes = (afterRows: boolean): void => {
    for (const { batch, groups } of folds.toReversed()) {
      if (deletesLast(target, batch.table) !== afterRows) continue;
      if (batch.layout.key.length === 0) writeRemovals(target, batch, options);
      else writeDeleteGroup(target, batch, groups.deletes, options);
    }
  };
  if (target.ordered) for (const { batch, groups } of folds) writeClears(target, batch, groups.deletes, options);
  deletes(false);
  for (const { batch, groups } of folds) {
    if (batch.layout.key.length === 0) writeAdditions(target, batch, options);
    else writeRows(target, batch, groups, options);
  }
  deletes(true);
}

/** A row that is only marked is still there for whatever refers to it, and a unique value that it gives up may be taken by the next one. */
export function deletesLast({ ordered, sqlOf }: Pick<WriterTarget, 'ordered' | 'sqlOf'>, table: TableMapping): boolean {
  return ordered && sqlOf(table).soft === undefined;
}

/** Of a table that is shared, our rows only. */
export function truncateTables(tables: readonly TableMapping[]): readonly string[] {
  const whole = tables.filter((table) => shareSql(table) === undefined);
  const truncate = whole.length === 0 ? [] : [`TRUNCATE ${whole.map((table) => quoteTable(table.to)).join(', ')}`];
  return [...truncate, ...tables.filter((table) => shareSql(table) !== undefined).map(deleteAll)];
}

export function deleteAll(table: TableMapping): string {
  return deleteSql(table, undefined, ownOrNobodysSql(table, (column) => `t.${quoteIdent(column)}`) ?? 'true');
}

/** Of those tables that keep their rows. */
export function writeSoftTruncates(target: WriterTarget, batches: readonly TableBatch[]): void {
  for (const { table, truncatedTime } of batches) {
    const sql = target.sqlOf(table);
    if (sql.soft !== undefined) target.wire.execute(sql.deleteAllSoftly(), timeParameter(sql, truncatedTime));
  }
}

/** What stands behind the key in the parameters of a delete. */
function timeParameter({ soft }: TableSql, time: PgMicros): readonly string[] {
  return soft === undefined ? [] : [momentText(time)];
}

function entryTime(batch: TableBatch, entry: number): string | null {
  const time = batch.deletedAt.get(entry);
  return time === undefined ? null : momentText(time);
}

/** Behind an entry's values or key in a staging table: when its row was deleted. */
export function writeCopyTime(wire: Wire, { soft }: TableSql, batch: TableBatch, entry: number): void {
  if (soft !== undefined) writeCopyTail(wire, entryTime(batch, entry) ?? '\\N');
}

/** Mapped columns in tuple order, as indexes in `TableMapping.columns`. */
export function tupleColumns(layout: Layout): readonly number[] {
  return [...layout.columns].filter((i) => i >= 0);
}

/** What a row was merged from is free to be taken before the row may go. */
function writeClears(target: WriterTarget, batch: TableBatch, entries: readonly number[], options: WriteOptions): void {
  if (target.sqlOf(batch.table).isMerged) writeDeleteGroup(target, batch, entries, { ...options, clears: true });
}

export function writeDeleteGroup(
  target: WriterTarget,
  batch: TableBatch,
  entries: readonly number[],
  options: WriteOptions & { readonly clears?: boolean },
): void {
  if (entries.length === 0) return;
  const { wire } = target;
  const sql = target.sqlOf(batch.table);
  const { clears = false } = options;
  const marks = sql.soft === undefined ? 0 : 1;
  const written = clears ? [] : writtenTwins(target.ordered, sql, batch);
  if (batch.size <= SMALL_ROWS && written.length === 0) {
    for (const i of entries) {
      wire.bindHead(clears ? sql.clearOne() : sql.deleteOne(), batch.layout.key.length + marks);
      bindKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
      if (marks > 0) wire.bindText(entryTime(batch, i));
      wire.bindEnd();
    }
    return;
  }
  useStage(target, sql, 'd', options);
  wire.copyStart(sql.copyKeys(true));
  for (const i of entries) {
    writeCopyKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
    writeCopyTime(wire, sql, batch, i);
  }
  wire.copyEnd();
  if (written.length > 0) {
    useStage(target, sql, 's', options);
    copyWritten(wire, sql, batch, written);
  }
  wire.execute(clears ? sql.clearByKeys() : sql.deleteByKeys(written.length > 0));
}

function writeRows(target: WriterTarget, batch: TableBatch, groups: Groups, options: WriteOptions): void {
  const sql = target.sqlOf(batch.table);
  const all = tupleColumns(batch.layout);
  const strict = batch.strict && sql.countsRows && !sql.partitioned && !sql.mayOutlive && sql.settable(all);
  for (const group of groups.patches) {
    if (sql.settable(group.columns))
      writeGroup(target, batch, group.entries, { ...options, columns: group.columns, how: batch.strict ? 'update' : 'update-if-there' });
  }
  for (const puts of inTurns(sql, batch, groups.puts))
    writeGroup(target, batch, puts, { ...options, columns: all, how: strict ? 'update' : 'upsert' });
  writeGroup(target, batch, groups.fresh, { ...options, columns: all, how: 'insert' });
}

interface GroupOptions extends WriteOptions {
  readonly columns: readonly number[];
  readonly how: 'insert' | 'upsert' | 'update' | 'update-if-there';
}

export function writeGroup(target: WriterTarget, batch: TableBatch, entries: readonly number[], options: GroupOptions): void {
  if (entries.length === 0) return;
  const { wire } = target;
  const { columns, how } = options;
  const sql = target.sqlOf(batch.table);
  if (batch.size <= SMALL_ROWS) {
    const text = how === 'insert' ? sql.insertOne(columns) : how === 'upsert' ? sql.upsertOne(columns) : sql.updateOne(columns);
    const marks = sql.soft === undefined ? 0 : 1;
    for (const i of entries) {
      wire.bindHead(text, columns.length + marks);
      bindRow(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
      if (marks > 0) wire.bindText(entryTime(batch, i));
      wire.bindEnd();
      if (how === 'update') options.expectations.push({ at: wire.statements - 1, count: 1 });
    }
    return;
  }
  const direct = how === 'insert' && !sql.isStaged;
  if (!direct) useStage(target, sql, 's', options);
  wire.copyStart(direct ? sql.copyTarget(columns) : sql.copyStage(columns, { time: true }));
  for (const i of entries) {
    writeCopyRow(wire, batch.buffers[i]!, batch.at[i]!, batch.layout.columns);
    if (!direct) writeCopyTime(wire, sql, batch, i);
  }
  wire.copyEnd();
  if (direct) return;
  wire.execute(
    how === 'insert' ? sql.insertFromStage(columns) : how === 'upsert' ? sql.upsertFromStage(columns) : sql.updateFromStage(columns),
  );
  if (how === 'update') options.expectations.push({ at: wire.statements - 1, count: entries.length });
}

/** Rows of keyless tables that are to be added, as many times as the source added them. */
export function writeAdditions(target: WriterTarget, batch: TableBatch, options: WriteOptions): void {
  const { wire } = target;
  const sql = target.sqlOf(batch.table);
  const columns = tupleColumns(batch.layout);
  if (!batch.counts.subarray(0, batch.size).some((count) => count > 0)) return;
  if (sql.isStaged) useStage(target, sql, 's', options);
  wire.copyStart(sql.isStaged ? sql.copyStage(columns) : sql.copyTarget(columns));
  for (let i = 0; i < batch.size; i++) {
    for (let n = batch.counts[i]!; n > 0; n--) writeCopyRow(wire, batch.buffers[i]!, batch.at[i]!, batch.layout.columns);
  }
  wire.copyEnd();
  if (sql.isStaged) wire.execute(sql.insertFromStage(columns));
}

export function writeRemovals(target: WriterTarget, batch: TableBatch, options: WriteOptions): void {
  const { wire } = target;
  const sql = target.sqlOf(batch.table);
  const columns = tupleColumns(batch.layout);
  let removed = 0;
  for (let i = 0; i < batch.size; i++) removed += Math.max(0, -batch.counts[i]!);
  if (removed === 0) return;
  useStage(target, sql, 's', options);
  wire.copyStart(sql.copyStage(columns));
  for (let i = 0; i < batch.size; i++) {
    for (let n = batch.counts[i]!; n < 0; n++) writeCopyRow(wire, batch.buffers[i]!, batch.at[i]!, batch.layout.columns);
  }
  wire.copyEnd();
  useStage(target, sql, 'f', options);
  wire.execute(sql.stageToFinal(columns));
  // The join is over text that no index knows: the session's plan settings are for joins by key.
  wire.execute('SET LOCAL enable_hashjoin = on');
  wire.execute('SET LOCAL enable_mergejoin = on');
  wire.execute(sql.removeByFinal());
  if (batch.strict) options.expectations.push({ at: wire.statements - 1, count: removed });
  wire.execute('SET LOCAL enable_hashjoin = off');
  wire.execute('SET LOCAL enable_mergejoin = off');
}

export function writeChunk(target: WriterTarget, chunk: ChunkBatch, options: WriteOptions): void {
  const { wire } = target;
  const sql = target.sqlOf(chunk.table);
  // TRUNCATE is refused where a foreign key of another table points here, be it empty.
  const empty = target.ordered ? [deleteAll(chunk.table)] : truncateTables([chunk.table]);
  if (chunk.truncate && sql.soft !== undefined) wire.execute(sql.deleteAllSoftly(), timeParameter(sql, chunk.time));
  else if (chunk.truncate) for (const statement of empty) wire.execute(statement);
  if (chunk.rowCount === 0) return;
  const staged = chunk.mayExist || sql.isStaged;
  if (staged) useStage(target, sql, 's', options);
  wire.copyStart(staged ? sql.copyStage(chunk.columns) : sql.copyTarget(chunk.columns));
  for (const rows of chunk.rows) wire.copyBlob(rows);
  wire.copyEnd();
  if (staged) wire.execute(chunk.mayExist ? sql.upsertFromStage(chunk.columns) : sql.insertFromStage(chunk.columns));
}

export function writeDeletes(target: WriterTarget, work: DeleteBatch): void {
  if (work.table.deletes === 'ignore') return;
  const sql = target.sqlOf(work.table);
  const time = timeParameter(sql, work.time);
  for (const key of work.keys) target.wire.execute(sql.deleteOne(), [...key, ...time]);
}

/** Takes the rows away whatever the file says of deletes: they are written anew. */
export function writeRemovalsByKey(target: WriterTarget, table: TableMapping, keys: readonly (readonly string[])[]): void {
  for (const key of keys) target.wire.execute(target.sqlOf(table).removeOne(), key);
}
