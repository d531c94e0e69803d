/**
 * A table's sums by bucket, kept from its changes. Guarantee: after any sequence of changes, the sums of the rows that the changes leave,
 * or of all but the *open* keys, whose row is there and not known, and which are told; beyond its limits it is void, never wrong.
 */
import { Buckets, type BucketState } from './buckets.ts';
import type { DecimalSum } from './decimal-sum.ts';
import { RowStore } from './row-store.ts';
import type { WideTexts } from './tuple-digester.ts';

export interface AggregateOptions {
  /** A power of two. */
  readonly buckets: number;
  /** How many columns are summed. */
  readonly declared: number;
  /** Rows whose digests are kept: 50 to 100 bytes each. */
  readonly rowsMax: number;
  /** Open keys, and rows with wide values or declared columns: some hundred bytes each. */
  readonly notesMax: number;
}

export interface DigestedRow {
  readonly lanes: Int32Array;
  /** Texts of the declared columns. */
  readonly declared: readonly (string | null)[];
  /** Texts that stand for wide values; kept as they are given. */
  readonly wide: WideTexts | undefined;
}

/** A row that is there and whose digest is not known: the texts of its key. */
export interface OpenRow {
  readonly open: readonly (string | null)[];
}

/** What a key has; undefined: no row. */
export type RowState = DigestedRow | OpenRow | undefined;

interface Note {
  readonly declared: readonly (string | null)[];
  readonly wide: WideTexts | undefined;
}

const KEY_WORDS = 4;
const LANE_WORDS = 4;

export class TableAggregate {
  readonly #options: AggregateOptions;
  readonly #buckets: Buckets;
  readonly #rows = new RowStore();
  readonly #notes = new Map<string, Note>();
  readonly #open = new Map<string, { readonly bucket: number; readonly key: readonly (string | null)[] }>();
  #void: string | undefined;

  constructor(options: AggregateOptions) {
    this.#options = options;
    this.#buckets = new Buckets(options.buckets, options.declared);
  }

  /** Why nothing can be said any more; undefined while it can. */
  get void(): string | undefined {
    return this.#void;
  }

  get buckets(): number {
    return this.#options.buckets;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** A row inserted or updated: whatever the key had is replaced. */
  put(key: Int32Array, row: DigestedRow): void {
    if (this.#void !== undefined) return;
    this.remove(key);
    if (this.#rows.size >= this.#options.rowsMax) return this.#give('rows');
    const bucket = this.#buckets.of(key);
    this.#rows.put(key, row.lanes);
    this.#buckets.add(bucket, row.lanes);
    if (this.#options.declared === 0 && row.wide === undefined) return;
    if (this.#notes.size + this.#open.size >= this.#options.notesMax) return this.#give('notes');
    this.#buckets.addDeclared(bucket, row.declared, 1);
    this.#notes.set(idOf(key), { declared: row.declared, wide: row.wide });
  }

  /** A row is there, and a value of it was left out that nobody knows. @param texts The key's, by which the row can be read. */
  leaveOpen(key: Int32Array, texts: readonly (string | null)[]): void {
    if (this.#void !== undefined) return;
    this.remove(key);
    if (this.#notes.size + this.#open.size >= this.#options.notesMax) return this.#give('notes');
    this.#open.set(idOf(key), { bucket: this.#buckets.of(key), key: texts });
  }

  remove(key: Int32Array): void {
    if (this.#void !== undefined) return;
    if (this.#open.size > 0) this.#open.delete(idOf(key));
    const at = this.#rows.find(key);
    if (at < 0) return;
    const bucket = this.#buckets.of(key);
    this.#buckets.subtract(bucket, this.#rows.words, at);
    if (this.#notes.size > 0) this.#forget(bucket, idOf(key));
    this.#rows.remove(key);
  }

  truncate(): void {
    this.#rows.clear();
    this.#buckets.clear();
    this.#notes.clear();
    this.#open.clear();
  }

  /** What the key's row has for values that an update may leave out. */
  carried(key: Int32Array): WideTexts | undefined {
    return this.#notes.size === 0 ? undefined : this.#notes.get(idOf(key))?.wide;
  }

  /** What the key has, as a copy. */
  at(key: Int32Array): RowState {
    const found = this.#rows.find(key);
    if (found < 0) {
      const open = this.#open.size === 0 ? undefined : this.#open.get(idOf(key));
      return open && { open: open.key };
    }
    const note = this.#notes.size === 0 ? undefined : this.#notes.get(idOf(key));
    return { lanes: this.#rows.words.slice(found, found + LANE_WORDS), declared: note?.declared ?? [], wide: note?.wide };
  }

  /** `put`, `leaveOpen` or `remove`, whichever gives the key this state. */
  set(key: Int32Array, state: RowState): void {
    if (state === undefined) this.remove(key);
    else if ('open' in state) this.leaveOpen(key, state.open);
    else this.put(key, state);
  }

  /** Rows of these buckets, but the open ones. */
  rowsIn(buckets: ReadonlySet<number>, visit: (key: Int32Array, lanes: Int32Array) => void): void {
    this.#rows.each((words, at) => {
      const key = words.subarray(at, at + KEY_WORDS);
      if (buckets.has(this.#buckets.of(key))) visit(key.slice(), words.slice(at + KEY_WORDS, at + KEY_WORDS + LANE_WORDS));
    });
  }

  bucketOf(key: Int32Array): number {
    return this.#buckets.of(key);
  }

  /** Of all rows of the bucket but the open ones. */
  bucket(bucket: number): BucketState {
    return this.#buckets.state(bucket);
  }

  /** Sums of the bucket's declared columns, as copies. */
  declaredOf(bucket: number): readonly DecimalSum[] {
    return this.#buckets.declaredOf(bucket);
  }

  openKeys(bucket: number): readonly (readonly (string | null)[])[] {
    return [...this.#open.values()].filter((one) => one.bucket === bucket).map(({ key }) => key);
  }

  #forget(bucket: number, id: string): void {
    const note = this.#notes.get(id);
    if (note === undefined) return;
    this.#buckets.addDeclared(bucket, note.declared, -1);
    this.#notes.delete(id);
  }

  #give(what: 'rows' | 'notes'): void {
    this.truncate();
    this.#void =
      what === 'rows'
        ? `more than ${this.#options.rowsMax} rows`
        : `more than ${this.#options.notesMax} rows with wide, left out or summed values`;
  }
}

/** A key's digest as a text, for maps. */
export function idOf(key: Int32Array): string {
  return `${key[0]},${key[1]},${key[2]},${key[3]}`;
}
