/**
 * WAL → raw log. Guarantee: the log gets every committed transaction of the publication whole, once and in commit order, and
 * `durableEnd` is never above the end of a commit whose every record is durable.
 *
 * If the process dies here: what was appended after the last whole commit is voided by the next start's epoch record and appended
 * again; whole commits are recognised by their commit LSN and not appended again.
 */
import {
  decodeBegin,
  decodeCommit,
  decodeMessage,
  decodeRelation,
  decodeTruncate,
  relationOid,
  TAG,
  type Commit,
  type Relation,
} from '#schemas/pgoutput/message.ts';
import { decodeOurMessage, MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { maxLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import type { CopyHooks, CopyRecords } from './copy/copy-port.ts';
import { BatchBuilder } from './batch-builder.ts';
import type { RelationRecord } from './control-records.ts';

/** A batch is appended when it has grown to this, even while another append is under way. */
const BATCH_BYTES = 1 << 20;
/** Above this much not yet durable the socket is paused; below half of it, it goes on. */
const MAX_PENDING_BYTES = 8 << 20;

export interface FollowOptions {
  readonly name: string;
  readonly raw: Topic;
  readonly progress: Topic;
  readonly copy: CopyHooks;
  /** Commits at or below this are in the log already. */
  readonly lastCommit: Lsn;
  /** Exclusive end of that commit, or the slot's confirmed LSN at the start. */
  readonly durableEnd: Lsn;
  readonly pause: () => void;
  readonly resume: () => void;
  /** An append or a control record failed: the session must end and start again from what is durable. */
  readonly fail: (error: unknown) => void;
}

interface BatchEnd {
  readonly end: Lsn;
  readonly commit: Lsn;
  /** Raw offset behind the commit and what belongs to it. */
  readonly offset: Offset;
}

export class Follower {
  readonly #options: FollowOptions;
  readonly #batch = new BatchBuilder();
  readonly #relations = new Map<number, Relation>();
  #nextOffset: Offset;
  #beginFrame: Buffer = Buffer.alloc(0);
  #commitLsn: Lsn = ZERO_LSN;
  #inTransaction = false;
  /** The open transaction's Begin is in the log's batches. */
  #opened = false;
  #skipping = false;
  #hasOurMessage = false;
  #lastCommit: Lsn;
  #receivedEnd: Lsn;
  #durableEnd: Lsn;
  #durableCommit: Lsn;
  #durableOffset: Offset;
  #inFlight = 0;
  #pendingBytes = 0;
  #paused = false;
  /** Failed or closed: nothing more is appended or told to the copy. */
  #failed = false;
  #whenSettled: (() => void) | undefined;
  /** Rows of a huge chunk are being put in; the stream waits. */
  #draining = false;
  readonly #backlog: Buffer[] = [];
  #whenRoom: (() => void) | undefined;
  /** Last whole commit in the batch being gathered. */
  #batchEnd: BatchEnd | undefined;
  /** Appends wait for this: relation records have to be durable before the rows that need them. */
  #gate: Promise<unknown> | undefined;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#nextOffset = options.raw.end(0);
    this.#lastCommit = options.lastCommit;
    this.#durableCommit = options.lastCommit;
    this.#receivedEnd = options.durableEnd;
    this.#durableEnd = options.durableEnd;
    this.#durableOffset = this.#nextOffset;
  }

  /** Exclusive end of the last commit whose every record is durable; keepalives raise it while nothing is pending. */
  get durableEnd(): Lsn {
    return this.#durableEnd;
  }

  get durableCommit(): Lsn {
    return this.#durableCommit;
  }

  /** Raw offset just behind the last durable commit. */
  get durableOffset(): Offset {
    return this.#durableOffset;
  }

  get receivedEnd(): Lsn {
    return this.#receivedEnd;
  }

  /**
   * Nothing is appended from here on; resolves once what was under way is durable or has failed. Before that the log's tail says nothing:
   * a next session would append again what is about to become durable, or find this one's records behind its epoch record.
   */
  async close(): Promise<void> {
    this.#failed = true;
    this.#whenRoom?.();
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#whenSettled = resolve));
  }

  onMessage(message: Buffer): void {
    if (this.#failed) return;
    if (this.#draining) this.#backlog.push(Buffer.from(message));
    else this.#take(message);
  }

  #take(message: Buffer): void {
    switch (message[0]) {
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        this.#change(message);
        return;
      case TAG.begin:
        this.#onBegin(message);
        return;
      case TAG.commit:
        this.#onCommit(message);
        return;
      case TAG.relation:
        this.#onRelation(message);
        return;
      case TAG.truncate:
        this.#add(message);
        this.#options.copy.onTruncate(decodeTruncate(message));
        return;
      case TAG.message:
        this.#onLogicalMessage(message);
        return;
      case TAG.origin:
      case TAG.type:
        if (this.#inTransaction) this.#add(message);
        return;
      default:
        throw new PipelineError(
          'CF-2001',
          `unknown pgoutput message ${String.fromCharCode(message[0] ?? 0)}: the server speaks another protocol version`,
        );
    }
  }

  /** The server has sent everything up to `end`: while nothing is pending the slot may move there. */
  onKeepalive(end: Lsn): void {
    this.#receivedEnd = maxLsn(this.#receivedEnd, end);
    if (this.#inTransaction || this.#inFlight > 0 || this.#batch.count > 0 || this.#gate) return;
    this.#durableEnd = maxLsn(this.#durableEnd, end);
  }

  #change(message: Buffer): void {
    this.#add(message);
    const { copy } = this.#options;
    const oid = relationOid(message);
    if (copy.isTracked(oid)) copy.onChange(message, this.#relation(oid));
    if (this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  /** One record of the open transaction. Begin is written with the first one, so empty transactions leave nothing. */
  #add(message: Buffer): void {
    if (this.#skipping) return;
    if (!this.#opened) {
      this.#batch.add(this.#beginFrame);
      this.#opened = true;
    }
    this.#batch.add(message);
  }

  #onBegin(message: Buffer): void {
    invariant(!this.#inTransaction, 'a transaction begins inside another');
    const begin = decodeBegin(message);
    this.#inTransaction = true;
    this.#opened = false;
    this.#hasOurMessage = false;
    this.#skipping = begin.commitLsn <= this.#lastCommit;
    this.#commitLsn = begin.commitLsn;
    this.#beginFrame = Buffer.from(message);
    this.#options.copy.onBegin(begin);
  }

  #onCommit(message: Buffer): void {
    const commit = decodeCommit(message);
    this.#receivedEnd = maxLsn(this.#receivedEnd, commit.endLsn);
    if (this.#hasOurMessage && !this.#skipping) void this.#addCopied(Buffer.from(message), commit);
    else this.#endTransaction(message, commit, []);
  }

  #endTransaction(message: Buffer, commit: Commit, recordsAfter: CopyRecords): void {
    this.#inTransaction = false;
    if (this.#skipping || !this.#opened) {
      // Nothing of it is for the log: it is durable as soon as all before it is.
      if (!this.#skipping && this.#batch.count === 0 && this.#inFlight === 0) this.#durableEnd = maxLsn(this.#durableEnd, commit.endLsn);
      this.#skipping = false;
      return;
    }
    this.#batch.add(message);
    this.#lastCommit = commit.commitLsn;
    for (const record of recordsAfter) this.#batch.addParts(record);
    this.#batchEnd = { end: commit.endLsn, commit: commit.commitLsn, offset: this.#nextOffset + this.#batch.count };
    if (this.#inFlight === 0 || this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  /**
   * Chunk rows go in before their high watermark's commit. A huge chunk comes from a spool file piece by piece: what the stream gives
   * meanwhile waits in `#backlog`, which the paused socket bounds.
   */
  async #addCopied(message: Buffer, commit: Commit): Promise<void> {
    const { copy } = this.#options;
    try {
      for (const record of copy.recordsBeforeCommit(commit.commitLsn)) {
        this.#batch.addParts(record);
        if (this.#batch.bytes >= BATCH_BYTES) this.#flush();
        if (this.#pending() <= MAX_PENDING_BYTES) continue;
        this.#draining = true;
        await this.#room();
        if (this.#failed) return;
      }
      this.#endTransaction(message, commit, copy.recordsAfterCommit(commit.endLsn));
      this.#draining = false;
      for (let next = this.#backlog.shift(); next; next = this.#backlog.shift()) {
        this.#take(next);
        if (this.#draining) return;
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #pending(): number {
    return this.#pendingBytes + this.#batch.bytes;
  }

  /** Resolves once less than half the bound is pending. */
  #room(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenRoom = resolve;
    this.#pressure();
    return promise;
  }

  #onRelation(message: Buffer): void {
    const relation = decodeRelation(message);
    this.#relations.set(relation.oid, relation);
    this.#options.copy.onRelation(relation);
    if (this.#skipping || !this.#inTransaction) return;
    this.#add(message);
    const offset = this.#nextOffset + this.#batch.count - 1;
    const record: RelationRecord = { t: 'relation', offset, oid: relation.oid, frame: message.toString('base64') };
    this.#holdFor(appendControl(this.#options.progress, record));
  }

  #onLogicalMessage(message: Buffer): void {
    const decoded = decodeMessage(message);
    if (decoded.prefix !== MESSAGE_PREFIX || !decoded.transactional || !this.#inTransaction) return;
    const our = decodeOurMessage(decoded.content, this.#options.name);
    if (our === undefined) return;
    this.#add(message);
    this.#hasOurMessage = true;
    this.#options.copy.onMessage(our, decoded, this.#commitLsn);
  }

  #relation(oid: number): Relation {
    const relation = this.#relations.get(oid);
    invariant(relation, `a change of relation ${oid} came before its description`);
    return relation;
  }

  #holdFor(durable: Promise<unknown>): void {
    const gate = Promise.all([this.#gate, durable]);
    this.#gate = gate;
    gate.then(
      () => {
        if (this.#gate !== gate) return;
        this.#gate = undefined;
        if (this.#batch.count > 0) this.#flush();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #flush(): void {
    if (this.#gate || this.#failed || this.#batch.count === 0) {
      this.#pressure();
      return;
    }
    const bytes = this.#batch.bytes;
    const batch = this.#batch.take();
    const end = this.#batchEnd;
    this.#batchEnd = undefined;
    this.#nextOffset += batch.count;
    this.#inFlight++;
    this.#pendingBytes += bytes;
    this.#options.raw.append(0, batch).then(
      () => this.#appended(bytes, end),
      (error: unknown) => {
        this.#settled();
        this.#fail(error);
      },
    );
    this.#pressure();
  }

  #settled(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#whenSettled?.();
  }

  #appended(bytes: number, end: BatchEnd | undefined): void {
    this.#settled();
    this.#pendingBytes -= bytes;
    if (this.#failed) return;
    if (end) {
      this.#durableEnd = maxLsn(this.#durableEnd, end.end);
      this.#durableCommit = end.commit;
      this.#durableOffset = end.offset;
      this.#options.copy.onDurable(end.end);
    }
    if (this.#inFlight === 0 && this.#batchEnd) this.#flush();
    this.#pressure();
  }

  #pressure(): void {
    const pending = this.#pending();
    if (!this.#paused && pending > MAX_PENDING_BYTES) {
      this.#paused = true;
      this.#options.pause();
    } else if (this.#paused && pending < MAX_PENDING_BYTES / 2) {
      this.#paused = false;
      this.#options.resume();
    }
    if (!this.#whenRoom || pending >= MAX_PENDING_BYTES / 2) return;
    this.#whenRoom();
    this.#whenRoom = undefined;
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#whenRoom?.();
    this.#options.fail(error);
  }
}

/** Appends one JSON control record; resolves with its offset once durable. */
export async function appendControl(topic: Topic, record: unknown): Promise<Offset> {
  const payload = Buffer.from(JSON.stringify(record), 'utf8');
  const prefix = Buffer.allocUnsafe(4);
  prefix.writeUInt32BE(payload.length);
  const { baseOffset } = await topic.append(0, { count: 1, parts: [prefix, payload] });
  return baseOffset;
}
