/**
 * Folds a table's changes to one entry per key, column by column. Guarantee: applying the entries to the table as it was before the
 * first change gives what applying the changes one after another would have given: an absent column keeps what stood there before
 * (in the batch, or on the target), a delete clears, a key change is the old key's delete and the new key's create.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { TAG } from '#schemas/pgoutput/message.ts';
import { OP, type Layout, type TableBatch, type TupleRef } from '#connectors/target/target.ts';
import { overlayTuple, relayTuple } from '#schemas/pgoutput/tuple.ts';
import type { BoundRelation } from './bind-relation.ts';
import { scanned, scanTuple, type RowKey } from './tuple-key.ts';

const FIRST_CAPACITY = 256;
const FULL_OLD_TUPLE = 0x4f; // O
const NEW_TUPLE = 0x4e; // N

export class TableFold implements TableBatch {
  readonly kind = 'fold';
  readonly table: TableMapping;
  readonly layout: Layout;
  readonly strict: boolean;
  readonly carries = new Map<number, TupleRef>();
  ops: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  buffers: Buffer[] = [];
  at: Int32Array = new Int32Array(FIRST_CAPACITY);
  counts: Int32Array = new Int32Array(0);
  size = 0;
  changes = 0;
  truncate = false;
  readonly #entries = new Map<RowKey, number>();
  readonly #keyless: boolean;

  constructor(bound: BoundRelation, strict: boolean) {
    this.table = bound.table;
    this.layout = bound.layout;
    this.strict = strict;
    this.#keyless = bound.layout.key.length === 0;
    if (this.#keyless) this.counts = new Int32Array(FIRST_CAPACITY);
  }

  /** Takes one insert, update or delete: the message at `m` in `b`. */
  add(bound: BoundRelation, b: Buffer, m: number): void {
    this.changes++;
    if (bound.layout !== this.layout || bound.passes !== undefined || this.#keyless) {
      this.#addSlowly(bound, b, m);
      return;
    }
    const tag = b[m];
    if (tag === TAG.insert) {
      this.#insert(b, m + 6);
    } else if (tag === TAG.delete) {
      this.#delete(b, m + 6);
    } else if (b[m + 5] === NEW_TUPLE) {
      this.#update(b, m + 6);
    } else {
      this.#updateWithOld(b, m + 6);
    }
  }

  clear(): void {
    this.truncate = true;
    this.changes++;
    this.#entries.clear();
    this.carries.clear();
    this.buffers = [];
    this.counts.fill(0);
    this.size = 0;
  }

  #insert(b: Buffer, at: number): void {
    scanTuple(b, at, this.layout);
    this.#create(scanned.key, b, at);
  }

  /** A row under a key that was free in the source. */
  #create(key: RowKey, b: Buffer, at: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) this.#append(key, OP.put | OP.fresh, b, at);
    else this.#set(entry, (this.ops[entry]! & OP.kind) === OP.delete ? OP.put | OP.recreate : OP.put, b, at);
  }

  #update(b: Buffer, at: number): void {
    scanTuple(b, at, this.layout);
    const { key, absent } = scanned;
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#append(key, absent ? OP.patch : OP.put, b, at);
      return;
    }
    const op = this.ops[entry]!;
    const kind = op & OP.kind;
    if (kind === OP.delete) {
      this.#set(entry, absent ? OP.patch : OP.put, b, at);
    } else if (!absent) {
      this.#set(entry, kind === OP.put ? op : OP.put, b, at);
    } else {
      this.#set(entry, op, overlayTuple({ buffer: this.buffers[entry]!, at: this.at[entry]! }, { buffer: b, at }), 0);
    }
  }

  /** An update that carries the old key (it changed) or the old row (REPLICA IDENTITY FULL). */
  #updateWithOld(b: Buffer, oldAt: number): void {
    scanTuple(b, oldAt, this.layout);
    const oldKey = scanned.key;
    const nextAt = scanned.end + 1;
    scanTuple(b, nextAt, this.layout);
    const whole = b[oldAt - 1] === FULL_OLD_TUPLE && scanned.absent;
    const next = whole ? overlayTuple({ buffer: b, at: oldAt }, { buffer: b, at: nextAt }) : b;
    const at = whole ? 0 : nextAt;
    if (scanned.key === oldKey) {
      this.#update(next, at);
      return;
    }
    this.#move({ key: oldKey, buffer: b, at: oldAt }, next, at);
  }

  #move(old: TupleRef & { readonly key: RowKey }, b: Buffer, at: number): void {
    scanTuple(b, at, this.layout);
    const { key, absent } = scanned;
    const entry = this.#entries.get(old.key);
    if (!absent) {
      this.#remove(old.key, old.buffer, old.at);
      this.#create(key, b, at);
      return;
    }
    const before =
      entry === undefined
        ? undefined
        : { op: this.ops[entry]!, buffer: this.buffers[entry]!, at: this.at[entry]!, carry: this.carries.get(entry) };
    this.#remove(old.key, old.buffer, old.at);
    if (before === undefined || (before.op & OP.kind) === OP.delete) {
      this.#carry(key, { buffer: b, at }, old);
      return;
    }
    const merged = overlayTuple(before, { buffer: b, at });
    if ((before.op & OP.kind) === OP.put) this.#create(key, merged, 0);
    else this.#carry(key, { buffer: merged, at: 0 }, before.carry ?? old);
  }

  /** A row whose absent columns stand in the target's row of an older key. */
  #carry(key: RowKey, row: TupleRef, from: TupleRef): void {
    const taken = this.#entries.get(key);
    const entry = taken ?? this.#append(key, 0, row.buffer, row.at);
    this.#set(entry, OP.patch | OP.carry, row.buffer, row.at);
    this.carries.set(entry, { buffer: from.buffer, at: from.at });
  }

  #delete(b: Buffer, at: number): void {
    scanTuple(b, at, this.layout);
    this.#remove(scanned.key, b, at);
  }

  #remove(key: RowKey, b: Buffer, at: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) this.#append(key, OP.delete, b, at);
    else this.#set(entry, OP.delete, b, at);
  }

  #set(entry: number, op: number, b: Buffer, at: number): void {
    this.ops[entry] = op;
    this.buffers[entry] = b;
    this.at[entry] = at;
    if ((op & OP.carry) === 0 && this.carries.size > 0) this.carries.delete(entry);
  }

  #append(key: RowKey, op: number, b: Buffer, at: number): number {
    const entry = this.size++;
    if (entry === this.ops.length) this.#grow();
    this.#entries.set(key, entry);
    this.ops[entry] = op;
    this.buffers.push(b);
    this.at[entry] = at;
    return entry;
  }

  #grow(): void {
    const capacity = this.ops.length * 2;
    const ops = new Uint8Array(capacity);
    ops.set(this.ops);
    this.ops = ops;
    const at = new Int32Array(capacity);
    at.set(this.at);
    this.at = at;
    if (!this.#keyless) return;
    const counts = new Int32Array(capacity);
    counts.set(this.counts);
    this.counts = counts;
  }

  /** Filters, keyless tables, and leaves whose columns stand in another order. */
  #addSlowly(bound: BoundRelation, b: Buffer, m: number): void {
    const change = readChange(bound, b, m);
    let { old, next } = change;
    if (old !== undefined && next !== undefined && change.oldWhole) next = { buffer: overlayTuple(old, next), at: 0 };
    const enters = next !== undefined && (bound.passes?.(next.buffer, next.at) ?? true);
    if (bound.layout !== this.layout) {
      if (old !== undefined) old = { buffer: relayTuple(old, bound.layout, this.layout), at: 0 };
      if (next !== undefined) next = { buffer: relayTuple(next, bound.layout, this.layout), at: 0 };
    }
    if (this.#keyless) {
      const left = old !== undefined && (bound.passes === undefined || !change.oldWhole || bound.passes(old.buffer, old.at));
      if (left) this.#count(old!, -1);
      if (enters) this.#count(next!, 1);
      return;
    }
    if (next === undefined) this.#delete(old!.buffer, old!.at);
    else if (!enters) this.#delete((old ?? next).buffer, (old ?? next).at);
    else if (b[m] === TAG.insert) this.#insert(next.buffer, next.at);
    else if (old === undefined) this.#update(next.buffer, next.at);
    else this.#changeWithOld(old, next);
  }

  #changeWithOld(old: TupleRef, next: TupleRef): void {
    scanTuple(old.buffer, old.at, this.layout);
    const oldKey = scanned.key;
    scanTuple(next.buffer, next.at, this.layout);
    if (scanned.key === oldKey) this.#update(next.buffer, next.at);
    else this.#move({ key: oldKey, buffer: old.buffer, at: old.at }, next.buffer, next.at);
  }

  #count(row: TupleRef, by: number): void {
    scanTuple(row.buffer, row.at, this.layout);
    if (scanned.absent)
      throw new PipelineError('CF-2008', `${this.table.from.schema}.${this.table.from.name} has no key and needs REPLICA IDENTITY FULL`);
    const entry = this.#entries.get(scanned.key) ?? this.#append(scanned.key, OP.put, row.buffer, row.at);
    this.counts[entry]! += by;
  }
}

interface Change {
  readonly old: TupleRef | undefined;
  readonly oldWhole: boolean;
  readonly next: TupleRef | undefined;
}

function readChange(bound: BoundRelation, b: Buffer, m: number): Change {
  const first = b[m + 5];
  if (b[m] === TAG.insert || first === NEW_TUPLE) return { old: undefined, oldWhole: false, next: { buffer: b, at: m + 6 } };
  const old = { buffer: b, at: m + 6 };
  const oldWhole = first === FULL_OLD_TUPLE;
  if (b[m] === TAG.delete) return { old, oldWhole, next: undefined };
  scanTuple(b, m + 6, bound.layout);
  return { old, oldWhole, next: { buffer: b, at: scanned.end + 1 } };
}
