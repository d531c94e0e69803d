/**
 * Tables that others write too. Guarantee: before a change is written, the row that stands there is locked and held against what the change found and
 * left; what is neither is a conflict, which the table's policy settles and which is counted in the same transaction. So each is counted once,
 * and a change that is applied again finds what it left.
 *
 * A row that is not there cannot be locked: it is inserted where there is none, and if somebody was quicker, all is looked at again.
 */
import { conflictOf, type ConflictName } from '#schemas/conflict.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { OP, type ChunkBatch, type SeenRow, type TableBatch, type TupleRef } from '#connectors/target/target.ts';
import type { ApplierOptions } from './apply.ts';
import { attempted, run } from './attempt.ts';
import { ConflictSql } from './conflict-sql.ts';
import { writeCopyRow, writeCopyTail } from './encode.ts';
import { PAIR, pairOf, textArray } from './progress.ts';
import { withoutEntries } from './refusable-rows.ts';
import { tupleColumns } from './table-writer.ts';
import type { StatementError, StatementResult, Wire } from './wire.ts';

/** Somebody else inserts the same keys as fast as we look. */
const TRIES_MAX = 10;

/** What a round found, until it is written. */
export class ConflictTally {
  readonly counts = new Map<TableMapping, Partial<Record<ConflictName, number>>>();

  add(table: TableMapping, name: ConflictName, rows = 1): void {
    if (rows === 0) return;
    const own = this.counts.get(table) ?? {};
    own[name] = (own[name] ?? 0) + rows;
    this.counts.set(table, own);
  }

  write(wire: Wire, name: string): void {
    for (const [table, own] of this.counts) {
      wire.execute(
        `UPDATE crossfade.table_progress p SET updated_at = now(), conflicts = p.conflicts ||
           (SELECT jsonb_object_agg(c.name, coalesce((p.conflicts ->> c.name)::bigint, 0) + c.rows) FROM unnest($6::text[], $7::bigint[]) AS c (name, rows))
         WHERE ${PAIR}`,
        [...pairOf(name, table), textArray(Object.keys(own)), textArray(Object.values(own).map(String))],
      );
    }
  }
}

export function isJudged(table: TableMapping): boolean {
  return table.conflict !== undefined && guarded('conflict');
}

interface Verdicts {
  readonly conflicts: ReadonlyMap<number, ConflictName>;
  /** To be written where no row stands. */
  readonly absent: readonly number[];
}

/** @returns what is left to be written. */
export async function judgeBatch(options: ApplierOptions, batch: TableBatch, tally: ConflictTally): Promise<TableBatch> {
  if (!isJudged(batch.table) || batch.seen === undefined || batch.seen.size === 0) return batch;
  const conflicts = new Map<number, ConflictName>();
  const dropped = new Set<number>();
  let seen: Seen = batch.seen;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    let verdicts = await look(options, batch, seen);
    if (verdicts === undefined) {
      const taken = await takenImages(options, batch, [...seen]);
      seen = new Map(taken);
      verdicts = taken && (await look(options, batch, seen));
    }
    // A value that is to be written and that the target does not take: the usual ways say so, and of which row.
    if (verdicts === undefined) return batch;
    for (const [entry, name] of verdicts.conflicts) conflicts.set(entry, name);
    if (verdicts.absent.length === 0) break;
    const inserted = await insertAbsent(options, batch, verdicts.absent);
    if (inserted === verdicts.absent.length) for (const entry of verdicts.absent) dropped.add(entry);
    // Refused: a row's own data, or another constraint's. The usual ways see to it.
    if (inserted === undefined || inserted === verdicts.absent.length) break;
  }
  for (const [entry, name] of conflicts) {
    tally.add(batch.table, name);
    if (name.endsWith('/target')) dropped.add(entry);
  }
  return withoutEntries(batch, dropped);
}

type Seen = ReadonlyMap<number, SeenRow>;

/** Undefined: the target refused what was to be held against its rows. */
async function look(options: ApplierOptions, batch: TableBatch, seen: Seen): Promise<Verdicts | undefined> {
  let results: readonly StatementResult[] = [];
  const refused = await attempted(options, async () => {
    results = await run(options, () => writeLook(options, batch, seen));
  });
  return refused === undefined ? verdictsOf(batch, seen, results) : undefined;
}

/**
 * Without the images that the target's types refuse: they cannot stand there. Of a row that goes nothing is left then, and it is not judged.
 * Undefined: a row that is to be written is refused.
 */
