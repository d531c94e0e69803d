/**
 * A piece of work as calls of the write script. Guarantee: every row of the work is in exactly one call (or named as partial), all rows of
 * a call lie in one slot where the server is a cluster, and a call never holds more than a bound of rows and bytes.
 */
import { hashTag } from '#schemas/mapping/redis/key-template.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { KIND } from '#schemas/pgoutput/message.ts';
import { OP, type ChunkBatch, type DeleteBatch, type Layout, type TableBatch, type Work } from '#connectors/target/target.ts';
import { CopyTuples } from './copy-tuple.ts';
import { guardKey, type OwnKeys } from './names.ts';
import { ROW_VALUES, RowPacking } from './pack-row.ts';
import type { Packer } from './packer.ts';
import type { ProgressState } from './progress.ts';
import { slotOf } from './slots.ts';

/** Redis does nothing else meanwhile: about 1 ms. */
const CALL_ROWS = 128;
const CALL_BYTES = 256 * 1024;

export interface PackedRows {
  readonly packed: Buffer;
  readonly slot: number;
  /** Entries of the work, in the order of the call's rows. */
  readonly entries: readonly number[];
  /** Entries that cannot be written as they are. */
  readonly partial: readonly number[];
  /** Keys of guards that stay behind for rows that go (or that expire). */
  readonly left: readonly string[];
}

export interface RowSource {
  calls(): Iterable<PackedRows>;
  keyOf(entry: number): string;
  keyValues(entry: number): readonly string[];
}

interface Options {
  readonly isCluster: boolean;
  readonly state: ProgressState;
  readonly packer: Packer;
}

/** `packer` is used by one piece of work at a time; between two calls it is empty. */
export function rowsOf(work: Work, { isCluster, state }: Omit<Options, 'packer'>, packer: Packer): RowSource {
  const options = { isCluster, state, packer };
  if (work.kind === 'fold') return new WorkRows(work.table, work.layout, new FoldTuples(work), options);
  const { table } = work;
  if (work.kind === 'chunk') {
    const layout = layoutOf(table, work.columns);
    return new WorkRows(table, layout, new ChunkTuples(work), options);
  }
  const key = table.targetKey.map((name) => table.columns.findIndex(({ target }) => target === name));
  return new WorkRows(table, layoutOf(table, key), new KeyTuples(work), options);
}

function layoutOf(table: TableMapping, columns: readonly number[]): Layout {
  return {
    columns: Int32Array.from(columns),
    key: Int32Array.from(table.targetKey, (name) => columns.findIndex((i) => table.columns[i]?.target === name)),
  };
}

/** The tuples of a work, one after another; `buffer` and `at` are those of the entry last gone to. */
interface Tuples {
  readonly size: number;
  buffer: Buffer;
  at: number;
  op: number;
  go(entry: number): void;
}

class FoldTuples implements Tuples {
  readonly size: number;
  buffer: Buffer = Buffer.alloc(0);
  at = 0;
  op = 0;
  readonly #batch: TableBatch;

  constructor(batch: TableBatch) {
    this.size = batch.size;
    this.#batch = batch;
  }

  go(entry: number): void {
    const { buffers, at, ops } = this.#batch;
    this.buffer = buffers[entry]!;
    this.at = at[entry]!;
    // Absent columns of a changed key stand under the old one, which may be at any state by now: the row is copied again.
    this.op = (ops[entry]! & OP.carry) === 0 ? ops[entry]! & OP.kind : 0;
  }
}

class ChunkTuples implements Tuples {
  readonly size: number;
  readonly at = 0;
  op: number = OP.put;
  readonly #lines: readonly { readonly buffer: Buffer; readonly from: number }[];
  readonly #tuples: CopyTuples;

  constructor({ rows, columns, rowCount }: ChunkBatch) {
    this.size = rowCount;
    this.#tuples = new CopyTuples(columns.length);
    this.#lines = rows.flatMap((buffer) => [...lineStarts(buffer)].map((from) => ({ buffer, from })));
  }

  get buffer(): Buffer {
    return this.#tuples.tuple;
  }

  go(entry: number): void {
    const { buffer, from } = this.#lines[entry]!;
    this.#tuples.read(buffer, from);
  }
}

function* lineStarts(buffer: Buffer): Generator<number> {
  for (let p = 0; p < buffer.length; p = buffer.indexOf(0x0a, p) + 1) yield p;
}

class KeyTuples implements Tuples {
  readonly size: number;
  buffer: Buffer = Buffer.alloc(0);
  readonly at = 0;
  readonly op: number = OP.delete;
  readonly #keys: DeleteBatch['keys'];

  constructor({ keys }: DeleteBatch) {
    this.size = keys.length;
    this.#keys = keys;
  }

  go(entry: number): void {
    const values = this.#keys[entry]!.map((value) => Buffer.from(value));
    this.buffer = Buffer.allocUnsafe(values.reduce((bytes, value) => bytes + 5 + value.length, 2));
    let pos = this.buffer.writeUInt16BE(values.length, 0);
    for (const value of values) {
      this.buffer[pos++] = KIND.text;
      pos = this.buffer.writeUInt32BE(value.length, pos);
      pos += value.copy(this.buffer, pos);
    }
  }
}

class WorkRows implements RowSource {
  readonly #tuples: Tuples;
  readonly #packing: RowPacking;
  readonly #isCluster: boolean;
  readonly #keys: OwnKeys;
  readonly #tagged: boolean;
  readonly #expires: boolean;

  constructor(table: TableMapping, layout: Layout, tuples: Tuples, { isCluster, state, packer }: Options) {
    this.#tuples = tuples;
    this.#packing = new RowPacking(table, layout, packer);
    this.#isCluster = isCluster;
    this.#keys = state.keys;
    this.#tagged = hashTag(table.redis!.key) !== undefined;
    this.#expires = table.redis!.ttlSeconds !== undefined;
  }

  *calls(): Generator<PackedRows> {
    const all = Array.from({ length: this.#tuples.size }, (_, i) => i);
    const groups = this.#isCluster ? Map.groupBy(all, (entry) => slotOf(this.keyOf(entry))) : new Map([[0, all]]);
    for (const [slot, entries] of groups) yield* this.#pack(slot, entries);
  }

  *#pack(slot: number, entries: readonly number[]): Generator<PackedRows> {
    const { packer } = this.#packing;
    for (let next = 0; next < entries.length;) {
      const taken: number[] = [];
      const partial: number[] = [];
      const left: string[] = [];
      const list = packer.begin();
      for (; next < entries.length && taken.length < CALL_ROWS && packer.pos < CALL_BYTES; next++) {
        const entry = entries[next]!;
        const tuples = this.#tuples;
        tuples.go(entry);
        const fits = tuples.op !== 0 && this.#packing.add(tuples.op, tuples.buffer, tuples.at) === 'packed';
        (fits ? taken : partial).push(entry);
        if (fits && (tuples.op === OP.delete || this.#expires))
          left.push(guardKey(this.#keys, this.#packing.keyOf(tuples.buffer, tuples.at), this.#tagged));
      }
      packer.endList(list, taken.length * ROW_VALUES);
      yield { packed: packer.take(), slot, entries: taken, partial, left };
    }
  }

  keyOf(entry: number): string {
    this.#tuples.go(entry);
    return this.#packing.keyOf(this.#tuples.buffer, this.#tuples.at);
  }

  keyValues(entry: number): readonly string[] {
    this.#tuples.go(entry);
    return this.#packing.keyValues(this.#tuples.buffer, this.#tuples.at);
  }
}
