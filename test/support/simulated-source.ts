/**
 * A source for simulations: one table of a few keys, commits that become visible late (in any order that row locks allow), the
 * messages that pgoutput would send. Guarantee: what it does follows from its seed.
 */
import type { OurMessage } from '#schemas/frame/frame.ts';
import { type Lsn, toLsn } from '#schemas/lsn.ts';
import type { Snapshot } from '#schemas/snapshot.ts';
import * as frames from './frames.ts';
import type { Random } from './random.ts';

export const OID = 4000;
export const KEYS = 8;
const FIRST_XID = 0xfffffff0; // the low 32 bits wrap soon
/** One commit's end is the next one's start. */
const LSN_STEP = 8;

export type Row = readonly [a: string, b: string];
type Change =
  | { readonly t: 'put'; readonly k: number; readonly row: Row; readonly insert: boolean }
  | { readonly t: 'part'; readonly k: number; readonly a: string }
  | { readonly t: 'move'; readonly k: number; readonly to: number; readonly a: string }
  | { readonly t: 'del'; readonly k: number }
  | { readonly t: 'trunc' };

export interface Transaction {
  readonly lsn: Lsn;
  readonly end: Lsn;
  readonly xid: number;
  readonly changes: readonly Change[];
  readonly message?: OurMessage;
  visible: boolean;
}

export class SimulatedSource {
  readonly wal: Transaction[] = [];
  readonly #random: Random;
  readonly #keyless: boolean;
  #relationSent = false;
  #value = 0;

  constructor(random: Random, keyless: boolean) {
    this.#random = random;
    this.#keyless = keyless;
    for (let i = 0; i < 6; i++) {
      this.write();
      this.showAll();
    }
  }

  showAll(): void {
    for (const transaction of this.wal) transaction.visible = true;
  }

  /** A new stream: the table is described again before its first change. */
  connect(): void {
    this.#relationSent = false;
  }

  visibleState(): Map<number, Row> {
    return fold(this.wal.filter((transaction) => transaction.visible));
  }

  end(): Lsn {
    return toLsn(BigInt(this.wal.length * LSN_STEP));
  }

  commit(changes: readonly Change[], message?: OurMessage): Transaction {
    const lsn = this.end();
    const transaction: Transaction = {
      lsn,
      end: toLsn(lsn + BigInt(LSN_STEP)),
      xid: FIRST_XID + this.wal.length,
      changes,
      visible: false,
      ...(message && { message }),
    };
    this.wal.push(transaction);
    return transaction;
  }

  write(): void {
    const r = this.#random;
    const hidden = this.wal.filter((transaction) => !transaction.visible);
    const free = (k: number): boolean =>
      hidden.every(({ changes }) => changes.every((c) => c.t !== 'trunc' && c.k !== k && !(c.t === 'move' && c.to === k)));
    if (hidden.length === 0 && r.chance(0.03)) {
      const after: Change[] = r.chance(0.5) ? [{ t: 'put', k: r.between(0, KEYS - 1), row: this.#row(), insert: true }] : [];
      this.commit([{ t: 'trunc' }, ...after]);
      return;
    }
    const now = fold(this.wal.filter((transaction) => transaction.visible));
    const used = new Set<number>();
    const changes: Change[] = [];
    for (let i = r.between(1, 3); i > 0; i--) {
      const k = r.between(0, KEYS - 1);
      if (used.has(k) || !free(k)) continue;
      used.add(k);
      const row = now.get(k);
      const what = r.between(0, 5);
      if (!row || what > 4) changes.push({ t: 'put', k, row: this.#row(), insert: !row });
      else if (what === 0) changes.push({ t: 'del', k });
      else if (what <= 2) changes.push({ t: 'part', k, a: String(++this.#value) });
      else {
        const to = r.between(0, KEYS - 1);
        if (to === k || used.has(to) || !free(to) || now.has(to)) continue;
        used.add(to);
        changes.push({ t: 'move', k, to, a: String(++this.#value) });
      }
    }
    if (changes.length > 0) this.commit(changes);
  }

  #row(): Row {
    return [String(++this.#value), `b\t${++this.#value}`];
  }

  showOne(): void {
    const hidden = this.wal.filter((transaction) => !transaction.visible);
    if (hidden.length > 0) hidden[this.#random.between(0, hidden.length - 1)]!.visible = true;
  }

  snapshot(): Snapshot {
    const running = this.wal.filter((transaction) => !transaction.visible).map(({ xid }) => xid);
    const xmax = FIRST_XID + this.wal.length;
    return { xmin: Math.min(xmax, ...running), xmax, running: new Set(running) };
  }

  stateAt(lsn: Lsn): Map<number, Row> {
    return fold(this.wal.filter((transaction) => transaction.lsn <= lsn));
  }

  framesOf(transaction: Transaction): Buffer[] {
    if (transaction.message) return [frames.ourMessage(transaction.message)];
    const made = this.#keyless ? this.#wholeFrames(transaction) : transaction.changes.map(frameOf);
    if (this.#relationSent) return made;
    this.#relationSent = true;
    const columns = ['k', 'a', 'b'].map((name) => ({ name, key: name === 'k' }));
    return [frames.relation({ oid: OID, name: 'doc', columns, identity: this.#keyless ? 'f' : 'd' }), ...made];
  }

  /** REPLICA IDENTITY FULL: every change carries the row before it. */
  #wholeFrames(transaction: Transaction): Buffer[] {
    const before = this.wal.filter(({ lsn }) => lsn < transaction.lsn);
    const done: Change[] = [];
    return transaction.changes.map((change) => {
      if (change.t === 'trunc') {
        done.push(change);
        return frames.truncate([OID]);
      }
      const old = fold([...before, { ...transaction, changes: done }]).get(change.k);
      done.push(change);
      const to = change.t === 'move' ? change.to : change.k;
      const next = fold([...before, { ...transaction, changes: done }]).get(to);
      const oldValues = old && [String(change.k), ...old];
      if (!next) return frames.remove(OID, oldValues!, 'O');
      if (!oldValues) return frames.insert(OID, [String(to), ...next]);
      return frames.update(OID, [String(to), ...next], { kind: 'O', values: oldValues });
    });
  }
}

function frameOf(change: Change): Buffer {
  switch (change.t) {
    case 'put':
      if (change.insert) return frames.insert(OID, [String(change.k), ...change.row]);
      return frames.update(OID, [String(change.k), ...change.row]);
    case 'part':
      return frames.update(OID, [String(change.k), change.a, undefined]);
    case 'move':
      return frames.update(OID, [String(change.to), change.a, undefined], { kind: 'K', values: [String(change.k), null, null] });
    case 'del':
      return frames.remove(OID, [String(change.k), null, null]);
    default:
      return frames.truncate([OID]);
  }
}

function fold(transactions: readonly Transaction[]): Map<number, Row> {
  const rows = new Map<number, Row>();
  for (const { changes } of transactions) {
    for (const change of changes) {
      if (change.t === 'trunc') rows.clear();
      else if (change.t === 'del') rows.delete(change.k);
      else if (change.t === 'put') rows.set(change.k, change.row);
      else {
        const row = rows.get(change.k);
        if (change.t === 'move') rows.delete(change.k);
        if (row) rows.set(change.t === 'move' ? change.to : change.k, [change.a, row[1]]);
      }
    }
  }
  return rows;
}

export function dumpRows(rows: ReadonlyMap<number, Row>): string[] {
  return [...rows].map(([k, [a, b]]) => JSON.stringify([String(k), a, b])).toSorted();
}
