/**
 * The careful way through a round: table by table under savepoints. Guarantee: whatever order the source met its constraints in, the
 * batch ends in the source's state: first set-wise upserts, then, when a unique value moved between rows, all rows of the batch
 * deleted and inserted again; a row that the target still rejects holds its table, never the others, and is named.
 */
import { guarded } from '#schemas/test-hooks.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteTable } from '#schemas/table.ts';
import { OP, type ChunkBatch, type Held, type Round, type RoundOutcome, type TableBatch, type Work } from '#connectors/target/target.ts';
import type { ApplierOptions } from './apply.ts';
import { keyText, writeCopyKey, writeCopyRow, writeCopyRowWithOldKey } from './encode.ts';
import { groupEntries, type Groups, type PatchGroup } from './groups.ts';
import { truncateTables, tupleColumns, writeAdditions, writeChunk, writeDeletes, writeRemovals, type WriteOptions } from './table-writer.ts';
import { isTransient, StatementError, type StatementResult } from './wire.ts';

interface Findings {
  readonly held: Held[];
  readonly missing: { table: TableMapping; keys: readonly (readonly string[])[] }[];
  readonly collided: TableMapping[];
}

const REUSE: WriteOptions = { expectations: [], reuse: true };

export async function applyCarefully(options: ApplierOptions, round: Round): Promise<RoundOutcome> {
  const findings: Findings = { held: [], missing: [], collided: [] };
  const truncated = round.work.filter((work): work is TableBatch => work.kind === 'fold' && work.truncate).map((work) => work.table);
  if (truncated.length > 0) await truncateCarefully(options, truncated);
  const work = round.work.toSorted((a, b) => options.rank(a.table) - options.rank(b.table));
  for (const item of work) await applyItem(options, item, findings);
  if (options.ordered) await deleteLast(options, work, findings);
  return findings;
}

/** Where foreign keys are checked, deletes come after all rows, from the referring tables up. */
async function deleteLast(options: ApplierOptions, work: readonly Work[], findings: Findings): Promise<void> {
  for (const item of work.toReversed()) {
    if (item.kind !== 'fold' || item.layout.key.length === 0 || findings.held.some((held) => held.table === item.table)) continue;
    const refused = await attempted(options, async () => deleteKeys(options, item, groupEntries(item, true).deletes));
    if (refused !== undefined) findings.held.push({ table: item.table, key: keyText(item.buffers[0]!, item.at[0]!, item.layout).join(', '), message: refused.message });
  }
}

async function run(options: ApplierOptions, write: () => void): Promise<readonly StatementResult[]> {
  options.wire.start();
  write();
  return options.wire.sync();
}

/** Runs `attempt` under a savepoint. @returns the error when the target objected (everything since is undone). */
async function attempted(options: ApplierOptions, attempt: () => Promise<void>): Promise<StatementError | undefined> {
  const { wire } = options;
  await run(options, () => wire.execute('SAVEPOINT try'));
  try {
    await attempt();
    await run(options, () => wire.execute('RELEASE try'));
    return undefined;
  } catch (error) {
    if (!(error instanceof StatementError) || error.lost || isTransient(error)) throw error;
    await run(options, () => wire.execute('ROLLBACK TO try'));
    return error;
  }
}

/** A table that others refer to cannot be truncated alone, and a role may lack the privilege: rows are deleted then. */
async function truncateCarefully(options: ApplierOptions, tables: readonly TableMapping[]): Promise<void> {
  const { wire } = options;
  const refused = await attempted(options, async () => void (await run(options, () => wire.execute(truncateTables(tables)))));
  if (refused === undefined) return;
  const last = tables.toSorted((a, b) => options.rank(b) - options.rank(a));
  await run(options, () => last.forEach((table) => wire.execute(`DELETE FROM ${quoteTable(table.to)}`)));
}

async function applyItem(options: ApplierOptions, item: Work, findings: Findings): Promise<void> {
  let refused: StatementError | undefined;
  if (item.kind === 'keys') refused = await attempted(options, async () => void (await run(options, () => writeDeletes(options, item))));
  else if (item.kind === 'chunk') refused = await applyChunk(options, item, findings);
  else refused = await applyBatch(options, item, findings);
  if (refused === undefined) return;
  const key = item.kind === 'fold' ? await offendingKey(options, item) : undefined;
  findings.held.push({ table: item.table, key: key?.key ?? '', message: (key?.error ?? refused).message });
}

