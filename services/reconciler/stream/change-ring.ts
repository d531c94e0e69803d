/**
 * The last transactions of the log, with what each key had before and after. Guarantee: the state that some of them (for each key: its last
 * ones) have not happened in is the present one with `before` put back; what the ring had to let go is told, and claims nothing.
 *
 * So the state runs ahead with the log, and is brought back to whatever a snapshot shows: the target's by position, the source's by visibility.
 */
import type { RowState } from '#schemas/reconcile/table-aggregate.ts';
import type { ScannedTransaction } from './transaction-scan.ts';

export interface RowChange<Table> {
  readonly table: Table;
  readonly id: string;
  readonly key: Int32Array;
  readonly before: RowState;
  /** A copied row that was not what the log had: it stands in no order with transactions of the same key. */
  readonly copied: boolean;
}

export interface RingTransaction<Table> extends ScannedTransaction {
  readonly changes: RowChange<Table>[];
  /** Tables of which some changes of this transaction are not kept. */
  readonly lost: Set<Table>;
}

export class ChangeRing<Table> {
  readonly #changesMax: number;
  readonly #onLost: (table: Table, transaction: ScannedTransaction) => void;
  #transactions: RingTransaction<Table>[] = [];
  #open: RingTransaction<Table> | undefined;
  #size = 0;

  /** @param onLost A change of the table is not kept any more. */
  constructor(changesMax: number, onLost: (table: Table, transaction: ScannedTransaction) => void) {
    this.#changesMax = changesMax;
    this.#onLost = onLost;
  }

  /** Changes that are kept. */
  get size(): number {
    return this.#size;
  }

  begin({ xid, commitLsn }: ScannedTransaction): void {
    this.#open = { xid, commitLsn, changes: [], lost: new Set() };
    this.#transactions.push(this.#open);
  }

  add(change: RowChange<Table>): void {
    const open = this.#open!;
    open.changes.push(change);
    this.#size++;
    if (this.#size > this.#changesMax) this.#makeRoom();
  }

  commit(): void {
    if (this.#open?.changes.length === 0 && this.#open.lost.size === 0) this.#transactions.pop();
    this.#open = undefined;
  }

  /** Ends the open transaction as one that never was. @returns it, to be undone from its end to its beginning */
  takeOpen(): RingTransaction<Table> | undefined {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return undefined;
    this.#transactions.pop();
    this.#size -= open.changes.length;
    return open;
  }

  /** Lets go what no snapshot to come will have to be brought back over. */
  prune(isOver: (transaction: ScannedTransaction) => boolean): void {
    this.#transactions = this.#transactions.filter((one) => {
      if (one === this.#open || !isOver(one)) return true;
      this.#size -= one.changes.length;
      return false;
    });
  }

  /** From the last change to the first, of the transactions told. */
  *backwards(table: Table, among: (transaction: ScannedTransaction) => boolean): Generator<RowChange<Table>> {
    for (let i = this.#transactions.length - 1; i >= 0; i--) {
      const { changes } = this.#transactions[i]!;
      if (!among(this.#transactions[i]!)) continue;
      for (let c = changes.length - 1; c >= 0; c--) if (changes[c]!.table === table) yield changes[c]!;
    }
  }

  /** The table begins anew. */
  forget(table: Table): void {
    for (const { changes, lost } of this.#transactions) {
      const kept = changes.filter((change) => change.table !== table);
      this.#size -= changes.length - kept.length;
      changes.splice(0, changes.length, ...kept);
      lost.delete(table);
    }
  }

  /** What the open transaction did to the table cannot be undone. */
  loseOpen(table: Table): void {
    this.#open?.lost.add(table);
  }

  #makeRoom(): void {
    const [oldest] = this.#transactions;
    if (oldest === undefined) return;
    for (const { table } of oldest.changes) {
      if (oldest.lost.has(table)) continue;
      oldest.lost.add(table);
      this.#onLost(table, oldest);
    }
    this.#size -= oldest.changes.length;
    oldest.changes.length = 0;
    if (oldest !== this.#open) this.#transactions.shift();
  }
}
