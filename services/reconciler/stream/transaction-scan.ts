/**
 * The raw log as transactions, read by nobody's rules but its own (schemas/frame). Guarantee: of what `onBegin` announces exactly what ends in
 * `onCommit` counts: a transaction that an epoch frame (or another begin) cuts off ends in `onVoid`, one at or below the last commit is a
 * repeat and is not announced, and of one whose begin was not read nothing is.
 *
 * Frames are handed on as they come, so a transaction of any size is never held here.
 */
import { FRAME } from '#schemas/frame/frame.ts';
import { ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { decodeBegin, decodeCommit, TAG } from '#schemas/pgoutput/message.ts';

export interface ScannedTransaction {
  readonly xid: number;
  readonly commitLsn: Lsn;
}

export interface ScanHandler {
  onBegin(transaction: ScannedTransaction): void;
  /** A row, truncate, message or chunk frame of the transaction that is open. */
  onFrame(frame: Buffer): void;
  onCommit(): void;
  /** Nothing of the open transaction counts: it comes again, whole, or never. */
  onVoid(): void;
  /** Wherever it stands: a description is true also in a transaction that does not count. */
  onRelation(frame: Buffer): void;
  /** A table-state frame. */
  onTableState(frame: Buffer): void;
}

export class TransactionScan {
  readonly #handler: ScanHandler;
  #open: ScannedTransaction | undefined;
  #last: Lsn = ZERO_LSN;

  constructor(handler: ScanHandler) {
    this.#handler = handler;
  }

  /** LSN of the last commit that counted. */
  get last(): Lsn {
    return this.#last;
  }

  take(frame: Buffer): void {
    switch (frame[0]) {
      case TAG.begin:
        this.#begin(frame);
        return;
      case TAG.commit:
        this.#commit(frame);
        return;
      case TAG.relation:
        this.#handler.onRelation(frame);
        return;
      case FRAME.epoch:
      case FRAME.copyComplete:
        this.#cutOff();
        return;
      case FRAME.tableState:
        this.#cutOff();
        this.#handler.onTableState(frame);
        return;
      default:
        if (this.#open !== undefined) this.#handler.onFrame(frame);
    }
  }

  #begin(frame: Buffer): void {
    this.#cutOff();
    const { xid, commitLsn } = decodeBegin(frame);
    if (commitLsn <= this.#last) return;
    this.#open = { xid, commitLsn };
    this.#handler.onBegin(this.#open);
  }

  #commit(frame: Buffer): void {
    if (this.#open?.commitLsn !== decodeCommit(frame).commitLsn) return this.#cutOff();
    this.#last = this.#open.commitLsn;
    this.#open = undefined;
    this.#handler.onCommit();
  }

  #cutOff(): void {
    if (this.#open === undefined) return;
    this.#open = undefined;
    this.#handler.onVoid();
  }
}
