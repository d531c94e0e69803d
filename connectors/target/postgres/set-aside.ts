/**
 * Sets aside the rows that the target refuses, where the file says so. Guarantee: only rows that the target refuses for their own data are
 * set aside, each with its error, in the transaction that applies the others; all else goes to the target as if they had not been there.
 *
 * Rows are found by halving: one among n costs about 2 · log2 n statements. Before the halves of a batch are tried, all of its rows are
 * made whole and their old versions taken away, so that a unique value that moved between two rows accuses neither; what was tried is
 * undone, and the batch applied without the rows found. A row set aside keeps its old version on the target; where that gets in the way
 * of another row, the other one is found in the next turn.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { OP, type ChunkBatch, type DeleteBatch, type Held, type TableBatch } from '#connectors/target/target.ts';
import type { ApplierOptions } from './apply.ts';
import { attempted, probed, run } from './attempt.ts';
import { belongsToRow, BLOCKED_MAX, blockedKey, type BlockedChanges, type RowValues } from './blocked-rows.ts';
import { writeCopyKey } from './encode.ts';
import { refusalText } from './exploded-sql.ts';
import { groupEntries, type Groups } from './groups.ts';
import { chunkKey, chunkLines, chunkPart, chunkValues, type ChunkLines, entryKey, entryValues, withoutEntries } from './refusable-rows.ts';
import { completeRows, deleteKeys, removeKeys, stageRows, upsertAll, type Findings } from './replace-rows.ts';
import { deletesLast, tupleColumns, writeChunk, writeDeletes, writeRemovalsByKey } from './table-writer.ts';
import type { StatementError } from './wire.ts';

export interface SetAside {
  readonly options: ApplierOptions;
  readonly blocked: BlockedChanges;
  readonly found: Held[];
}

/** A table without a key has nothing to name a row by. */
export function setsAside(table: TableMapping): boolean {
  return table.onRowError === 'set-aside' && table.targetKey.length > 0;
}

const NOTHING = (): Findings => ({ held: [], missing: [], collided: [] });
const REUSE = { expectations: [], dirty: { has: () => true, add: () => undefined }, single: false };

/** Why a table cannot go on even so: an error that is not a row's, or too many rows. */
export interface Stop {
  readonly message: string;
}

/** The rows refused of those written. */
class Search<T> {
  readonly refused = new Map<T, StatementError>();
  readonly #options: ApplierOptions;
  readonly #room: number;
  stopped: Stop | undefined;

  constructor(options: ApplierOptions, room: number) {
    this.#options = options;
    this.#room = room;
  }

