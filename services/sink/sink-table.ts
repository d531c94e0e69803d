/** What the sink knows about one table while it runs. Guarantee: mirrors the table's row in crossfade.table_progress plus what is in flight. */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { mayOutlive } from '#schemas/mapping/kept-rows.ts';
import type { ConflictCounts, TableProgress } from '#connectors/target/target.ts';
import type { Lane } from './lane.ts';
import type { TableFold } from './table-fold.ts';

/** After a chunk met rows that were there already, so many chunks are taken the way that allows for it. */
const WARY_CHUNKS = 4;

/** What is kept of a table from its progress row, or from before the change-over. */
type Known = Pick<TableProgress, 'state' | 'error' | 'heldKey' | 'rowsEstimated' | 'rowsCopied' | 'changesApplied'> &
  Partial<Pick<TableProgress, 'heldOffset' | 'conflicts'>> &
  Partial<Pick<SinkTable, 'newRows' | 'newChanges' | 'awaitsRequest'>>;

export class SinkTable {
  readonly mapping: TableMapping;
  readonly lane: Lane;
  state: TableProgress['state'];
  error: string | undefined;
  heldKey: string | undefined;
  rowsEstimated: number | undefined;
  rowsCopied: number;
  changesApplied: number;
  conflicts: ConflictCounts;
  /** Counted since the last write to the target. */
  newRows: number;
  newChanges: number;
  /** Records below this are applied already (parallel mode). */
  readonly skipBelow: Offset;
  /**
   * Its rows refer to rows of its own and foreign keys are checked: until its one chunk brings all of them at once, its changes are
   * passed over; the chunk repeats those that its snapshot did not see.
   */
  readonly awaitsChunk: boolean;
  /** A re-copy of all of it is still to be asked for: till then nothing that the log announces says that it is whole. */
  awaitsRequest: boolean;
  /** Open fold of the lane's next round. */
  fold: TableFold | undefined;
  #wary = 0;

  constructor(
    mapping: TableMapping,
    lane: Lane,
    progress: Known | undefined,
    start: { readonly skipBelow: Offset; readonly awaitsChunk: boolean },
  ) {
    this.mapping = mapping;
    this.lane = lane;
    this.awaitsChunk = start.awaitsChunk;
    this.state = progress?.state ?? 'waiting';
    this.awaitsRequest = progress?.awaitsRequest ?? (progress?.heldOffset !== undefined && this.state !== 'held');
    if (this.state === 'copying' && this.awaitsChunk) this.state = 'waiting';
    this.error = progress?.error;
    this.heldKey = progress?.heldKey;
    this.rowsEstimated = progress?.rowsEstimated;
    this.rowsCopied = progress?.rowsCopied ?? 0;
    this.changesApplied = progress?.changesApplied ?? 0;
    this.conflicts = progress?.conflicts ?? {};
    this.newRows = progress?.newRows ?? 0;
    this.newChanges = progress?.newChanges ?? 0;
    this.skipBelow = start.skipBelow;
  }

  /** Held for a row that the target rejected: only a resume ends that, not what the reader says of the table. */
  get heldBySink(): boolean {
    return this.state === 'held' && this.heldKey !== undefined;
  }

  /**
   * What the log announces. @returns false when it does not count: a table that is held stays so until a re-copy of all of it begins;
   * the reader says again after every start what it knows, and it does not know why the sink holds a table.
   */
  announced(state: SinkTable['state']): boolean {
    if (this.awaitsRequest && state === 'following') return false;
    if (this.heldBySink || (this.state === 'held' && state !== 'copying' && state !== 'held')) return false;
    this.state = state === 'copying' && this.awaitsChunk ? 'waiting' : state;
    return true;
  }

  /** Undoes what a transaction in parts did to this object, for when the transaction turns out to be void. */
  remember(): () => void {
    const { state, error, heldKey, rowsCopied, changesApplied, newRows, newChanges, conflicts } = this;
    return () => Object.assign(this, { state, error, heldKey, rowsCopied, changesApplied, newRows, newChanges, conflicts });
  }

  conflicted(found: ConflictCounts): void {
    const sums = { ...this.conflicts };
    for (const [name, rows] of Object.entries(found) as [keyof ConflictCounts, number][]) sums[name] = (sums[name] ?? 0) + rows;
    this.conflicts = sums;
  }

  /** The target refused a row: what was gathered of the table meanwhile is not applied. */
  rejected(key: string, message: string): void {
    this.state = 'held';
    this.error = message;
    this.heldKey = key;
    this.lane.drop(this);
  }

  /** Its rows are copied again from the first. */
  resumed(): void {
    this.state = 'copying';
    this.error = undefined;
    this.heldKey = undefined;
    this.rowsCopied = 0;
    this.awaitsRequest = true;
  }

  collided(): void {
    this.#wary = WARY_CHUNKS;
  }

  /** True when the next chunk's rows should be expected on the target. */
  expectsRows(recopy: boolean): boolean {
    if (this.mapping.targetKey.length === 0) return false;
    if (mayOutlive(this.mapping) || this.mapping.conflict !== undefined || recopy || this.mapping.existing === 'merge') return true;
    if (this.#wary === 0) return false;
    this.#wary--;
    return true;
  }
}

/** @returns what undoes everything that happens to these tables from here on. */
export function rememberAll(tables: Iterable<SinkTable>): () => void {
  const undo = [...tables].map((table) => table.remember());
  return () => undo.forEach((one) => one());
}
