/**
 * How much a repair would do, from a comparison of its tables. Guarantee: pure; never less than what the re-copies write and take away at the state
 * compared: where a comparison does not name every row, all that it counted may be among them.
 */
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';

export interface RepairExtent {
  /** Copied again. */
  readonly rows: number;
  /** Only the target has them; they are taken away. */
  readonly deletes: number;
}

/** `rangeRows`: of a range how many rows the source has in it. */
export function repairExtent(
  requests: readonly RecopyRequest[],
  tables: readonly TableVerdict[],
  rangeRows: ReadonlyMap<RecopyRequest, number>,
): RepairExtent {
  let [rows, deletes] = [0, 0];
  for (const request of requests) {
    for (const verdict of tables.filter(({ from }) => from === `${request.schema}.${request.table}`)) {
      rows += request.kind === 'keys' ? request.keys.length : (rangeRows.get(request) ?? verdict.rowsSource);
      deletes += deletesOf(request, verdict);
    }
  }
  return { rows, deletes };
}

/** What a table or a range has too many goes in the second pass, by key, wherever in the table it stands. */
function deletesOf(request: RecopyRequest, { extra, missing, different, rowsTarget, sample }: TableVerdict): number {
  if (request.kind === 'replace') return rowsTarget;
  if (request.kind !== 'keys') return extra;
  const isWhole = sample.length === missing + extra + different;
  const named = sample.filter(({ kind }) => kind === 'extra');
  if (!isWhole || named.some(({ sourceKey }) => sourceKey === undefined)) return Math.min(extra, request.keys.length);
  const keys = new Set(request.keys.map((key) => JSON.stringify(key)));
  return named.filter(({ sourceKey }) => keys.has(JSON.stringify(sourceKey))).length;
}
