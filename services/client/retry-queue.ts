/**
 * Keys of which the two stores may differ, because the second write failed. Guarantee: an item is a key and no row, so doing it twice or late is right;
 * one key stands once; the queue is bounded, and whoever adds to a full one is told. What must outlive the process is handed to `journal`.
 */
export interface RetryItem {
  readonly key: string;
  readonly attempts: number;
}

/** Kept by an application where it likes: a file, a table of its own. */
export interface RetryJournal {
  load(): Promise<readonly string[]>;
  added(key: string): Promise<void>;
  removed(key: string): Promise<void>;
}

export interface RetryQueue {
  readonly size: number;
  /** False: it is full, and the key is not in it. Resolves when it cannot be lost any more. */
  add(key: string): Promise<boolean>;
  /** The oldest, which stays until `done`; undefined: there is none. */
  next(): RetryItem | undefined;
  done(key: string): Promise<void>;
  /** To the end: others first. */
  failed(key: string): void;
}

const SIZE_MAX = 10_000;

export class MemoryRetryQueue implements RetryQueue {
  readonly #attempts = new Map<string, number>();
  readonly #journal: RetryJournal | undefined;
  readonly #max: number;
  #told: Promise<void> = Promise.resolve();

  private constructor(max: number, journal: RetryJournal | undefined) {
    this.#max = max;
    this.#journal = journal;
  }

  static async open({
    max = SIZE_MAX,
    journal,
  }: { readonly max?: number; readonly journal?: RetryJournal } = {}): Promise<MemoryRetryQueue> {
    const queue = new MemoryRetryQueue(max, journal);
    for (const key of (await journal?.load()) ?? []) queue.#attempts.set(key, 0);
    return queue;
  }

  get size(): number {
    return this.#attempts.size;
  }

  async add(key: string): Promise<boolean> {
    if (this.#attempts.has(key)) {
      // It may be on its way into the journal.
      await this.#told;
      return true;
    }
    if (this.#attempts.size >= this.#max) return false;
    this.#attempts.set(key, 0);
    await this.#tell(async (journal) => journal.added(key));
    return true;
  }

  next(): RetryItem | undefined {
    for (const [key, attempts] of this.#attempts) return { key, attempts };
    return undefined;
  }

  async done(key: string): Promise<void> {
    if (!this.#attempts.delete(key)) return;
    await this.#tell(async (journal) => journal.removed(key));
  }

  /** One after the other: a key that is added while it is being removed stays. */
  async #tell(what: (journal: RetryJournal) => Promise<void>): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) return;
    const mine = this.#told.then(async () => what(journal));
    this.#told = mine.catch(() => undefined);
    await mine;
  }

  failed(key: string): void {
    const attempts = this.#attempts.get(key);
    if (attempts === undefined) return;
    this.#attempts.delete(key);
    this.#attempts.set(key, attempts + 1);
  }
}
