/**
 * One try at a chunk: its two watermarks, what the stream did between them, the rows read. Guarantee: after `void` nothing of it
 * reaches the log; its rows are held until they are durable, and freed once.
 */
import type { Lsn } from '#schemas/lsn.ts';
import type { Snapshot } from '#schemas/snapshot.ts';
import { join } from 'node:path';
import type { RowSpool } from '#connectors/source/row-spool.ts';
import type { ChunkWork } from './copy-plan.ts';
import { KeptChanges } from './kept-changes.ts';
import type { RowKey } from './row-key.ts';
import type { StreamedTransaction, VisibilityHold } from './visibility.ts';
import { Window } from './window.ts';

/** The chunk's rows as accepted: read under a snapshot that sees everything streamed before the low watermark. */
export interface AcceptedRows {
  readonly spool: RowSpool;
  readonly snapshot: Snapshot;
  readonly missing: readonly RowKey[];
}

export class Attempt {
  readonly id: string;
  readonly work: ChunkWork;
  readonly oids: readonly number[];
  readonly window = new Window();
  readonly hold: VisibilityHold;
  /** `opening`: low watermark not yet seen · `open` · `delivered`: rows stand in the log · `closed`: durable · `void`. */
  #state: 'opening' | 'open' | 'delivered' | 'closed' | 'void' = 'opening';
  readonly #lowPassed = Promise.withResolvers<void>();
  /** What was streamed before the low watermark and a snapshot may not see. */
  before: readonly StreamedTransaction[] = [];
  /** Whole-table chunks only. */
  readonly kept: KeptChanges | undefined;
  /** Columns read: the table's at that time. */
  readonly columns: readonly string[];
  rows: AcceptedRows | undefined;
  /** Commit LSN of the high watermark, once delivered. */
  highLsn: Lsn | undefined;
  /** Exclusive end of that commit. */
  highEnd: Lsn | undefined;
  deliveredRows = 0;
  voidReason: string | undefined;

  constructor(id: string, work: ChunkWork, options: { readonly hold: VisibilityHold; readonly spoolDirectory: string }) {
    this.id = id;
    this.work = work;
    this.hold = options.hold;
    const { table, chunk } = work;
    this.columns = table.columns;
    if (chunk.kind === 'replace') this.kept = new KeptChanges(join(options.spoolDirectory, `changes-${id}`));
    // Other keys' changes concern neither the rows asked for nor those that are missing.
    if (chunk.kind === 'keys' && table.hasExactKeys) this.window.restrictTo(new Set(chunk.keys));
    this.oids = chunk.kind === 'range' ? [chunk.part.oid] : table.oids();
  }

  get state(): 'opening' | 'open' | 'delivered' | 'closed' | 'void' {
    return this.#state;
  }

  get isVoid(): boolean {
    return this.#state === 'void';
  }

  /** Resolves once the stream has passed the low watermark, or the attempt is void. */
  get lowPassed(): Promise<void> {
    return this.#lowPassed.promise;
  }

  opened(before: readonly StreamedTransaction[]): void {
    this.before = before;
    this.#state = 'open';
    this.#lowPassed.resolve();
  }

  delivered(highLsn: Lsn): void {
    this.#state = 'delivered';
    this.highLsn = highLsn;
  }

  close(): void {
    this.#state = 'closed';
    this.deliveredRows = this.rows?.spool.rows ?? 0;
    this.#free();
  }

  /** Gives the attempt up. @returns false when that came too late or twice. */
  void(reason: string): boolean {
    if (this.#state === 'void' || this.#state === 'closed') return false;
    this.#state = 'void';
    this.voidReason = reason;
    this.#free();
    this.#lowPassed.resolve();
    return true;
  }

  /** A key may have several texts (numeric 1.0 and 1.00): whether a missing one was written in the window cannot be told by text. */
  get cannotTellMissing(): boolean {
    const { table, chunk } = this.work;
    return chunk.kind === 'keys' && !table.hasExactKeys && (this.rows?.missing.length ?? 0) > 0 && !this.window.isQuiet;
  }

  #free(): void {
    this.rows?.spool.close();
    this.kept?.close();
  }
}
