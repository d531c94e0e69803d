/**
 * Takes the changes of blocked keys out of a round's work before it is written. Guarantee: a change of a blocked key reaches the target only
 * where it makes the target right again: a delete, a truncate, or a chunk's row (a copy of the whole row as of its position). Everything
 * else queues behind the row that was set aside, and a row whose absent columns stand under a blocked key is set aside with it.
 */
import { guarded } from '#schemas/test-hooks.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { OP, type TableBatch, type Work } from '#connectors/target/target.ts';
import { blockedKey, type BlockedChanges } from './blocked-rows.ts';
import { keyText } from './encode.ts';
import { asDeletes, chunkKeys, chunkLines, entryKey, entryValues, withoutEntries } from './refusable-rows.ts';

export function screen(work: Work, blocked: BlockedChanges): Work {
  const { table } = work;
  const keys = blocked.keys(table);
  if (keys.size === 0 || !guarded('blocked')) return work;
  if (work.kind === 'keys') {
    for (const key of work.keys) releaseIfBlocked(blocked, table, blockedKey(key));
    return work;
  }
  if (work.truncate) {
    blocked.releaseAll(table);
    return work;
  }
  if (work.kind === 'fold') return screenBatch(work, blocked, new Set(keys));
  for (const key of chunkKeys(work, chunkLines(work))) releaseIfBlocked(blocked, table, key);
  return work;
}

function releaseIfBlocked(blocked: BlockedChanges, table: TableMapping, key: string): void {
  if (blocked.keys(table).has(key)) blocked.release(table, key);
}

/** `keys`: those blocked before the batch, whose entries stand in no order. */
function screenBatch(batch: TableBatch, blocked: BlockedChanges, keys: ReadonlySet<string>): TableBatch {
  const dropped = new Set<number>();
  const gone: number[] = [];
  for (let i = 0; i < batch.size; i++) {
    const key = entryKey(batch, i);
    const carried = batch.carries.get(i);
    const fromBlocked =
      carried !== undefined && (batch.ops[i]! & OP.carry) !== 0 && keys.has(blockedKey(keyText(carried.buffer, carried.at, batch.layout)));
    if (fromBlocked) {
      dropped.add(i);
      blocked.block(batch.table, key, {
        cause: 'moved',
        sqlState: '',
        message: 'its unchanged columns stand under a key that is set aside',
        constraint: '',
        values: entryValues(batch, i),
      });
    } else if (keys.has(key)) {
      if ((batch.ops[i]! & OP.kind) === OP.delete || batch.deletedAt.has(i)) {
        blocked.release(batch.table, key);
        gone.push(i);
      } else {
        dropped.add(i);
        blocked.queue(batch.table, key);
      }
    }
  }
  return withoutEntries(asDeletes(batch, gone), dropped);
}
