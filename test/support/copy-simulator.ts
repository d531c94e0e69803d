/**
 * One world of the copy from one seed: a source with invisible commits, a stream, a log with a durable prefix, crashes; the copier's real
 * code for windows, guard, plan, records and frames in between. Guarantee: the same seed gives the same run. What a perfect sink shows is
 * told by RawReplica, and after copy complete it must equal the source at every commit. Rows of the first copy never pass as asked for.
 */
import { setImmediate } from 'node:timers/promises';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { RowSpool } from '#connectors/source/row-spool.ts';
import { decodeChunkRows, FRAME, encodeJsonFrame, type OurMessage } from '#schemas/frame/frame.ts';
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
import { dumpRows, KEYS, OID, type Row, SimulatedSource } from './simulated-source.ts';
import { RawReplica } from './raw-replica.ts';

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
  readonly #source: SimulatedSource;
  readonly #progress = new SlowTopic();
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
  #ends: { readonly end: Lsn; readonly length: number }[] = [];
  readonly #reads = new Map<Attempt, Read | undefined>();
  #attempts = 0;
  #ids = 0;
  readonly #catalog: CatalogTable;

  constructor(random: Random, options: { readonly keyless: boolean }) {
    this.#random = random;
    this.#catalog = catalogOf(options.keyless);
    this.#source = new SimulatedSource(random, options.keyless);
    // The slot is made here: nothing below is streamed.
    this.#confirmed = this.#source.end();
    this.#durableEnd = this.#confirmed;
    this.#at = this.#source.wal.length;
    this.#start();
  }

  /** Runs to the end. @returns what is wrong, if anything. */
  async run(steps: number): Promise<string | undefined> {
    const acts: readonly (readonly [number, () => void])[] = [
      [6, () => this.#source.write()],
      [4, () => this.#source.showOne()],
      [4, () => this.#begin()],
      [5, () => this.#readOne()],
      [5, () => this.#finishOne()],
      [10, () => this.#receive()],
      [5, () => this.#sync()],
      [6, () => this.#progress.sync()],
      [4, () => this.#confirm()],
      [4, () => void this.#ledger.remember(this.#source.snapshot())],
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
      this.#source.showAll();
      this.#begin();
      this.#readOne();
      this.#finishOne();
      while (this.#at < this.#source.wal.length) this.#receive();
      this.#sync();
      void this.#ledger.remember(this.#source.snapshot());
      this.#progress.sync();
      await setImmediate();
      if (this.#plan.isIdle() && this.#plan.isCompleteRecorded && this.#at === this.#source.wal.length) return this.#judge();
      if (this.#stream.hasNews) this.#source.commit([], { kind: 'heartbeat', name: 'sim', id: String(i) }).visible = true;
    }
    return `did not come to rest: ${this.#table.state}`;
  }

  /** Folds the log; from copy complete on the table must be the source's at each commit. */
  #judge(): string | undefined {
    const replica = new RawReplica([
      { schema: 'public', name: 'doc', oid: OID, key: this.#catalog.primaryKey?.columns ?? [], leaves: new Set() },
    ]);
    let commit: Lsn | undefined;
    for (const frame of this.#raw) {
      if (frame[0] === TAG.begin) commit = decodeBegin(frame).commitLsn;
      replica.take(frame);
      if (frame[0] === FRAME.chunkRows) {
        const { chunk, asked } = decodeChunkRows(frame).header;
        if ((asked === true) === chunk.startsWith('initial:')) return `${chunk} passes ${asked === true ? '' : 'not '}as asked for`;
      }
      if (frame[0] !== TAG.commit || replica.copyCompletes === 0) continue;
      const shown = replica.dump('doc', ['k', 'a', 'b']).join();
      const wanted = dumpRows(this.#source.stateAt(commit!)).join();
      if (shown !== wanted) return `at ${commit}: ${shown} instead of ${wanted}`;
    }
    const wanted = dumpRows(this.#source.stateAt(this.#source.end())).join();
    const shown = replica.dump('doc', ['k', 'a', 'b']).join();
    if (replica.copyCompletes === 0) return 'copy complete never came';
    return shown === wanted ? undefined : `in the end: ${shown} instead of ${wanted}`;
  }

  // --- the copier ---

  #start(): void {
    const records = this.#progress.durable.map((payload) => decodeCopyRecord(payload)!);
    this.#plan = new CopyPlan('smallest-first');
    this.#table = new CopyTable([identityMapping(this.#catalog)], this.#catalog, {
      chunkRows: 3,
      chunkTargetMs: 100,
      isWhole: false,
      keys: new KeyQueue('doc'),
    });
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
    this.#memory.prune(this.#source.snapshot());
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
    this.#source.commit([], this.#mark(attempt, 'low')).visible = true;
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
      const state = this.#source.visibleState();
      const wanted = (k: number): boolean => {
        if (chunk.kind === 'keys') return chunk.keys.includes(String(k));
        return (chunk.after === null || k > Number(chunk.after[0])) && (chunk.upTo === null || k <= Number(chunk.upTo[0]));
      };
      const rows = new Map([...state].filter(([k]) => wanted(k)));
      const missing = chunk.kind === 'keys' ? chunk.keys.filter((key) => !rows.has(Number(key))) : [];
      const snapshot = this.#source.snapshot();
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
      this.#source.commit([], this.#mark(attempt, 'high')).visible = true;
      return;
    }
  }

  // --- the follower ---

  #connect(): void {
    this.#stream.onStreamRestart();
    this.#raw.push(encodeJsonFrame(FRAME.epoch, { epoch: 1, systemId: '', timeline: 1 }));
    this.#at = this.#source.wal.findIndex(({ lsn }) => lsn >= this.#confirmed);
    if (this.#at < 0) this.#at = this.#source.wal.length;
    this.#source.connect();
  }

  #receive(): void {
    const transaction = this.#source.wal[this.#at];
    if (!transaction) return;
    this.#at++;
    const { lsn, end, xid } = transaction;
    const skipping = lsn <= this.#lastCommit;
    const put = (frame: Buffer): void => void (skipping || this.#raw.push(frame));
    const begin = frames.begin(lsn, xid % 4_294_967_296);
    this.#stream.onBegin(decodeBegin(begin));
    put(begin);
    for (const frame of this.#source.framesOf(transaction)) {
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
