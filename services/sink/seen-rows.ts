/** What a fold's changes saw of each row and left of it, for telling what others wrote. Guarantee: nothing is left out between the first row and the last. */
import type { SeenRow, TupleRef } from '#connectors/target/target.ts';
import type { Layout } from '#schemas/pgoutput/tuple.ts';
import { scanned, scanTuple, type RowKey } from './tuple-key.ts';

interface Seen extends SeenRow {
  readonly images: TupleRef[];
  mayLack: boolean;
}

export interface WholeChange {
  readonly old: TupleRef | undefined;
  /** The target never had it: `old` is there for its key. */
  readonly oldUnmapped?: boolean;
  readonly next: TupleRef | undefined;
}

/** A key change is the old key's delete and the new key's create. */
export function see(seen: Map<number, SeenRow>, change: WholeChange, entryOf: (row: TupleRef) => number): void {
  const { old, next } = change;
  const [was, is] = [old && entryOf(old), next && entryOf(next)];
  if (was !== undefined && was === is) {
    note(seen as Map<number, Seen>, was, change);
    return;
  }
  if (was !== undefined) note(seen as Map<number, Seen>, was, { ...change, next: undefined });
  if (is !== undefined) note(seen as Map<number, Seen>, is, { old: undefined, next });
}

function note(all: Map<number, Seen>, entry: number, { old, oldUnmapped, next }: WholeChange): void {
  const isNew = old === undefined;
  const seen = all.get(entry) ?? { images: isNew ? [] : [old], isNew, mayLack: isNew };
  all.set(entry, seen);
  if (next === undefined || oldUnmapped === true) seen.mayLack = true;
  if (next !== undefined) seen.images.push(next);
}

export function keyOfRow({ buffer, at }: TupleRef, layout: Layout): RowKey {
  scanTuple(buffer, at, layout);
  return scanned.key;
}
