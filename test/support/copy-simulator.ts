/**
 * One world of the copy from one seed: a source with invisible commits, a stream, a log with a durable prefix, crashes; the copier's real
 * code for windows, guard, plan, records and frames in between. Guarantee: the same seed gives the same run. What a perfect sink shows is
 * told by RawReplica, and after copy complete it must equal the source at every commit.
 */
import { setImmediate } from 'node:timers/promises';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { RowSpool } from '#connectors/source/row-spool.ts';
import { FRAME, encodeJsonFrame, type OurMessage } from '#schemas/frame/frame.ts';
import { type Lsn, minLsn, toLsn } from '#schemas/lsn.ts';
import { decodeBegin, decodeMessage, decodeRelation, decodeTruncate, TAG } from '#schemas/pgoutput/message.ts';
import type { Snapshot } from '#schemas/snapshot.ts';
import type { CatalogColumn, CatalogTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { copyLine } from '#schemas/value/copy-text.ts';
import { Attempt } from '#services/reader/copy/attempt.ts';
import { ControlJournal } from '#services/reader/copy/control-journal.ts';
import { type CopyRecord, decodeCopyRecord } from '#services/reader/copy/control-record.ts';
import { restoreMemory } from '#services/reader/copy/copier.ts';
import { CopyLedger } from '#services/reader/copy/copy-ledger.ts';
import { CopyPlan } from '#services/reader/copy/copy-plan.ts';
import { CopyTable } from '#services/reader/copy/copy-table.ts';
import { KeyQueue } from '#services/reader/copy/key-queue.ts';
import { StreamSide } from '#services/reader/copy/stream-side.ts';
import type { VisibilityMemory } from '#services/reader/copy/visibility.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { identityMapping } from './copy-world.ts';
import * as frames from './frames.ts';
import type { Random } from './random.ts';
import { RawReplica } from './raw-replica.ts';

const OID = 4000;
const KEYS = 8;
const FIRST_XID = 0xfffffff0; // the low 32 bits wrap soon
/** One commit's end is the next one's start. */
const LSN_STEP = 8;

type Row = readonly [a: string, b: string];
type Change =
  | { readonly t: 'put'; readonly k: number; readonly row: Row; readonly insert: boolean }
  | { readonly t: 'part'; readonly k: number; readonly a: string }
  | { readonly t: 'move'; readonly k: number; readonly to: number; readonly a: string }
  | { readonly t: 'del'; readonly k: number }
  | { readonly t: 'trunc' };

interface Transaction {
  readonly lsn: Lsn;
  readonly end: Lsn;
  readonly xid: number;
  readonly changes: readonly Change[];
  readonly message?: OurMessage;
  visible: boolean;
}

interface Read {
  readonly snapshot: Snapshot;
  readonly rows: ReadonlyMap<number, Row>;
  readonly missing: readonly string[];
}

/** An append becomes durable when the simulation says so. */
class SlowTopic {
  readonly durable: Buffer[] = [];
  #waiting: { readonly parts: readonly Buffer[]; readonly done: () => void }[] = [];

  append(_partition: number, batch: { readonly parts: readonly Buffer[] }): Promise<{ baseOffset: Offset; endOffset: Offset }> {
    const { promise, resolve } = Promise.withResolvers<{ baseOffset: Offset; endOffset: Offset }>();
    this.#waiting.push({ parts: batch.parts, done: () => resolve({ baseOffset: 0, endOffset: 0 }) });
    return promise;
  }

  sync(): void {
    for (const { parts, done } of this.#waiting.splice(0)) {
      for (let i = 1; i < parts.length; i += 2) this.durable.push(parts[i]!);
      done();
    }
  }

  crash(): void {
    this.#waiting = [];
  }
}

export class CopySimulation {
  readonly #random: Random;
  readonly #wal: Transaction[] = [];
  readonly #progress = new SlowTopic();
  #value = 0;
  // The log.
  readonly #raw: Buffer[] = [];
  #rawDurable = 0;
  #durableEnd: Lsn = toLsn(0n);
  #confirmed: Lsn = toLsn(0n);
  // What a crash takes away.
  #plan!: CopyPlan;
  #memory!: VisibilityMemory;
  #stream!: StreamSide;
  #ledger!: CopyLedger;
  #table!: CopyTable;
  #at = 0;
  #lastCommit: Lsn = toLsn(-0n);
  #relationSent = false;
  #ends: { readonly end: Lsn; readonly length: number }[] = [];
  readonly #reads = new Map<Attempt, Read | undefined>();
  #attempts = 0;
  #ids = 0;
  readonly #catalog: CatalogTable;

  constructor(random: Random, options: { readonly keyless: boolean }) {
    this.#random = random;
    this.#catalog = catalogOf(options.keyless);
    for (let i = 0; i < 6; i++) {
      this.#write();
      for (const transaction of this.#wal) transaction.visible = true;
    }
    // The slot is made here: nothing below is streamed.
    this.#confirmed = this.#end();
    this.#durableEnd = this.#confirmed;
    this.#at = this.#wal.length;
    this.#start();
  }

  /** Runs to the end. @returns what is wrong, if anything. */
  async run(steps: number): Promise<string | undefined> {
    const acts: readonly (readonly [number, () => void])[] = [
      [6, () => this.#write()],
      [6, () => this.#showOne()],
      [4, () => this.#begin()],
      [5, () => this.#readOne()],
      [5, () => this.#finishOne()],
      [10, () => this.#receive()],
      [5, () => this.#sync()],
      [4, () => this.#progress.sync()],
      [2, () => this.#confirm()],
      [2, () => void this.#ledger.remember(this.#snapshot())],
      [1, () => this.#crash()],
      [1, () => this.#reconnect()],
    ];
    const bag = acts.flatMap(([weight, act]) => Array.from({ length: weight }, () => act));
    for (let i = 0; i < steps; i++) {
      bag[this.#random.between(0, bag.length - 1)]!();
      await setImmediate();
    }
    return this.#quiesce();
  }

  async #quiesce(): Promise<string | undefined> {
    for (let i = 0; i < 300; i++) {
      for (const transaction of this.#wal) transaction.visible = true;
      for (const act of [this.#begin, this.#readOne, this.#finishOne]) act.call(this);
      while (this.#at < this.#wal.length) this.#receive();
      this.#sync();
      void this.#ledger.remember(this.#snapshot());
      this.#progress.sync();
      await setImmediate();
      if (this.#plan.isIdle() && this.#plan.isCompleteRecorded && this.#at === this.#wal.length) return this.#judge();
      if (this.#stream.hasNews) this.#commit([], { kind: 'heartbeat', name: 'sim', id: String(i) }).visible = true;
    }
    return `did not come to rest: ${this.#table.state}`;
  }

  /** Folds the log; from copy complete on the table must be the source's at each commit. */
  #judge(): string | undefined {
    const replica = new RawReplica([{ schema: 'public', name: 'doc', oid: OID, key: this.#keyColumns(), leaves: new Set() }]);
    let commit: Lsn | undefined;
    for (const frame of this.#raw) {
      if (frame[0] === TAG.begin) commit = decodeBegin(frame).commitLsn;
      replica.take(frame);
      if (frame[0] !== TAG.commit || replica.copyCompletes === 0) continue;
      const shown = replica.dump('doc', ['k', 'a', 'b']).join();
      const wanted = dump(this.#stateAt(commit!)).join();
      if (shown !== wanted) return `at ${commit}: ${shown} instead of ${wanted}`;
    }
    const wanted = dump(this.#stateAt(this.#end())).join();
    const shown = replica.dump('doc', ['k', 'a', 'b']).join();
    if (replica.copyCompletes === 0) return 'copy complete never came';
    return shown === wanted ? undefined : `in the end: ${shown} instead of ${wanted}`;
  }

  // --- the source ---

  #keyColumns(): readonly string[] {
    return this.#catalog.primaryKey?.columns ?? [];
  }

  #end(): Lsn {
    return toLsn(BigInt(this.#wal.length * LSN_STEP));
  }

  #commit(changes: readonly Change[], message?: OurMessage): Transaction {
    const lsn = this.#end();
    const transaction: Transaction = {
      lsn,
      end: toLsn(lsn + BigInt(LSN_STEP)),
      xid: FIRST_XID + this.#wal.length,
      changes,
      visible: false,
      ...(message && { message }),
    };
    this.#wal.push(transaction);
    return transaction;
  }

  #write(): void {
    const r = this.#random;
    const hidden = this.#wal.filter((transaction) => !transaction.visible);
    const free = (k: number): boolean => hidden.every(({ changes }) => changes.every((c) => c.t !== 'trunc' && c.k !== k && !(c.t === 'move' && c.to === k)));
    if (hidden.length === 0 && r.chance(0.03)) {
      const after: Change[] = r.chance(0.5) ? [{ t: 'put', k: r.between(0, KEYS - 1), row: this.#row(), insert: true }] : [];
      this.#commit([{ t: 'trunc' }, ...after]);
      return;
    }
    const now = fold(this.#wal.filter((transaction) => transaction.visible));
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
    if (changes.length > 0) this.#commit(changes);
  }

  #row(): Row {
    return [String(++this.#value), `b\t${++this.#value}`];
  }

  #showOne(): void {
    const hidden = this.#wal.filter((transaction) => !transaction.visible);
    if (hidden.length > 0) hidden[this.#random.between(0, hidden.length - 1)]!.visible = true;
  }

  #snapshot(): Snapshot {
    const running = this.#wal.filter((transaction) => !transaction.visible).map(({ xid }) => xid);
    const xmax = FIRST_XID + this.#wal.length;
    return { xmin: Math.min(xmax, ...running), xmax, running: new Set(running) };
  }

  #stateAt(lsn: Lsn): Map<number, Row> {
    return fold(this.#wal.filter((transaction) => transaction.lsn <= lsn));
  }

  // --- the copier ---

  #start(): void {
    const records = this.#progress.durable.map((payload) => decodeCopyRecord(payload)!);
    this.#plan = new CopyPlan('smallest-first');
    this.#table = new CopyTable(identityMapping(this.#catalog), this.#catalog, { chunkRows: 3, chunkTargetMs: 100, keys: new KeyQueue('doc') });
    this.#plan.add(this.#table);
    for (const record of records) this.#plan.restore(record);
    this.#plan.settle();
    this.#memory = restoreMemory(records);
    const journal = new ControlJournal(this.#progress as unknown as Topic, silentLogger);
    const stream: StreamSide = new StreamSide(this.#plan, this.#memory, {
      onChunkDurable: (attempt, recorded) => void ledger.chunkDurable(attempt, recorded),
      onCopyCompleteDurable: (lsn) => void ledger.copyCompleteDurable(lsn),
      onMovedKey: (table, key, cause) => ledger.movedKey(table, key, cause),
      onLeafTruncated: (table, cause) => ledger.leafTruncated(table, cause),
      onRelation: () => undefined,
      onTruncated: () => undefined,
      onVoid: (attempt) => {
        this.#reads.delete(attempt);
        this.#plan.giveBack(attempt.work);
      },
    });
    const ledger = new CopyLedger({
      journal,
      plan: this.#plan,
      memory: this.#memory,
      logger: silentLogger,
      changed: () => undefined,
      holdSlot: (lsn) => stream.holdSlot(lsn),
      makeId: () => `id${++this.#ids}`,
    });
    this.#stream = stream;
    this.#ledger = ledger;
    stream.track(this.#table);
    this.#memory.prune(this.#snapshot());
    this.#connect();
  }

  #begin(): void {
    if (this.#reads.size >= 3) return;
    const step = this.#plan.next();
    if (!step) return;
    let work = step.kind === 'chunk' ? step.work : undefined;
    if (step.kind === 'plan') {
      const after = Number(step.job.rangeAfter(step.part).after?.[0] ?? -1);
      const last = !this.#table.isKeyless && after < KEYS - 3 && this.#random.chance(0.8);
      const planned = step.job.plan(step.part, last ? [String(after + 3)] : undefined)!;
      void this.#journalOf(planned.record);
      work = { table: this.#table, chunk: planned.chunk };
    }
    const attempt = new Attempt(`a${++this.#attempts}`, work!, { hold: this.#memory.hold(), spoolDirectory: '/nowhere' });
    this.#stream.register(attempt);
    this.#reads.set(attempt, undefined);
    this.#commit([], this.#mark(attempt, 'low')).visible = true;
  }

  #journalOf(record: CopyRecord): Promise<unknown> {
    return this.#progress.append(0, { parts: [Buffer.alloc(4), Buffer.from(JSON.stringify(record))] });
  }

  #mark(attempt: Attempt, kind: 'low' | 'high'): OurMessage {
    return { kind, name: 'sim', chunk: attempt.work.chunk.id, attempt: attempt.id };
  }

  #readOne(): void {
    for (const [attempt, read] of this.#reads) {
      if (read) continue;
      const { chunk } = attempt.work;
      const state = fold(this.#wal.filter((transaction) => transaction.visible));
      const wanted = (k: number): boolean => {
        if (chunk.kind === 'keys') return chunk.keys.includes(String(k));
        return (chunk.after === null || k > Number(chunk.after[0])) && (chunk.upTo === null || k <= Number(chunk.upTo[0]));
      };
      const rows = new Map([...state].filter(([k]) => wanted(k)));
      const missing = chunk.kind === 'keys' ? chunk.keys.filter((key) => !rows.has(Number(key))) : [];
      const snapshot = this.#snapshot();
      attempt.hold.snapshot = snapshot;
      this.#reads.set(attempt, { snapshot, rows, missing });
      return;
    }
  }

  /** Judges a chunk that was read, as chunk-reader.ts does, and writes its high watermark. */
  #finishOne(): void {
    for (const [attempt, read] of this.#reads) {
      if (!read || attempt.state !== 'open' || attempt.rows) continue;
      if (guarded('visibility') && this.#memory.refuse(read.snapshot, attempt.before) !== undefined) {
        this.#reads.set(attempt, undefined);
        return;
      }
      const spool = new RowSpool('/nowhere/never', 1 << 20);
      for (const [k, row] of read.rows) spool.add(Buffer.from(copyLine([String(k), ...row])), 1);
      attempt.rows = { spool, snapshot: read.snapshot, missing: read.missing };
      this.#reads.delete(attempt);
      this.#commit([], this.#mark(attempt, 'high')).visible = true;
      return;
    }
  }

  // --- the follower ---

  #connect(): void {
    this.#stream.onStreamRestart();
    this.#raw.push(encodeJsonFrame(FRAME.epoch, { epoch: 1, systemId: '', timeline: 1 }));
    this.#at = this.#wal.findIndex(({ lsn }) => lsn >= this.#confirmed);
    if (this.#at < 0) this.#at = this.#wal.length;
    this.#relationSent = false;
  }

  #receive(): void {
    const transaction = this.#wal[this.#at];
    if (!transaction) return;
    this.#at++;
    const { lsn, end, xid } = transaction;
    const skipping = lsn <= this.#lastCommit;
    const put = (frame: Buffer): void => void (skipping || this.#raw.push(frame));
    const begin = frames.begin(lsn, xid % 4_294_967_296);
    this.#stream.onBegin(decodeBegin(begin));
    put(begin);
    for (const frame of this.#framesOf(transaction)) {
      this.#offer(frame, lsn);
      put(frame);
    }
    if (skipping) return;
    for (const record of this.#stream.recordsBeforeCommit(lsn)) this.#raw.push(Buffer.concat(record));
    this.#raw.push(frames.commit(lsn, end));
    this.#lastCommit = lsn;
    if (transaction.message) for (const record of this.#stream.recordsAfterCommit(end)) this.#raw.push(Buffer.concat(record));
    this.#ends.push({ end, length: this.#raw.length });
  }

  #framesOf(transaction: Transaction): Buffer[] {
    if (transaction.message) return [frames.ourMessage(transaction.message)];
    const made = this.#table.isKeyless ? this.#wholeFrames(transaction) : transaction.changes.map(frameOf);
    if (this.#relationSent) return made;
    this.#relationSent = true;
    const columns = ['k', 'a', 'b'].map((name) => ({ name, key: name === 'k' }));
    return [frames.relation({ oid: OID, name: 'doc', columns, identity: this.#table.isKeyless ? 'f' : 'd' }), ...made];
  }

  /** REPLICA IDENTITY FULL: every change carries the row before it. */
  #wholeFrames(transaction: Transaction): Buffer[] {
    const before = this.#wal.filter(({ lsn }) => lsn < transaction.lsn);
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

  #offer(frame: Buffer, lsn: Lsn): void {
    if (frame[0] === TAG.relation) {
      this.#relation = decodeRelation(frame);
      this.#stream.onRelation(this.#relation);
    } else if (frame[0] === TAG.message) {
      const message = decodeMessage(frame);
      this.#stream.onMessage(JSON.parse(message.content.toString()) as OurMessage, message, lsn);
    } else if (frame[0] === TAG.truncate) this.#stream.onTruncate(decodeTruncate(frame));
    else if (this.#stream.isTracked(OID)) this.#stream.onChange(frame, this.#relation!);
  }

  #relation: ReturnType<typeof decodeRelation> | undefined;

  #sync(): void {
    const last = this.#ends.at(-1);
    if (!last) return;
    this.#ends = [];
    this.#rawDurable = last.length;
    this.#durableEnd = last.end;
    this.#stream.onDurable(last.end);
  }

  #confirm(): void {
    const ceiling = this.#stream.slotCeiling();
    const end = ceiling === undefined ? this.#durableEnd : minLsn(this.#durableEnd, ceiling);
    if (end > this.#confirmed) this.#confirmed = end;
  }

  /** Everything not durable is lost, but for what happened to be written of the batch under way. */
  #crash(): void {
    this.#raw.length = this.#random.between(this.#rawDurable, this.#raw.length);
    this.#lastCommit = toLsn(0n);
    this.#durableEnd = this.#confirmed;
    for (const frame of this.#raw) {
      if (frame[0] !== TAG.commit) continue;
      this.#lastCommit = toLsn(frame.readBigUInt64BE(2));
      this.#durableEnd = toLsn(frame.readBigUInt64BE(10));
    }
    this.#rawDurable = this.#raw.length;
    this.#ends = [];
    this.#reads.clear();
    this.#progress.crash();
    this.#start();
  }

  /** The stream breaks; the process lives. What was appended stays. */
  #reconnect(): void {
    this.#sync();
    this.#connect();
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
    case 'trunc':
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

function dump(rows: ReadonlyMap<number, Row>): string[] {
  return [...rows].map(([k, [a, b]]) => JSON.stringify([String(k), a, b])).toSorted();
}

function catalogOf(keyless: boolean): CatalogTable {
  const column = (name: string): CatalogColumn => ({
    name,
    typeOid: 25,
    typmod: -1,
    type: 'text',
    baseType: 'text',
    typtype: 'b',
    builtin: true,
    elementOid: 0,
    notNull: false,
    generated: '',
    identity: '',
    hasDefault: false,
    typeLength: -1,
  });
  return {
    oid: OID,
    schema: 'public',
    name: 'doc',
    kind: 'r',
    columns: ['k', 'a', 'b'].map(column),
    ...(!keyless && { primaryKey: { indexName: 'doc_pkey', columns: ['k'] } }),
    uniqueKeys: [],
    replicaIdentity: keyless ? 'f' : 'd',
    foreignKeys: [],
    triggers: [],
    unlogged: false,
    rowEstimate: 8,
    bytes: 100,
    relfilenode: 1,
    rowSecurity: false,
    leaves: [],
  };
}