  /** Writes all rows but those that are refused. */
  async write(rows: readonly T[], write: (part: readonly T[]) => Promise<void>): Promise<void> {
    if (rows.length === 0 || this.stopped !== undefined) return;
    const error = await attempted(this.#options, async () => write(rows));
    if (error === undefined) return;
    if (!belongsToRow(error)) {
      this.stopped = error;
    } else if (this.refused.size >= this.#room) {
      this.stopped = { message: `more than ${BLOCKED_MAX} rows of the table are refused, the last one with: ${error.message}` };
    } else if (rows.length === 1) {
      this.refused.set(rows[0]!, error);
    } else {
      await this.write(rows.slice(0, rows.length >> 1), write);
      await this.write(rows.slice(rows.length >> 1), write);
    }
  }
}

function searchIn<T>({ options, blocked }: SetAside, table: TableMapping): Search<T> {
  return new Search<T>(options, BLOCKED_MAX - blocked.keys(table).size);
}

function setAside(
  context: SetAside,
  table: TableMapping,
  key: string,
  refusal: { error: StatementError; values: RowValues | undefined },
): void {
  const { options, blocked, found } = context;
  const { error, values } = refusal;
  const depends = error.sqlState === '23503' && options.related(table).some((other) => blocked.keys(other).size > 0);
  const cause = depends ? 'dependant' : 'row';
  const message = refusalText(table, error);
  blocked.block(table, key, { cause, sqlState: error.sqlState, message, constraint: error.constraint, values });
  found.push({ table, key: (JSON.parse(key) as string[]).join(', '), message });
}

/**
 * Applies the batch without the rows that the target refuses; `refused` is what it said of the whole.
 * @returns why the table has to be held, if it has to be.
 */
export async function setAsideInBatch(
  context: SetAside,
  batch: TableBatch,
  refused: StatementError,
  apply: (rest: TableBatch) => Promise<StatementError | undefined>,
): Promise<Stop | undefined> {
  let rest = batch;
  for (let error: StatementError | undefined = refused; error !== undefined;) {
    if (!belongsToRow(error)) return error;
    const search = searchIn<number>(context, batch.table);
    const failed = await probed(context.options, async () => searchBatch(context.options, rest, search));
    const stopped = failed ?? search.stopped ?? (search.refused.size === 0 ? error : undefined);
    if (stopped !== undefined) return stopped;
    for (const [entry, cause] of search.refused)
      setAside(context, batch.table, entryKey(rest, entry), { error: cause, values: entryValues(rest, entry) });
    rest = withoutEntries(rest, new Set(search.refused.keys()));
    error = await apply(rest);
  }
  return undefined;
}

/** To be undone. */
async function searchBatch(options: ApplierOptions, batch: TableBatch, search: Search<number>): Promise<void> {
  const groups = groupEntries({ ...batch, strict: false }, options.ordered);
  const partial = [...groups.carries, ...groups.patches].flatMap((group) => group.entries);
  // Nothing is deleted first where foreign keys act; a round that meets them is cut down to single changes before it gets here.
  if (options.ordered) {
    if (!deletesLast(options, batch.table)) await search.write(groups.deletes, async (part) => deleteKeys(options, batch, part));
    await search.write([...partial, ...groups.puts], async (part) => upsertAll(options, batch, partOf(groups, part), NOTHING()));
    return;
  }
  const sql = options.sqlOf(batch.table);
  await run(options, () => options.wire.execute(sql.clearStage('f')));
  for (const group of groups.carries)
    await search.write(group.entries, async (entries) => completeRows(options, batch, { ...group, entries, from: 'old' }, NOTHING()));
  for (const group of groups.patches)
    await search.write(group.entries, async (entries) => completeRows(options, batch, { ...group, entries, from: 'own' }, NOTHING()));
  const replaced = groups.puts.filter((i) => (batch.ops[i]! & OP.recreate) === 0);
  await search.write(groups.deletes, async (part) => deleteKeys(options, batch, part));
  await search.write(replaced, async (part) => removeKeys(options, batch, part));
  await run(options, () => options.wire.execute(sql.deleteByFinal()));
  const puts = new Set(groups.puts);
  const rows = [...groups.puts, ...partial].filter((i) => !search.refused.has(i));
  await search.write(rows, async (part) => {
    await insertRows(
      options,
      batch,
      part.filter((i) => puts.has(i)),
    );
    await insertCompleted(
      options,
      batch,
      part.filter((i) => !puts.has(i)),
    );
  });
}

function partOf(groups: Groups, part: readonly number[]): Groups {
  const taken = new Set(part);
  const within = <T extends { readonly entries: readonly number[] }>(group: T): T => ({
    ...group,
    entries: group.entries.filter((i) => taken.has(i)),
  });
  const some = <T extends { readonly entries: readonly number[] }>(all: readonly T[]): T[] =>
    all.map(within).filter((group) => group.entries.length > 0);
  return {
    deletes: [],
    fresh: [],
    puts: groups.puts.filter((i) => taken.has(i)),
    patches: some(groups.patches),
    carries: some(groups.carries),
  };
}

async function insertRows(options: ApplierOptions, batch: TableBatch, entries: readonly number[]): Promise<void> {
  if (entries.length === 0) return;
  const columns = tupleColumns(batch.layout);
  await run(options, () => {
    stageRows(options, batch, columns, entries);
    options.wire.execute(options.sqlOf(batch.table).insertFromStage(columns));
  });
}

async function insertCompleted(options: ApplierOptions, batch: TableBatch, entries: readonly number[]): Promise<void> {
  if (entries.length === 0) return;
  const { wire } = options;
  const sql = options.sqlOf(batch.table);
  await run(options, () => {
    wire.execute(sql.clearStage('d'));
    wire.copyStart(sql.copyKeys());
    for (const i of entries) writeCopyKey(wire, batch.buffers[i]!, batch.at[i]!, batch.layout);
    wire.copyEnd();
    wire.execute(sql.insertFromFinalByKeys());
  });
}

/**
 * As `setAsideInBatch`. Rows refused for others of the same chunk (foreign keys, unique values) are tried again after these, and at last
 * with their old versions taken away, for two that swap a unique value.
 */
export async function setAsideInChunk(context: SetAside, chunk: ChunkBatch): Promise<Stop | undefined> {
  const { options } = context;
  const lines = chunkLines(chunk);
  if (chunk.truncate) await run(options, () => writeChunk(options, { ...chunk, rows: [], rowCount: 0 }, REUSE));
  let rows: readonly number[] = Array.from({ length: lines.count }, (_, i) => i);
  for (;;) {
    const search = searchIn<number>(context, chunk.table);
    await search.write(rows, async (part) => {
      await run(options, () => writeChunk(options, chunkPart(chunk, lines, part), REUSE));
    });
    if (search.stopped !== undefined) return search.stopped;
    const related = [...search.refused.values()].some(({ sqlState }) => /^(23503|23505|23P01)$/.test(sqlState));
    if (related && search.refused.size < rows.length) {
      rows = [...search.refused.keys()];
      continue;
    }
    const refused = related && !options.ordered ? await replaceLines(context, { chunk, lines }, search.refused) : search.refused;
    for (const [line, error] of refused)
      setAside(context, chunk.table, chunkKey(chunk, lines, line), { error, values: chunkValues(chunk, lines, line) });
    return undefined;
  }
}

/** @returns those of the lines that are refused also when the old versions of the others are gone. */
async function replaceLines(
  context: SetAside,
  { chunk, lines }: { readonly chunk: ChunkBatch; readonly lines: ChunkLines },
  refused: ReadonlyMap<number, StatementError>,
): Promise<ReadonlyMap<number, StatementError>> {
  const { options } = context;
  const left = new Map(refused);
  const insert = async (part: readonly number[]): Promise<void> => {
    await run(options, () => writeChunk(options, chunkPart(chunk, lines, part), REUSE));
  };
  const remove = async (part: readonly number[]): Promise<void> => {
    const keys = part.map((line) => JSON.parse(chunkKey(chunk, lines, line)) as string[]);
    await run(options, () => writeRemovalsByKey(options, chunk.table, keys));
  };
  for (let rows = [...refused.keys()]; rows.length > 0;) {
    const search = searchIn<number>(context, chunk.table);
    const failed = await probed(options, async () => {
      await remove(rows);
      await search.write(rows, insert);
    });
    if (failed !== undefined || search.stopped !== undefined) return left;
    rows = rows.filter((line) => !search.refused.has(line));
    const error = await attempted(options, async () => {
      await remove(rows);
      await insert(rows);
    });
    if (error === undefined) {
      for (const line of rows) left.delete(line);
      return left;
    }
    // The old version of a row that is refused stands in the way of another one: without that one, too.
    if (search.refused.size === 0) return left;
  }
  return left;
}

/** Deletes of a batch, where they come after all rows. */
export async function setAsideDeletes(context: SetAside, batch: TableBatch, entries: readonly number[]): Promise<Stop | undefined> {
  const search = searchIn<number>(context, batch.table);
  await search.write(entries, async (part) => deleteKeys(context.options, batch, part));
  if (search.stopped !== undefined) return search.stopped;
  for (const [entry, error] of search.refused) setAside(context, batch.table, entryKey(batch, entry), { error, values: undefined });
  return undefined;
}

/** Deletes asked for by key. */
export async function setAsideKeys(context: SetAside, work: DeleteBatch): Promise<Stop | undefined> {
  const { options } = context;
  const search = searchIn<readonly string[]>(context, work.table);
  await search.write(work.keys, async (keys) => {
    await run(options, () => writeDeletes(options, { ...work, keys }));
  });
  if (search.stopped !== undefined) return search.stopped;
  for (const [key, error] of search.refused) setAside(context, work.table, blockedKey(key), { error, values: undefined });
  return undefined;
}