async function applyChunk(options: ApplierOptions, chunk: ChunkBatch, findings: Findings): Promise<StatementError | undefined> {
  const refused = await attempted(options, async () => void (await run(options, () => writeChunk(options, chunk, REUSE))));
  if (refused === undefined || chunk.mayExist || chunk.table.targetKey.length === 0) return refused;
  findings.collided.push(chunk.table);
  return attempted(options, async () => void (await run(options, () => writeChunk(options, { ...chunk, mayExist: true }, REUSE))));
}

async function applyBatch(options: ApplierOptions, batch: TableBatch, findings: Findings): Promise<StatementError | undefined> {
  if (batch.layout.key.length === 0) {
    return attempted(options, async () => {
      const loose = { ...batch, strict: false };
      await run(options, () => writeRemovals(options, loose, REUSE));
      await run(options, () => writeAdditions(options, loose, REUSE));
    });
  }
  const groups = groupEntries({ ...batch, strict: false }, options.ordered);
  // Never deleted and inserted again where foreign keys act: a cascade would take rows that the source still has.
  if (options.ordered) return attempted(options, async () => upsertAll(options, batch, groups, findings));
  if (groups.carries.length === 0) {
    const refused = await attempted(options, async () => upsertAll(options, batch, groups, findings));
    if (refused === undefined) return undefined;
  }
  return attempted(options, async () => replaceAll(options, { batch, groups, entries: groups.puts }, findings));
}

async function deleteKeys(options: ApplierOptions, batch: TableBatch, entries: readonly number[]): Promise<void> {
  if (entries.length === 0) return;
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  await run(options, () => {
    wire.copyStart(sql.copyKeys());
    for (const i of entries) writeCopyKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
    wire.copyEnd();
    wire.execute(sql.deleteByKeys());
    wire.execute(sql.clearStage('d'));
  });
}

async function upsertAll(options: ApplierOptions, batch: TableBatch, groups: Groups, findings: Findings): Promise<void> {
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  if (!options.ordered) await deleteKeys(options, batch, groups.deletes);
  for (const group of groups.carries) {
    await completeRows(options, batch, { ...group, from: 'old' }, findings);
    await run(options, () => {
      wire.execute(sql.upsertFromFinal());
      wire.execute(sql.clearStage('f'));
    });
  }
  for (const group of groups.patches) {
    if (!sql.settable(group.columns)) continue;
    const results = await run(options, () => {
      stage(options, batch, group.columns, group.entries);
      wire.execute(sql.missingFromStage());
      wire.execute(sql.updateFromStage(group.columns));
      wire.execute(sql.clearStage('s'));
    });
    if (batch.strict) reportMissing(batch, results[1]!, findings);
  }
  const columns = tupleColumns(batch.layout);
  if (groups.puts.length === 0) return;
  await run(options, () => {
    stage(options, batch, columns, groups.puts);
    wire.execute(sql.upsertFromStage(columns));
    wire.execute(sql.clearStage('s'));
  });
}

function stage(options: ApplierOptions, batch: TableBatch, columns: readonly number[], entries: readonly number[]): void {
  const { wire } = options;
  wire.copyStart(options.sqlOf(batch.table).copyStage(columns));
  for (const i of entries) writeCopyRow(wire, batch.buffers[i]!, batch.at[i]!, batch.layout.columns);
  wire.copyEnd();
}

function reportMissing(batch: TableBatch, result: StatementResult, findings: Findings): void {
  if (result.rows.length === 0) return;
  findings.missing.push({ table: batch.table, keys: result.rows.map((row) => row.map((value) => value!)) });
}

interface Replacement {
  readonly batch: TableBatch;
  readonly groups: Groups;
  /** Whole rows to insert: all, or a prefix while the offending row is looked for. */
  readonly entries: readonly number[];
}

