/**
 * What the stream did to a table between a chunk's two watermarks. Guarantee: laid over the chunk's rows it gives, for each key that
 * the chunk may emit, the row's state at the high watermark; keys that the stream carries whole are left to it.
 */
import { guarded } from '#schemas/test-hooks.ts';
import type { RowKey } from './row-key.ts';

/** Values by column name; absent columns are not in it. */
export type PartialRow = ReadonlyMap<string, string | null>;

/** Cost of an entry beyond its key's characters, for the bound. */
const ENTRY_BYTES = 64;

export class Window {
  /** Changed in full: inserted, deleted, updated with every column, or moved from or to. */
  readonly full = new Set<RowKey>();
  /** Changed only with absent columns: the chunk's row is completed with these. */
  readonly partial = new Map<RowKey, Map<string, string | null>>();
  #truncated = false;
  #bytes = 0;
  #only: ReadonlySet<RowKey> | undefined;

  get isRestricted(): boolean {
    return this.#only !== undefined;
  }

  /** From now on only these keys count. */
  restrictTo(keys: ReadonlySet<RowKey>): void {
    this.#only = keys;
    for (const key of this.full) if (!keys.has(key)) this.full.delete(key);
    for (const key of this.partial.keys()) if (!keys.has(key)) this.partial.delete(key);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get truncated(): boolean {
    return this.#truncated;
  }

  /** Nothing happened that concerns the chunk's rows. */
  get isQuiet(): boolean {
    return !this.#truncated && this.full.size === 0 && this.partial.size === 0;
  }

  onFull(key: RowKey): void {
    if (this.#only && !this.#only.has(key)) return;
    if (!this.full.has(key)) {
      this.full.add(key);
      this.#bytes += key.length + ENTRY_BYTES;
    }
    this.partial.delete(key);
  }

  onPartial(key: RowKey, row: PartialRow): void {
    // The stream carried the row whole before, so it is on the target when this change comes.
    if (this.full.has(key) || (this.#only && !this.#only.has(key))) return;
    const known = this.partial.get(key);
    if (!known) this.#bytes += key.length + ENTRY_BYTES;
    const merged = known ?? new Map<string, string | null>();
    for (const [name, value] of row) {
      this.#bytes += (value?.length ?? 0) - (merged.get(name)?.length ?? 0);
      merged.set(name, value);
    }
    if (!known) this.partial.set(key, merged);
  }

  /** A key change with absent columns: neither key can be completed from the chunk, which may hold a later row under the old one. */
  onMove(from: RowKey, to: RowKey): void {
    this.onFull(from);
    this.onFull(to);
  }

  onTruncate(): void {
    if (!guarded('truncate-window')) return;
    this.#truncated = true;
    this.partial.clear();
  }

  /** True when the stream has said what becomes of the key, so that a missing row must not be deleted. */
  touched(key: RowKey): boolean {
    return this.#truncated || this.full.has(key) || this.partial.has(key);
  }
}
