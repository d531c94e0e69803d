/**
 * One try at a chunk: its two watermarks, what the stream did between them, the rows read. Guarantee: after `void` nothing of it
 * reaches the log; its rows are held until they are durable, and freed once.
 */
import type { Lsn } from '#schemas/lsn.ts';
import type { Snapshot } from '#schemas/snapshot.ts';
import type { RowSpool } from '#connectors/source/row-spool.ts';
import type { ChunkWork } from './copy-plan.ts';
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
  /** Whole-table chunks only: changes in order. A truncate is kept as undefined message. */
  readonly kept: { readonly xid: number; readonly message: Buffer | undefined }[] = [];
  keptBytes = 0;
  rows: AcceptedRows | undefined;
  /** Commit LSN of the high watermark, once delivered. */
  highLsn: Lsn | undefined;
  /** Exclusive end of that commit. */
  highEnd: Lsn | undefined;
  deliveredRows = 0;
  voidReason: string | undefined;

  constructor(id: string, work: ChunkWork, hold: VisibilityHold) {
    this.id = id;
    this.work = work;
    this.hold = hold;
    const { table, chunk } = work;
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
    this.rows?.spool.close();
  }

  /** Gives the attempt up. @returns false when that came too late or twice. */
  void(reason: string): boolean {
    if (this.#state === 'void' || this.#state === 'closed') return false;
    this.#state = 'void';
    this.voidReason = reason;
    this.rows?.spool.close();
    this.#lowPassed.resolve();
    return true;
  }
}
