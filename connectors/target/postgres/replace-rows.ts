/**
 * Ways to bring a batch's rows to the target that do not depend on the order of its entries. Guarantee: an absent column keeps what the
 * target's row (of the same key, or of the key that the row moved from) holds; rows that cannot be made whole are reported, not invented.
 */
import { guarded } from '#schemas/test-hooks.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { OP, type Held, type TableBatch } from '#connectors/target/target.ts';
import type { ApplierOptions } from './apply.ts';
import { run } from './attempt.ts';
import { writeCopyKey, writeCopyRow, writeCopyRowWithOldKey } from './encode.ts';
import type { Groups, PatchGroup } from './groups.ts';
import { copyWritten, deletesLast, inTurns, tupleColumns, writeCopyTime, writtenTwins } from './table-writer.ts';
import type { StatementResult } from './wire.ts';

export interface Findings {
  readonly held: Held[];
  readonly missing: { table: TableMapping; keys: readonly (readonly string[])[] }[];
  readonly collided: TableMapping[];
}

/** Deletes of the source, as the file has them. */
export async function deleteKeys(options: ApplierOptions, batch: TableBatch, entries: readonly number[]): Promise<void> {
  if (entries.length === 0) return;
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  const written = writtenTwins(options.ordered, sql, batch);
  await run(options, () => {
    wire.execute(sql.clearStage('d'));
    wire.copyStart(sql.copyKeys(true));
    for (const i of entries) {
      writeCopyKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
      writeCopyTime(wire, sql, batch, i);
    }
    wire.copyEnd();
    if (written.length > 0) {
      wire.execute(sql.clearStage('s'));
      copyWritten(wire, sql, batch, written);
    }
    wire.execute(sql.deleteByKeys(written.length > 0));
  });
}

/** Takes away rows that are written anew. */
export async function removeKeys(options: ApplierOptions, batch: TableBatch, entries: readonly number[]): Promise<void> {
  await runWithKeys(options, batch, entries, options.sqlOf(batch.table).removeByKeys());
}

/** `statement` over the stage of these keys. */
async function runWithKeys(options: ApplierOptions, batch: TableBatch, entries: readonly number[], statement: string): Promise<void> {
  if (entries.length === 0) return;
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  await run(options, () => {
    wire.execute(sql.clearStage('d'));
    wire.copyStart(sql.copyKeys());
    for (const i of entries) writeCopyKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
    wire.copyEnd();
    wire.execute(statement);
  });
}

export async function upsertAll(options: ApplierOptions, batch: TableBatch, groups: Groups, findings: Findings): Promise<void> {
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  if (!options.ordered) await deleteKeys(options, batch, groups.deletes);
  if (groups.carries.length > 0) await run(options, () => wire.execute(sql.clearStage('f')));
  // All of them before the first is written: the row that one is taken from may be the key of another.
  for (const group of groups.carries) await completeRows(options, batch, { ...group, from: 'old' }, findings);
  if (options.ordered && !deletesLast(options, batch.table)) await deleteKeys(options, batch, groups.deletes);
  // What a row was merged from is free to be taken before the row may go.
  if (options.ordered && sql.isMerged) await runWithKeys(options, batch, groups.deletes, sql.clearByKeys());
  if (groups.carries.length > 0) await run(options, () => wire.execute(sql.upsertFromFinal()));
  for (const group of groups.patches) {
    if (!sql.settable(group.columns)) continue;
    const results = await run(options, () => {
      stageRows(options, batch, group.columns, group.entries);
      wire.execute(sql.missingFromStage());
      wire.execute(sql.updateFromStage(group.columns));
    });
    if (batch.strict) reportMissing(batch, results[2]!, findings);
  }
  const columns = tupleColumns(batch.layout);
  for (const puts of inTurns(sql, batch, groups.puts)) {
    if (puts.length === 0) continue;
    await run(options, () => {
      stageRows(options, batch, columns, puts);
      wire.execute(sql.upsertFromStage(columns));
    });
  }
}

/** What an undone attempt or an earlier part left goes first. */
export function stageRows(options: ApplierOptions, batch: TableBatch, columns: readonly number[], entries: readonly number[]): void {
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  wire.execute(sql.clearStage('s'));
  wire.copyStart(sql.copyStage(columns, { time: true }));
  for (const i of entries) {
    writeCopyRow(wire, batch.buffers[i]!, batch.at[i]!, batch.layout.columns);
    writeCopyTime(wire, sql, batch, i);
  }
  wire.copyEnd();
}

function reportMissing(batch: TableBatch, result: StatementResult, findings: Findings): void {
  if (result.rows.length === 0) return;
  findings.missing.push({ table: batch.table, keys: result.rows.map((row) => row.map((value) => value!)) });
}

export interface Replacement {
  readonly batch: TableBatch;
  readonly groups: Groups;
  /** Whole rows to insert: all, or a prefix while the offending row is looked for. */
  readonly entries: readonly number[];
}

/** Every row of the batch is made whole in the temporary table `f`, then all its keys are deleted, then the rows inserted. */
export async function replaceAll(options: ApplierOptions, replacement: Replacement, findings: Findings): Promise<void> {
  const { wire } = options;
  const { batch, groups, entries } = replacement;
  const sql = options.sqlOf(batch.table);
  await run(options, () => wire.execute(sql.clearStage('f')));
  for (const group of groups.carries) await completeRows(options, batch, { ...group, from: 'old' }, findings);
  for (const group of groups.patches) await completeRows(options, batch, { ...group, from: 'own' }, findings);
  await deleteKeys(options, batch, groups.deletes);
  await removeKeys(
    options,
    batch,
    groups.puts.filter((i) => (batch.ops[i]! & OP.recreate) === 0),
  );
  const columns = tupleColumns(batch.layout);
  await run(options, () => {
    stageRows(options, batch, columns, entries);
    wire.execute(sql.stageToFinal(columns));
    wire.execute(sql.deleteByFinal());
    wire.execute(sql.insertFromFinal());
  });
}

export async function completeRows(
  options: ApplierOptions,
  batch: TableBatch,
  group: PatchGroup & { readonly from: 'own' | 'old' },
  findings: Findings,
): Promise<void> {
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  const carry = group.from === 'old' && guarded('carry');
  const results = await run(options, () => {
    wire.execute(sql.clearStage('s'));
    wire.copyStart(sql.copyStage(group.columns, { oldKey: group.from === 'old', time: true }));
    for (const i of group.entries) {
      const row = { b: batch.buffers[i]!, at: batch.at[i]! };
      const old = batch.carries.get(i);
      if (group.from === 'old') writeCopyRowWithOldKey(wire, row, { b: old!.buffer, at: old!.at }, batch.layout);
      else writeCopyRow(wire, row.b, row.at, batch.layout.columns);
      writeCopyTime(wire, sql, batch, i);
    }
    wire.copyEnd();
    wire.execute(group.from === 'own' || carry ? sql.completeFromStage(group.columns, group.from) : sql.stageToFinal(group.columns));
    wire.execute(sql.missingFromFinal(batch.strict));
  });
  // While the table is copying, a row that is not there yet comes whole with its chunk; a moved one has no chunk to wait for.
  if (batch.strict || group.from === 'old') reportMissing(batch, results[3]!, findings);
}
