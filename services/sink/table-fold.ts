/**
 * Folds a table's changes to one entry per key, column by column. Guarantee: applying the entries to the table as it was before the
 * first change gives what applying the changes one after another would have given: an absent column keeps what stood there before
 * (in the batch, or on the target), a delete clears, a key change is the old key's delete and the new key's create.
 *
 * Where the file keeps rows that the source deletes, an entry that was written in the batch and then deleted stays, with the time of the
 * delete: the target gets the row's last version, marked.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { UnmappableRow, type RowFault } from '#schemas/mapping/unmappable-row.ts';
import { TAG } from '#schemas/pgoutput/message.ts';
import {
  OP,
  type Layout,
  type PgMicros,
  type Place,
  type SeenRow,
  type TableBatch,
  type TupleRef,
  type UnmappedEntry,
} from '#connectors/target/target.ts';
import { overlayTuple, relayTuple } from '#schemas/pgoutput/tuple.ts';
import type { BoundRelation } from './bind-relation.ts';
import type { RowImage } from './row-image.ts';
import { keyOfRow, see } from './seen-rows.ts';
import { scanned, scanTuple, type RowKey } from './tuple-key.ts';

/** Commit time of the transaction under way. */
export interface CommitClock {
  readonly time: PgMicros;
}

const FIRST_CAPACITY = 256;
const FULL_OLD_TUPLE = 0x4f; // O
const NEW_TUPLE = 0x4e; // N

export class TableFold implements TableBatch {
  readonly kind = 'fold';
  readonly table: TableMapping;
  readonly layout: Layout;
  readonly strict: boolean;
  readonly carries = new Map<number, TupleRef>();
  readonly unmapped = new Map<number, UnmappedEntry>();
  readonly deletedAt = new Map<number, PgMicros>();
  truncatedTime: PgMicros = 0n;
  ops: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  buffers: Buffer[] = [];
  at: Int32Array = new Int32Array(FIRST_CAPACITY);
  counts: Int32Array = new Int32Array(0);
  size = 0;
  changes = 0;
  truncate = false;
  truncatedAt: Place | undefined;
  readonly seen = new Map<number, SeenRow>();
  readonly #entries = new Map<RowKey, number>();
  readonly #keyless: boolean;
  /** Deleted rows stay on the target. */
  readonly #keeps: boolean;
  /** Others may write the rows too: what was seen of each is kept. */
  readonly #isJudged: boolean;
  readonly #clock: CommitClock;

