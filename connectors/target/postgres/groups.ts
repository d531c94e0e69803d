/**
 * Sorts a batch's entries by what the target has to do with them. Guarantee: every entry is in exactly one group, but a `recreate`
 * one in two (deleted, then inserted), a delete that the file ignores and a change that says nothing of children, and groups are lists of entry numbers, so nothing is copied.
 */
import { mayOutlive } from '#schemas/mapping/kept-rows.ts';
import { OP, type TableBatch, type Work } from '#connectors/target/target.ts';
import { presentColumns } from './encode.ts';

export interface PatchGroup {
  /** Present columns, as indexes in `TableMapping.columns`, in tuple order. */
  readonly columns: readonly number[];
  readonly entries: readonly number[];
}

export interface Groups {
  readonly deletes: readonly number[];
  /** Rows that cannot be there. */
  readonly fresh: readonly number[];
  readonly puts: readonly number[];
  readonly patches: readonly PatchGroup[];
  /** Absent columns to be taken from the row of another key. */
  readonly carries: readonly PatchGroup[];
}

/** `ordered`: rows before deletes (foreign keys are checked), so nothing can be deleted first and inserted anew. */
export function groupEntries(batch: TableBatch, ordered = false): Groups {
  const deletes: number[] = [];
  const fresh: number[] = [];
  const puts: number[] = [];
  const patches = new Map<string, { columns: readonly number[]; entries: number[] }>();
  const carries = new Map<string, { columns: readonly number[]; entries: number[] }>();
  for (let i = 0; i < batch.size; i++) {
    const op = batch.ops[i]!;
    const kind = op & OP.kind;
    if (kind === OP.delete) {
      if (batch.table.deletes !== 'ignore') deletes.push(i);
    } else if (kind === OP.patch) {
      const columns = presentColumns(batch.buffers[i]!, batch.at[i]!, batch.layout);
      if (batch.table.explode !== undefined) {
        // Other columns of the source's row may be left out where the array is not: the parent is whole then.
        if (columns.includes(batch.table.columns.length - 1)) {
          puts.push(i);
          continue;
        }
        // The array was left alone, and so are the children.
        if ((op & OP.carry) === 0) continue;
      }
      const into = (op & OP.carry) === 0 ? patches : carries;
      const group = into.get(columns.join());
      if (group === undefined) into.set(columns.join(), { columns, entries: [i] });
      else group.entries.push(i);
    } else {
      const recreate = !ordered && (op & OP.recreate) !== 0;
      if (recreate) deletes.push(i);
      if ((recreate || (op & OP.fresh) !== 0) && batch.strict && !mayOutlive(batch.table)) fresh.push(i);
      else puts.push(i);
    }
  }
  return { deletes, fresh, puts, patches: [...patches.values()], carries: [...carries.values()] };
}

/**
 * A round cut wherever a table comes again (its state changed between). Within a run deletes and truncates may go before rows, whatever
 * table they belong to; over two batches of one table that would bring back a row which the later batch deletes.
 */
export function distinctRuns(work: readonly Work[]): readonly (readonly Work[])[] {
  const runs: Work[][] = [];
  let seen = new Set<unknown>();
  for (const item of work) {
    if (runs.length === 0 || seen.has(item.table)) {
      runs.push([]);
      seen = new Set();
    }
    seen.add(item.table);
    runs.at(-1)!.push(item);
  }
  return runs;
}
