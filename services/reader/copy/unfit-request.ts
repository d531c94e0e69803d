/**
 * What becomes of a re-copy whose keys or bounds the source does not take any more (the key's type changed since it was looked at).
 * Guarantee: the table is copied whole in its place, nothing that was asked for is lost, and no later start meets the request again.
 */
import type { CopySource } from '#connectors/source/copy-source.ts';
import type { CopyJob } from './copy-job.ts';
import type { CopyLedger } from './copy-ledger.ts';
import type { ChunkWork, CopyPlan } from './copy-plan.ts';
import type { CopyTable } from './copy-table.ts';
import { fromRowKey, type RowKey } from './row-key.ts';

export interface UnfitParts {
  readonly source: CopySource;
  readonly plan: CopyPlan;
  readonly ledger: CopyLedger;
}

/** What a worker could not read: a chunk, or the end of a chunk to be. */
export interface Unread {
  readonly table: CopyTable;
  readonly chunk: Extract<ChunkWork['chunk'], { readonly kind: 'keys' }> | { readonly kind: 'range' | 'replace'; readonly job: CopyJob };
}

/** @returns false when the request is not to blame: a row that the source itself cannot give. */
export async function endUnfit({ table, chunk }: Unread, { source, plan, ledger }: UnfitParts): Promise<boolean> {
  if (chunk.kind === 'keys') {
    const keys = await unfitKeys(source, table, chunk.keys);
    if (keys.length === 0) return false;
    const ids = table.keys.drop(keys);
    // Another worker has met them as well and was first.
    if (ids !== undefined) await ledger.endInFull(table, ids);
    return true;
  }
  const { bounds, id } = chunk.job;
  const rows = [bounds.from, bounds.to].flatMap((bound) => (bound === undefined ? [] : [[bound]]));
  if (rows.length === 0 || (await source.firstMisfit(table.key.slice(0, 1), rows)) === undefined) return false;
  if (plan.forget(id)) await ledger.endInFull(table, [id]);
  return true;
}

async function unfitKeys(source: CopySource, table: CopyTable, keys: readonly RowKey[]): Promise<RowKey[]> {
  const unfit: RowKey[] = [];
  for (let left = keys; left.length > 0;) {
    const misfit = await source.firstMisfit(table.key, left.map(fromRowKey));
    if (misfit === undefined) break;
    unfit.push(left[misfit.index]!);
    left = left.slice(misfit.index + 1);
  }
  return unfit;
}
