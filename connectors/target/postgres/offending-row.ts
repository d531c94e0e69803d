/**
 * Finds the row that makes the target refuse a batch. Guarantee: names the last row of the shortest run of rows that the target does not
 * take, by halving; nothing that is tried here stays.
 */
import { copyFieldText, splitCopyLine } from '#schemas/value/copy-text.ts';
import type { ChunkBatch, TableBatch, Work } from '#connectors/target/target.ts';
import type { ApplierOptions } from './apply.ts';
import { probed, run } from './attempt.ts';
import { keyText } from './encode.ts';
import { groupEntries, type PatchGroup } from './groups.ts';
import { replaceAll } from './replace-rows.ts';
import { writeChunk } from './table-writer.ts';
import type { StatementError } from './wire.ts';

export interface OffendingRow {
  readonly key: string;
  readonly error: StatementError;
}

/** Undefined when no single row is to blame, or the table has no key to name one by. */
export async function offendingRow(options: ApplierOptions, work: Work): Promise<OffendingRow | undefined> {
  if (work.table.targetKey.length === 0 || work.kind === 'keys') return undefined;
  return work.kind === 'fold' ? inBatch(options, work) : inChunk(options, work);
}

interface Run {
  /** Rows in the shortest run refused. */
  readonly size: number;
  readonly error: StatementError;
}

async function shortestRefused(count: number, probe: (size: number) => Promise<StatementError | undefined>): Promise<Run | undefined> {
  let error = count === 0 ? undefined : await probe(count);
  if (error === undefined) return undefined;
  let good = 0;
  let bad = count;
  while (bad - good > 1) {
    const size = (good + bad) >> 1;
    const refused = await probe(size);
    if (refused === undefined) good = size;
    else {
      bad = size;
      error = refused;
    }
  }
  return { size: bad, error };
}

/** Partial rows count too: they are refused once their absent columns are filled in. */
async function inBatch(options: ApplierOptions, batch: TableBatch): Promise<OffendingRow | undefined> {
  const groups = groupEntries({ ...batch, strict: false });
  const rows = [...[...groups.carries, ...groups.patches].flatMap((group) => group.entries), ...groups.puts];
  const found = await shortestRefused(rows.length, async (size) => {
    const taken = new Set(rows.slice(0, size));
    const part = (group: PatchGroup): PatchGroup => ({ ...group, entries: group.entries.filter((i) => taken.has(i)) });
    const partial = { ...groups, carries: groups.carries.map(part), patches: groups.patches.map(part) };
    const replacement = { batch, groups: partial, entries: groups.puts.filter((i) => taken.has(i)) };
    return probed(options, async () => replaceAll(options, replacement, { held: [], missing: [], collided: [] }));
  });
  if (found === undefined) return undefined;
  const entry = rows[found.size - 1]!;
  return { key: keyText(batch.buffers[entry]!, batch.at[entry]!, batch.layout).join(', '), error: found.error };
}

async function inChunk(options: ApplierOptions, chunk: ChunkBatch): Promise<OffendingRow | undefined> {
  const rows = Buffer.concat(chunk.rows);
  const ends: number[] = [];
  for (let at = rows.indexOf(0x0a); at >= 0; at = rows.indexOf(0x0a, at + 1)) ends.push(at + 1);
  const found = await shortestRefused(ends.length, async (size) => {
    const prefix = { ...chunk, rows: [rows.subarray(0, ends[size - 1])], rowCount: size, mayExist: true };
    const dirty = { has: () => true, add: () => undefined };
    return probed(
      options,
      async () => void (await run(options, () => writeChunk(options, prefix, { expectations: [], dirty, single: false }))),
    );
  });
  if (found === undefined) return undefined;
  const bounds = new Int32Array(2 * chunk.columns.length);
  splitCopyLine(rows, found.size === 1 ? 0 : ends[found.size - 2]!, bounds);
  const fields = options.sqlOf(chunk.table).key.map((column) => chunk.columns.indexOf(column));
  return { key: fields.map((i) => copyFieldText(rows, bounds[2 * i]!, bounds[2 * i + 1]!)).join(', '), error: found.error };
}
