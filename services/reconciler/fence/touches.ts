/**
 * Which rows of one table one side has changed and when last. Guarantee: a key that was named since it was last proved equal is in `keys`, or the table
 * is `whole`; nothing leaves but by a proof that is newer than its last change.
 */
import type { Lsn } from '#schemas/lsn.ts';

/** A transaction that changed something; without an id one that every snapshot sees. */
export interface Touch {
  readonly xid: number | undefined;
  readonly lsn: Lsn;
}

/** All of the table may have changed. */
export interface WholeTable {
  readonly why: string;
  readonly last: Touch;
}

export class Touches {
  readonly #keysMax: number;
  readonly #last = new Map<string, Touch>();
  #whole: WholeTable | undefined;
  /** False: more keys than are kept have changed, so that each further change counts for the table. */
  #collects = true;

  constructor(keysMax: number) {
    this.#keysMax = keysMax;
  }

  get whole(): WholeTable | undefined {
    return this.#whole;
  }

  /** By the JSON text of the key. */
  get keys(): ReadonlyMap<string, Touch> {
    return this.#last;
  }

  touch(key: string, by: Touch): void {
    if (this.#collects) {
      this.#last.set(key, by);
      if (this.#last.size <= this.#keysMax) return;
      this.#collects = false;
      this.#last.clear();
    }
    this.touchWhole(`more than ${this.#keysMax} of its rows have changed since it was compared`, by);
  }

  touchWhole(why: string, by: Touch): void {
    const before = this.#whole?.last;
    this.#whole = { why, last: before !== undefined && before.lsn > by.lsn ? before : by };
  }

  /** To be called before the table is compared whole once more: what changes from here on is told by its key again. */
  collectAgain(): void {
    this.#collects = true;
  }

  /** The whole table was equal at a state: all commits below `lsn`. */
  provedAt(lsn: Lsn): void {
    for (const [key, { lsn: touched }] of this.#last) if (touched < lsn) this.#last.delete(key);
    if (this.#whole === undefined || this.#whole.last.lsn >= lsn) return;
    this.#whole = undefined;
    this.#collects = true;
  }

  /** The row was equal at a state that has this touch. A later one stays. */
  proved(key: string, touch: Touch): void {
    if (this.#last.get(key) === touch) this.#last.delete(key);
  }
}
