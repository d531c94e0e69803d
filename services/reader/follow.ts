/**
 * WAL → raw log. Guarantee: the log gets every committed transaction of the publication whole, once and in commit order, and
 * `durableEnd` is never above the end of a commit whose every record is durable.
 *
 * If the process dies here: what was appended after the last whole commit is voided by the next start's epoch record and appended
 * again; whole commits are recognised by their commit LSN and not appended again.
 */
import { decodeBegin, decodeCommit, decodeMessage, decodeRelation, decodeTruncate, relationOid, TAG, type Begin, type Relation } from '#schemas/pgoutput/message.ts';
import { MESSAGE_PREFIX, type OurMessage } from '#schemas/frame/frame.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { maxLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import type { CopyHooks } from './copy/copy-port.ts';
import { BatchBuilder } from './batch-builder.ts';
import type { RelationRecord } from './control-records.ts';

/** A batch is appended when it has grown to this, even while another append is under way. */
const BATCH_BYTES = 1 << 20;
/** Above this much not yet durable the socket is paused; below half of it, it goes on. */
const MAX_PENDING_BYTES = 16 << 20;

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
  #begin: Begin | undefined;
  #beginFrame: Buffer = Buffer.alloc(0);
  #inTransaction = false;
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
  #failed = false;
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

  onMessage(message: Buffer): void {
    switch (message[0]) {
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        if (!this.#skipping) this.#change(message);
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
        if (this.#skipping) return;
        this.#open();
        this.#batch.add(message);
        this.#options.copy.onTruncate(decodeTruncate(message));
        return;
      case TAG.message:
        this.#onLogicalMessage(message);
        return;
      case TAG.origin:
      case TAG.type:
        if (this.#skipping || !this.#inTransaction) return;
        this.#open();
        this.#batch.add(message);
        return;
      default:
        throw new PipelineError('CF-2001', `unknown pgoutput message ${String.fromCharCode(message[0] ?? 0)}: the server speaks another protocol version`);
    }
  }

  /** The server has sent everything up to `end`: while nothing is pending the slot may move there. */
  onKeepalive(end: Lsn): void {
    this.#receivedEnd = maxLsn(this.#receivedEnd, end);
    if (this.#inTransaction || this.#inFlight > 0 || this.#batch.count > 0 || this.#gate) return;
    this.#durableEnd = maxLsn(this.#durableEnd, end);
  }

  #change(message: Buffer): void {
    this.#open();
    this.#batch.add(message);
    const { copy } = this.#options;
    const oid = relationOid(message);
    if (copy.isTracked(oid)) copy.onChange(message, this.#relation(oid));
    if (this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  /** Begin is written with the transaction's first record, so empty transactions leave nothing. */
  #open(): void {
    if (this.#inTransaction && this.#begin) {
      this.#batch.add(this.#beginFrame);
      this.#begin = undefined;
    }
  }

  #onBegin(message: Buffer): void {
    invariant(!this.#inTransaction, 'a transaction begins inside another');
    const begin = decodeBegin(message);
    this.#inTransaction = true;
    this.#hasOurMessage = false;
    this.#skipping = begin.commitLsn <= this.#lastCommit;
    this.#begin = begin;
    this.#beginFrame = Buffer.from(message);
    this.#options.copy.onBegin(begin);
  }

  #onCommit(message: Buffer): void {
    const { copy } = this.#options;
    const commit = decodeCommit(message);
    this.#inTransaction = false;
    this.#receivedEnd = maxLsn(this.#receivedEnd, commit.endLsn);
    if (this.#skipping) {
      this.#skipping = false;
      return;
    }
    if (this.#hasOurMessage) for (const record of copy.recordsBeforeCommit(commit.commitLsn)) this.#addRecord(record);
    if (this.#begin) {
      // Nothing of the transaction is for us. It is durable as soon as all before it is.
      this.#begin = undefined;
      if (this.#batch.count === 0 && this.#inFlight === 0) this.#durableEnd = maxLsn(this.#durableEnd, commit.endLsn);
      return;
    }
    this.#batch.add(message);
    this.#lastCommit = commit.commitLsn;
    if (this.#hasOurMessage) for (const record of copy.recordsAfterCommit(commit.endLsn)) this.#batch.addParts(record);
    this.#batchEnd = { end: commit.endLsn, commit: commit.commitLsn, offset: this.#nextOffset + this.#batch.count };
    if (this.#inFlight === 0 || this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  #addRecord(parts: readonly Buffer[]): void {
    this.#batch.addParts(parts);
    if (this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  #onRelation(message: Buffer): void {
    const relation = decodeRelation(message);
    this.#relations.set(relation.oid, relation);
    this.#options.copy.onRelation(relation);
    if (this.#skipping || !this.#inTransaction) return;
    this.#open();
    const record: RelationRecord = { t: 'relation', offset: this.#nextOffset + this.#batch.count, oid: relation.oid, frame: message.toString('base64') };
    this.#batch.add(message);
    this.#holdFor(appendControl(this.#options.progress, record));
  }

  #onLogicalMessage(message: Buffer): void {
    const decoded = decodeMessage(message);
    if (decoded.prefix !== MESSAGE_PREFIX || !decoded.transactional || this.#skipping || !this.#begin && !this.#inTransaction) return;
    const our = JSON.parse(decoded.content.toString('utf8')) as OurMessage;
    if (our.name !== this.#options.name) return;
    const commitLsn = this.#begin?.commitLsn ?? this.#openCommit;
    this.#open();
    this.#batch.add(message);
    this.#hasOurMessage = true;
    this.#options.copy.onMessage(our, decoded, commitLsn);
  }

  get #openCommit(): Lsn {
    return this.#beginFrame.length > 0 ? decodeBegin(this.#beginFrame).commitLsn : ZERO_LSN;
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
      (error: unknown) => this.#fail(error),
    );
    this.#pressure();
  }

  #appended(bytes: number, end: BatchEnd | undefined): void {
    this.#inFlight--;
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
    const pending = this.#pendingBytes + this.#batch.bytes;
    if (!this.#paused && pending > MAX_PENDING_BYTES) {
      this.#paused = true;
      this.#options.pause();
    } else if (this.#paused && pending < MAX_PENDING_BYTES / 2) {
      this.#paused = false;
      this.#options.resume();
    }
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
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
