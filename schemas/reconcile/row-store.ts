/**
 * The digest that each key's row has. Guarantee: a key is found exactly when it was put and not removed (a key is its 128-bit digest);
 * a slot takes 33 bytes and no object, and after growing at least a third of the slots is used.
 */

const ENTRY_WORDS = 8;
const KEY_WORDS = 4;
const FIRST_SLOTS = 64;
/** Above two thirds the table doubles. */
const LOAD = { part: 2, of: 3 };

export class RowStore {
  #slots = FIRST_SLOTS;
  #entries = new Int32Array(ENTRY_WORDS * FIRST_SLOTS);
  #used = new Uint8Array(FIRST_SLOTS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Where the row's lanes stand in `words`, or -1. Valid until the next change. */
  find(key: Int32Array): number {
    const slot = this.#seek(key);
    return this.#used[slot] === 0 ? -1 : ENTRY_WORDS * slot + KEY_WORDS;
  }

  get words(): Int32Array {
    return this.#entries;
  }

  put(key: Int32Array, lanes: Int32Array): void {
    let slot = this.#seek(key);
    if (this.#used[slot] === 0) {
      if ((this.#size + 1) * LOAD.of > this.#slots * LOAD.part) {
        this.#grow();
        slot = this.#seek(key);
      }
      this.#used[slot] = 1;
      this.#size++;
      this.#entries.set(key, ENTRY_WORDS * slot);
    }
    this.#entries.set(lanes, ENTRY_WORDS * slot + KEY_WORDS);
  }

  remove(key: Int32Array): void {
    let hole = this.#seek(key);
    if (this.#used[hole] === 0) return;
    this.#used[hole] = 0;
    this.#size--;
    // Entries behind move into the hole where their own place is not between it and them: then no search ends too early.
    const mask = this.#slots - 1;
    for (let slot = (hole + 1) & mask; this.#used[slot] === 1; slot = (slot + 1) & mask) {
      const home = this.#home(this.#entries, ENTRY_WORDS * slot);
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.#entries.copyWithin(ENTRY_WORDS * hole, ENTRY_WORDS * slot, ENTRY_WORDS * (slot + 1));
      this.#used[hole] = 1;
      this.#used[slot] = 0;
      hole = slot;
    }
  }

  /** `words` holds the key at `at` and the lanes behind it; valid until the visit returns. */
  each(visit: (words: Int32Array, at: number) => void): void {
    for (let slot = 0; slot < this.#slots; slot++) if (this.#used[slot] === 1) visit(this.#entries, ENTRY_WORDS * slot);
  }

  clear(): void {
    this.#resize(FIRST_SLOTS);
    this.#size = 0;
  }

  /** By the key's second hash: the first one's low bits are the bucket, and all of a bucket would crowd. */
  #home(words: Int32Array, at: number): number {
    return (words[at + 3]! ^ words[at + 2]!) & (this.#slots - 1);
  }

  /** The key's slot, or the free one where it would be put. */
  #seek(key: Int32Array): number {
    const mask = this.#slots - 1;
    const entries = this.#entries;
    for (let slot = this.#home(key, 0); ; slot = (slot + 1) & mask) {
      if (this.#used[slot] === 0) return slot;
      const at = ENTRY_WORDS * slot;
      if (entries[at] === key[0] && entries[at + 1] === key[1] && entries[at + 2] === key[2] && entries[at + 3] === key[3]) return slot;
    }
  }

  #resize(slots: number): void {
    this.#slots = slots;
    this.#entries = new Int32Array(ENTRY_WORDS * slots);
    this.#used = new Uint8Array(slots);
  }

  #grow(): void {
    const [entries, used] = [this.#entries, this.#used];
    this.#resize(2 * this.#slots);
    for (let slot = 0; slot < used.length; slot++) {
      if (used[slot] === 0) continue;
      const entry = entries.subarray(ENTRY_WORDS * slot, ENTRY_WORDS * (slot + 1));
      const free = this.#seek(entry);
      this.#used[free] = 1;
      this.#entries.set(entry, ENTRY_WORDS * free);
    }
  }
}
