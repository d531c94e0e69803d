/**
 * The visibility guard's memory (design §2). Guarantee: a transaction that was streamed and that some later snapshot may still not
 * see is in here, and is durable before the slot passes it; what every later snapshot sees is forgotten, so the memory stays small
 * however long a transaction runs.
 */
import type { Lsn } from '#schemas/lsn.ts';
import { isVisible, widenXid, type Snapshot } from '#schemas/snapshot.ts';

/** A streamed transaction; `xid` as the stream gives it, 32 bits. */
export interface StreamedTransaction {
  readonly xid: number;
  readonly lsn: Lsn;
}

/** Held from before a chunk's snapshot until its low watermark has passed: what that snapshot may not see is not forgotten. */
export interface VisibilityHold {
  snapshot: Snapshot | undefined;
}

export class VisibilityMemory {
  #streamed: StreamedTransaction[] = [];
  /** Commit LSNs streamed since the last durable record, in stream order. */
  #uncovered: Lsn[] = [];
  /** How many were covered before those. */
  #covered = 0;
  readonly #holds = new Set<VisibilityHold>();
  /** False: transactions may have been streamed of which nothing is known; then a running list may hold none older than `#startXmax`. */
  readonly #complete: boolean;
  #startXmax: number | undefined;

  constructor(complete: boolean, restored: readonly StreamedTransaction[] = []) {
    this.#complete = complete;
    this.#streamed = restored.map(({ xid, lsn }) => ({ xid: xid % 4_294_967_296, lsn }));
  }

  get size(): number {
    return this.#streamed.length;
  }

  onBegin(xid: number, lsn: Lsn): void {
    this.#streamed.push({ xid, lsn });
    this.#uncovered.push(lsn);
  }

  hold(): VisibilityHold {
    const hold: VisibilityHold = { snapshot: undefined };
    this.#holds.add(hold);
    return hold;
  }

  /** The transaction begun last changes no table: it holds our watermarks. */
  forget(lsn: Lsn): void {
    if (this.#streamed.at(-1)?.lsn === lsn) this.#streamed.pop();
  }

  release(hold: VisibilityHold): void {
    this.#holds.delete(hold);
  }

  /** Everything streamed up to now that a snapshot may not see. */
  streamed(): readonly StreamedTransaction[] {
    return [...this.#streamed];
  }

  /** Why a chunk read under `snapshot` cannot be accepted, given what was streamed before its low watermark; undefined: it can. */
  refuse(snapshot: Snapshot, before: readonly StreamedTransaction[]): string | undefined {
    const hidden = before.filter(({ xid }) => !isVisible(snapshot, widenXid(xid, snapshot.xmax)));
    if (hidden.length > 0) {
      return `${hidden.length} transaction${hidden.length > 1 ? 's' : ''} already in the WAL (xid ${hidden[0]!.xid}) not yet visible: commit waits for a synchronous standby`;
    }
    if (this.#complete) return undefined;
    const startXmax = this.#startXmax ?? snapshot.xmax;
    for (const xid of snapshot.running) {
      if (xid < startXmax) return `transaction ${xid} runs since before the reader's start, and nothing is remembered of that time`;
    }
    return undefined;
  }

  /** Takes in a snapshot just read: what it sees, every later one does. To be called as soon as the answer is there. */
  prune(snapshot: Snapshot): void {
    this.#startXmax ??= snapshot.xmax;
    const holds = [...this.#holds];
    if (holds.some((hold) => hold.snapshot === undefined)) return;
    const all = [snapshot, ...holds.map((hold) => hold.snapshot!)];
    this.#streamed = this.#streamed.filter(({ xid }) => !all.every((one) => isVisible(one, widenXid(xid, one.xmax))));
  }

  get isCovered(): boolean {
    return this.#uncovered.length === 0;
  }

  /** What has to be durable so that the slot may pass everything streamed until now. Give `mark` back to `recorded`. */
  record(snapshot: Snapshot): { readonly transactions: readonly StreamedTransaction[]; readonly mark: number } {
    const hidden = this.#streamed
      .map(({ xid, lsn }) => ({ xid: widenXid(xid, snapshot.xmax), lsn }))
      .filter(({ xid }) => !isVisible(snapshot, xid));
    return { transactions: hidden, mark: this.#covered + this.#uncovered.length };
  }

  /** Records may become durable one after the other while later ones are under way: marks count from the beginning. */
  recorded(mark: number): void {
    if (mark <= this.#covered) return;
    this.#uncovered.splice(0, mark - this.#covered);
    this.#covered = mark;
  }

  /** First commit that the last durable record knows nothing of. */
  firstUncovered(): Lsn | undefined {
    return this.#uncovered[0];
  }
}
