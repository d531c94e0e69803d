/**
 * Changes of a keyed table folded over base rows. Guarantee: the result of each key touched is what a database would hold that had
 * the base rows and saw these changes in this order; where a value cannot be known the key is reported, never guessed.
 */
import type { Values } from './change-collector.ts';

export interface KeyedChange {
  /** The row written; undefined for a delete. */
  readonly next: Values | undefined;
  /** Key written to (or deleted). */
  readonly key: string;
  /** Key that the row had before, where it is another one. */
  readonly oldKey: string | undefined;
}

export interface Folded {
  /** Undefined: no such row. */
  readonly rows: ReadonlyMap<string, Values | undefined>;
  /** Keys of which some value is unknown. */
  readonly unknown: ReadonlySet<string>;
}

export function foldChanges(changes: readonly KeyedChange[], base: (key: string) => Values | undefined): Folded {
  const rows = new Map<string, Values | undefined>();
  const unknown = new Set<string>();
  const current = (key: string): Values | undefined => (rows.has(key) ? rows.get(key) : base(key));
  for (const { key, oldKey, next } of changes) {
    const before = next?.includes(undefined) === true ? current(oldKey ?? key) : undefined;
    if (oldKey !== undefined) rows.set(oldKey, undefined);
    const filled = next?.map((value, i) => (value === undefined ? before?.[i] : value));
    rows.set(key, filled);
    if (filled?.includes(undefined) === true || (next?.includes(undefined) === true && unknown.has(oldKey ?? key))) unknown.add(key);
    else unknown.delete(key);
  }
  return { rows, unknown };
}