async function takenImages(
  options: ApplierOptions,
  batch: TableBatch,
  rows: readonly (readonly [number, SeenRow])[],
): Promise<readonly (readonly [number, SeenRow])[] | undefined> {
  if ((await look(options, batch, new Map(rows))) !== undefined) return rows;
  if (rows.length > 1) {
    const half = rows.length >> 1;
    const first = await takenImages(options, batch, rows.slice(0, half));
    const second = first && (await takenImages(options, batch, rows.slice(half)));
    return second && [...first, ...second];
  }
  const [entry, row] = rows[0]!;
  const images: TupleRef[] = [];
  for (const image of row.images)
    if ((await look(options, batch, new Map([[entry, { ...row, images: [image] }]]))) !== undefined) images.push(image);
  if (images.at(-1) === row.images.at(-1)) return [[entry, { ...row, images, mayLack: true }]];
  return (batch.ops[entry]! & OP.kind) === OP.delete ? [] : undefined;
}

function verdictsOf(batch: TableBatch, all: Seen, results: readonly StatementResult[]): Verdicts {
  const rows = new Map(results.at(-1)!.rows.map(([entry, isExpected, isNewer]) => [Number(entry), { isExpected, isNewer }]));
  const conflicts = new Map<number, ConflictName>();
  const absent: number[] = [];
  for (const [entry, seen] of all) {
    const deletes = (batch.ops[entry]! & OP.kind) === OP.delete;
    const row = rows.get(entry);
    const name = conflictOf(batch.table.conflict!, {
      row: row && { isExpected: row.isExpected === 'true', isNewer: row.isNewer === 'true' },
      deletes,
      isNew: seen.isNew,
      // Its chunk has not come yet, perhaps.
      mayLack: seen.mayLack || !batch.strict,
    });
    if (name !== undefined) conflicts.set(entry, name);
    if (row === undefined && !deletes && name?.endsWith('/target') !== true) absent.push(entry);
  }
  return { conflicts, absent };
}

function writeLook(options: ApplierOptions, batch: TableBatch, all: Seen): void {
  const { wire } = options;
  const sql = new ConflictSql(options.sqlOf(batch.table));
  for (const statement of sql.prepare()) wire.execute(statement);
  wire.copyStart(sql.copy(tupleColumns(batch.layout), true));
  for (const [entry, seen] of all) writeImages(wire, batch, entry, seen);
  wire.copyEnd();
  for (const statement of sql.complete()) wire.execute(statement);
  wire.execute(sql.lock());
  wire.execute(sql.found());
}

function writeImages(wire: Wire, batch: TableBatch, entry: number, { images }: SeenRow): void {
  images.forEach((image, i) => {
    writeCopyRow(wire, image.buffer, image.at, batch.layout.columns);
    writeCopyTail(wire, `${entry}\t${i === images.length - 1 ? 't' : 'f'}`);
  });
}

/** Undefined: the target refused one. */
async function insertAbsent(options: ApplierOptions, { table }: TableBatch, entries: readonly number[]): Promise<number | undefined> {
  const sql = new ConflictSql(options.sqlOf(table));
  let results: readonly StatementResult[] = [];
  const refused = await attempted(options, async () => {
    results = await run(options, () => options.wire.execute(sql.insertAbsent(), [textArray(entries.map(String))]));
  });
  return refused === undefined ? results[0]!.count : undefined;
}

/** Writes a chunk as the policy has it. */
export async function judgeChunk(options: ApplierOptions, chunk: ChunkBatch, tally: ConflictTally): Promise<StatementError | undefined> {
  const { wire } = options;
  const { conflict } = chunk.table;
  const sql = new ConflictSql(options.sqlOf(chunk.table));
  return attempted(options, async () => {
    const results = await run(options, () => {
      for (const statement of sql.prepare()) wire.execute(statement);
      wire.copyStart(sql.copy(chunk.columns, false));
      for (const rows of chunk.rows) wire.copyBlob(rows);
      wire.copyEnd();
      for (const statement of sql.complete()) wire.execute(statement);
      wire.execute(sql.lock());
      wire.execute(sql.countCopied());
      wire.execute(sql.writeCopied());
    });
    const [older = 0, newer = 0] = results.at(-2)!.rows[0]!.map(Number);
    tally.add(chunk.table, conflict === 'target-wins' ? 'copy/target' : 'copy/source', older);
    tally.add(chunk.table, 'copy/target', newer);
  });
}