/** Every row of the batch is made whole in the temporary table `f`, then all its keys are deleted, then the rows inserted. */
async function replaceAll(options: ApplierOptions, replacement: Replacement, findings: Findings): Promise<void> {
  const { wire } = options;
  const { batch, groups, entries } = replacement;
  const sql = options.sqlOf(batch.table);
  await run(options, () => wire.execute(sql.clearStage('f')));
  for (const group of groups.carries) await completeRows(options, batch, { ...group, from: 'old' }, findings);
  for (const group of groups.patches) await completeRows(options, batch, { ...group, from: 'own' }, findings);
  await deleteKeys(options, batch, [...groups.deletes, ...groups.puts.filter((i) => (batch.ops[i]! & OP.recreate) === 0)]);
  const columns = tupleColumns(batch.layout);
  await run(options, () => {
    stage(options, batch, columns, entries);
    wire.execute(sql.stageToFinal(columns));
    wire.execute(sql.clearStage('s'));
    wire.execute(sql.deleteByFinal());
    wire.execute(sql.insertFromFinal());
    wire.execute(sql.clearStage('f'));
  });
}

async function completeRows(
  options: ApplierOptions,
  batch: TableBatch,
  group: PatchGroup & { readonly from: 'own' | 'old' },
  findings: Findings,
): Promise<void> {
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  const carry = group.from === 'old' && guarded('carry');
  const results = await run(options, () => {
    wire.copyStart(sql.copyStage(group.columns, group.from === 'old'));
    for (const i of group.entries) {
      const row = { b: batch.buffers[i]!, at: batch.at[i]! };
      const old = batch.carries.get(i);
      if (group.from === 'old') writeCopyRowWithOldKey(wire, row, { b: old!.buffer, at: old!.at }, batch.layout);
      else writeCopyRow(wire, row.b, row.at, batch.layout.columns);
    }
    wire.copyEnd();
    wire.execute(group.from === 'own' || carry ? sql.completeFromStage(group.columns, group.from) : sql.stageToFinal(group.columns));
    wire.execute(sql.missingFromFinal());
    wire.execute(sql.clearStage('s'));
  });
  // While the table is copying, a row that is not there yet comes whole with its chunk; a moved one has no chunk to wait for.
  if (batch.strict || group.from === 'old') reportMissing(batch, results[2]!, findings);
}

/**
 * The first row that the target rejects: the shortest run of the batch's rows, in the order of groupEntries, that it does not take.
 * Partial rows count too: they are rejected once their absent columns are filled in.
 */
async function offendingKey(options: ApplierOptions, batch: TableBatch): Promise<{ readonly key: string; readonly error: StatementError } | undefined> {
  if (batch.layout.key.length === 0) return undefined;
  const groups = groupEntries({ ...batch, strict: false });
  const partial = [...groups.carries, ...groups.patches].flatMap((group) => group.entries);
  const rows = [...partial, ...groups.puts];
  let good = 0;
  let bad = rows.length;
  let found: StatementError | undefined;
  while (rows.length > 0 && (bad - good > 1 || found === undefined)) {
    const size = found === undefined ? bad : (good + bad) >> 1;
    const taken = new Set(rows.slice(0, size));
    const part = (group: PatchGroup): PatchGroup => ({ ...group, entries: group.entries.filter((i) => taken.has(i)) });
    const probed = { ...groups, carries: groups.carries.map(part), patches: groups.patches.map(part) };
    const error = await probe(options, { batch, groups: probed, entries: groups.puts.filter((i) => taken.has(i)) });
    if (error === undefined && found === undefined) return undefined;
    if (error === undefined) good = size;
    else {
      found = error;
      bad = size;
    }
  }
  const entry = rows[bad - 1];
  if (entry === undefined || found === undefined) return undefined;
  return { key: keyText(batch.buffers[entry]!, batch.at[entry]!, batch.layout).join(', '), error: found };
}

class Undo extends Error {}

async function probe(options: ApplierOptions, replacement: Replacement): Promise<StatementError | undefined> {
  let refused: StatementError | undefined;
  try {
    refused = await attempted(options, async () => {
      await replaceAll(options, replacement, { held: [], missing: [], collided: [] });
      throw new Undo();
    });
  } catch (error) {
    if (!(error instanceof Undo)) throw error;
    await run(options, () => options.wire.execute('ROLLBACK TO try'));
  }
  return refused;
}