  constructor(bound: BoundRelation, strict: boolean, clock: CommitClock) {
    this.table = bound.table;
    this.layout = bound.layout;
    this.strict = strict;
    this.#keyless = bound.layout.key.length === 0;
    this.#keeps = bound.table.deletes !== undefined;
    this.#isJudged = bound.table.conflict !== undefined;
    this.#clock = clock;
    if (this.#keyless) this.counts = new Int32Array(FIRST_CAPACITY);
  }

  /** Takes one insert, update or delete: the message at `m` in `b`. */
  add(bound: BoundRelation, b: Buffer, m: number): void {
    this.changes++;
    if (bound.layout !== this.layout || bound.passes !== undefined || bound.image !== undefined || this.#keyless || this.#isJudged) {
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

  clear(place: Place): void {
    this.truncate = true;
    this.truncatedAt = place;
    this.truncatedTime = this.#clock.time;
    this.changes++;
    this.#entries.clear();
    this.carries.clear();
    this.unmapped.clear();
    this.deletedAt.clear();
    this.seen.clear();
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
    else this.#set(entry, (this.ops[entry]! & OP.kind) === OP.delete && !this.#keeps ? OP.put | OP.recreate : OP.put, b, at);
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
    const fault = entry === undefined ? undefined : this.unmapped.get(entry)?.fault;
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
    if (fault !== undefined) {
      this.#setAside(key, { buffer: merged, at: 0 }, { fault, cause: 'moved' });
      return;
    }
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
    // A row that was deleted before keeps its time.
    if (entry !== undefined && this.deletedAt.has(entry)) return;
    if (entry === undefined) this.#append(key, OP.delete, b, at);
    else if (!this.#keeps || this.unmapped.has(entry)) this.#set(entry, OP.delete, b, at);
    if (this.#keeps) this.deletedAt.set(entry ?? this.size - 1, this.#clock.time);
  }

  #set(entry: number, op: number, b: Buffer, at: number): void {
    if (this.unmapped.size > 0 && this.#queues(entry, op)) return;
    this.ops[entry] = op;
    this.buffers[entry] = b;
    this.at[entry] = at;
    if (this.#keeps) this.deletedAt.delete(entry);
    if ((op & OP.carry) === 0 && this.carries.size > 0) this.carries.delete(entry);
  }

  /** Behind a row that could not be mapped all but a delete waits. */
  #queues(entry: number, op: number): boolean {
    const unmapped = this.unmapped.get(entry);
    if (unmapped === undefined) return false;
    if ((op & OP.kind) === OP.delete) this.unmapped.delete(entry);
    else this.unmapped.set(entry, { ...unmapped, queued: unmapped.queued + 1 });
    return this.unmapped.has(entry);
  }

  /** The mapping makes nothing of the message at `m` in `b`: its key is left as it was before the batch, or a table without a key held. */
  refuse(bound: BoundRelation, b: Buffer, m: number, fault: RowFault): void {
    this.changes++;
    this.#refuse(this.#relaid(bound, imageOf(bound, readChange(bound, b, m), undefined)), fault);
  }

  #refuse({ old, next }: Change, fault: RowFault): void {
    const row = next ?? old!;
    if (this.#keyless) {
      if (this.unmapped.size > 0) return;
      this.unmapped.set(this.#append('', OP.put, row.buffer, row.at), { fault, cause: 'mapping', queued: 0 });
      return;
    }
    scanTuple(row.buffer, row.at, this.layout);
    const { key } = scanned;
    if (old !== undefined) {
      scanTuple(old.buffer, old.at, this.layout);
      if (scanned.key !== key) this.#remove(scanned.key, old.buffer, old.at);
    }
    this.#setAside(key, row, { fault, cause: 'mapping' });
  }

  #setAside(key: RowKey, row: TupleRef, why: Pick<UnmappedEntry, 'fault' | 'cause'>): void {
    const taken = this.#entries.get(key);
    const entry = taken ?? this.#append(key, OP.patch, row.buffer, row.at);
    this.#set(entry, OP.patch, row.buffer, row.at);
    if (!this.unmapped.has(entry)) this.unmapped.set(entry, { ...why, queued: 0 });
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

  /** Filters, computed columns, keyless tables, and leaves whose columns stand in another order. */
  #addSlowly(bound: BoundRelation, b: Buffer, m: number): void {
    const { image } = bound;
    // Nothing is to be asked of most new rows: they are mapped and added.
    const isPlain = b[m] === TAG.insert && image !== undefined && bound.passes === undefined && bound.layout === this.layout;
    const change = readChange(bound, b, m);
    try {
      if (isPlain && !this.#keyless && !this.#isJudged) {
        const row = image.of(change.next!);
        this.#insert(row.buffer, row.at);
        return;
      }
      const passes = passesOf(bound, change, this.#keyless);
      this.#addMapped(this.#relaid(bound, imageOf(bound, change, passes)), passes, b[m] === TAG.insert);
    } catch (error) {
      if (!(error instanceof UnmappableRow)) throw error;
      this.#refuse(this.#relaid(bound, imageOf(bound, change, undefined)), error.fault);
    }
  }

  /** In this fold's order of columns. */
  #relaid(bound: BoundRelation, change: Change): Change {
    if (bound.layout === this.layout) return change;
    const relay = (tuple: TupleRef | undefined): TupleRef | undefined =>
      tuple && { buffer: relayTuple(tuple, bound.layout, this.layout), at: 0 };
    return { ...change, old: relay(change.old), next: relay(change.next) };
  }

  #addMapped(change: Change, passes: Passes, isInsert: boolean): void {
    // Before anything is folded: without the row before it a change cannot be told from what others wrote.
    if (this.#isJudged && !isInsert && !change.oldWhole)
      throw new UnmappableRow('CF-2008', `${this.table.from.schema}.${this.table.from.name} needs REPLICA IDENTITY FULL for its conflicts`);
    this.#fold(change, passes, isInsert);
    if (this.#isJudged) see(this.seen, change, (row) => this.#entries.get(keyOfRow(row, this.layout))!);
  }

  #fold({ old, next }: Change, { enters, left }: Passes, isInsert: boolean): void {
    if (this.#keyless) {
      if (left) this.#count(old!, -1);
      if (enters) this.#count(next!, 1);
      return;
    }
    if (next === undefined) this.#delete(old!.buffer, old!.at);
    else if (!enters) this.#delete((old ?? next).buffer, (old ?? next).at);
    else if (isInsert) this.#insert(next.buffer, next.at);
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
      throw new UnmappableRow('CF-2008', `${this.table.from.schema}.${this.table.from.name} has no key and needs REPLICA IDENTITY FULL`);
    const entry = this.#entries.get(scanned.key) ?? this.#append(scanned.key, OP.put, row.buffer, row.at);
    this.counts[entry]! += by;
  }
}

/** Which of a change's rows pass the filter. */
interface Passes {
  readonly enters: boolean;
  readonly left: boolean;
}

interface Change {
  readonly old: TupleRef | undefined;
  readonly oldWhole: boolean;
  /** The mapping makes nothing of the old row, so it never stood on the target; what `old` has of it is its key. */
  readonly oldUnmapped?: boolean;
  readonly next: TupleRef | undefined;
}

/** @throws UnmappableRow when the filter cannot be decided */
function passesOf({ passes }: BoundRelation, { old, oldWhole, next }: Change, keyless: boolean): Passes {
  const enters = next !== undefined && (passes?.(next.buffer, next.at) ?? true);
  const left = keyless && old !== undefined && (passes === undefined || !oldWhole || passes(old.buffer, old.at));
  return { enters, left };
}

/**
 * The rows as they are mapped. Of one that goes, of a key alone, and of all without `passes` nothing is computed.
 * @throws UnmappableRow
 */
function imageOf({ image, layout, table }: BoundRelation, change: Change, passes: Passes | undefined): Change {
  if (image === undefined) return change;
  const { old, oldWhole, next } = change;
  const isJudged = passes !== undefined && table.conflict !== undefined;
  const counts = layout.key.length === 0 && passes?.left === true;
  return {
    ...(isJudged ? judgedOld(image, old) : { old: old && (counts ? image.of(old) : image.keyOf(old)) }),
    oldWhole,
    next: next && (passes?.enters === true ? image.of(next) : image.keyOf(next)),
  };
}

/** One that the mapping makes nothing of may be mended or go: that is no reason to refuse the change. */
function judgedOld(image: RowImage, old: TupleRef | undefined): Pick<Change, 'old' | 'oldUnmapped'> {
  if (old === undefined) return { old };
  try {
    return { old: image.of(old) };
  } catch (error) {
    if (!(error instanceof UnmappableRow)) throw error;
    return { old: image.keyOf(old), oldUnmapped: true };
  }
}

/** With an old row that is whole the new one has no absent columns. */
function readChange(bound: BoundRelation, b: Buffer, m: number): Change {
  const first = b[m + 5];
  if (b[m] === TAG.insert || first === NEW_TUPLE) return { old: undefined, oldWhole: false, next: { buffer: b, at: m + 6 } };
  const old = { buffer: b, at: m + 6 };
  const oldWhole = first === FULL_OLD_TUPLE;
  if (b[m] === TAG.delete) return { old, oldWhole, next: undefined };
  scanTuple(b, m + 6, bound.layout);
  const next = { buffer: b, at: scanned.end + 1 };
  return { old, oldWhole, next: oldWhole ? { buffer: overlayTuple(old, next), at: 0 } : next };
}
