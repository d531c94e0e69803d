/**
 * WAL → raw log. Guarantee: the log gets every committed transaction of the publication whole, once and in commit order, but for those
 * that are left out (left-out.ts), of which it gets no row; and `durableEnd` is never above the end of a commit whose every record is
 * durable.
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
import { goesAstray, guarded } from '#schemas/test-hooks.ts';
import { maxLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import type { CopyHooks, CopyRecords } from './copy/copy-port.ts';
import { BatchWriter } from './batch-writer.ts';
import type { RelationRecord } from './control-records.ts';
import { type Leaving, OriginScreen, type RowOwner } from './left-out.ts';

export interface FollowOptions extends Leaving {
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

export class Follower {
  readonly #options: FollowOptions;
  readonly #log: BatchWriter;
  readonly #relations = new Map<number, Relation>();
  /** Descriptions that the log gets before the first change that needs them. */
  readonly #undescribed = new Map<number, Buffer>();
  readonly #origins: OriginScreen;
  #beginFrame: Buffer = Buffer.alloc(0);
  #commitLsn: Lsn = ZERO_LSN;
  #inTransaction = false;
  /** The open transaction's Begin is in the log's batches. */
  #opened = false;
  #skipping = false;
  /** Rows of the open transaction are not for the log. */
  #leavesOut = false;
  /** Whether it does is known: rows have come. */
  #isDecided = false;
  /** Whether rows of ours are taken is known. */
  #isAnswered = false;
  /** By relation, where somebody counts what others write. */
  #foreign: Map<string, number> | undefined;
  #hasOurMessage = false;
  #lastCommit: Lsn;
  #receivedEnd: Lsn;
  /** Failed or closed: nothing more is appended or told to the copy. */
  #failed = false;
  /** Rows of a huge chunk are being put in, or somebody is asked; the stream waits. */
  #draining = false;
  readonly #backlog: Buffer[] = [];

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#origins = new OriginScreen(options.ignoreOrigins ?? []);
    this.#lastCommit = options.lastCommit;
    this.#receivedEnd = options.durableEnd;
    this.#log = new BatchWriter({
      raw: options.raw,
      durable: { end: options.durableEnd, commit: options.lastCommit },
      onDurable: (end) => options.copy.onDurable(end),
      pause: options.pause,
      resume: options.resume,
      fail: (error) => this.#fail(error),
    });
  }

  /** Exclusive end of the last commit whose every record is durable; keepalives raise it while nothing is pending. */
  get durableEnd(): Lsn {
    return this.#log.durable.end;
  }

  get durableCommit(): Lsn {
    return this.#log.durable.commit;
  }

  /** Raw offset just behind the last durable commit. */
  get durableOffset(): Offset {
    return this.#log.durable.offset;
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
    this.#log.close();
    await this.#log.settled();
  }

  onMessage(message: Buffer): void {
    if (this.#failed) return;
    const astray = goesAstray();
    const arrived = astray === undefined ? message : astray('reader', message);
    if (arrived === undefined) return;
    if (this.#draining) this.#backlog.push(Buffer.from(arrived));
    else this.#take(arrived);
  }

  #take(message: Buffer): void {
    switch (message[0]) {
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
      case TAG.truncate:
        this.#onRows(message);
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
      case TAG.message:
        this.#onLogicalMessage(message);
        return;
      case TAG.origin:
        this.#leavesOut ||= !this.#isDecided && this.#origins.leavesOutOrigin(message);
        return;
      case TAG.type:
        // Nobody reads it: the catalogues say more.
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
    if (!this.#inTransaction) this.#log.passed(end);
  }

  #onRows(message: Buffer): void {
    const { foreign } = this.#options;
    this.#isDecided = true;
    // For nobody, whoever serves and whatever is being copied: nothing is asked, counted or given up for them.
    if (this.#ownerOf(message) === 'others') return;
    const isFirst = !this.#isAnswered;
    this.#isAnswered = true;
    if (!isFirst || foreign === undefined || this.#leavesOut || this.#skipping || foreign.areTaken() || !guarded('foreign')) {
      this.#change(message);
      return;
    }
    const first = Buffer.from(message);
    this.#meanwhile(foreign.ask(), (areTaken) => {
      this.#leavesOut = !areTaken;
      if (!areTaken) this.#foreign = new Map();
      this.#change(first);
    });
  }

  #change(message: Buffer): void {
    const { copy } = this.#options;
    const isTruncate = message[0] === TAG.truncate;
    if (this.#leavesOut) {
      for (const oid of isTruncate ? decodeTruncate(message).oids : [relationOid(message)]) this.#leaveOut(oid, message);
      return;
    }
    if (isTruncate) {
      const truncate = decodeTruncate(message);
      for (const oid of truncate.oids) this.#describe(oid);
      this.#add(message);
      copy.onTruncate(truncate);
      return;
    }
    const oid = relationOid(message);
    if (this.#undescribed.size > 0) this.#describe(oid);
    this.#add(message);
    if (copy.isTracked(oid)) copy.onChange(message, this.#relation(oid));
    this.#log.flushIfLarge();
  }

  /** A chunk that is being read cannot be completed by a change that the log does not get. */
  #leaveOut(oid: number, message: Buffer): void {
    if (this.#foreign !== undefined && this.#ownerOf(message) === 'ours') {
      const { schema, name } = this.#relation(oid);
      const table = `${schema}.${name}`;
      this.#foreign.set(table, (this.#foreign.get(table) ?? 0) + 1);
    }
    if (this.#options.copy.isTracked(oid)) this.#options.copy.onLeftOut(oid);
  }

  #ownerOf(message: Buffer): RowOwner {
    const { whose } = this.#options;
    if (whose === undefined || message[0] === TAG.truncate) return 'ours';
    const relation = this.#relations.get(relationOid(message));
    return relation === undefined ? 'unknown' : whose(relation, message);
  }

  /** One record of the open transaction. Begin is written with the first one, so empty transactions leave nothing. */
  #add(message: Buffer): void {
    if (this.#skipping) return;
    if (!this.#opened) {
      this.#log.add(this.#beginFrame);
      this.#opened = true;
    }
    this.#log.add(message);
  }

  #onBegin(message: Buffer): void {
    invariant(!this.#inTransaction, 'a transaction begins inside another');
    const begin = decodeBegin(message);
    this.#inTransaction = true;
    this.#opened = false;
    this.#hasOurMessage = false;
    this.#leavesOut = false;
    this.#isDecided = false;
    this.#isAnswered = false;
    this.#foreign = undefined;
    this.#skipping = begin.commitLsn <= this.#lastCommit;
    this.#commitLsn = begin.commitLsn;
    this.#beginFrame = Buffer.from(message);
    this.#options.copy.onBegin(begin);
  }

  #onCommit(message: Buffer): void {
    const commit = decodeCommit(message);
    this.#receivedEnd = maxLsn(this.#receivedEnd, commit.endLsn);
    const changes = this.#foreign;
    if (changes !== undefined && changes.size > 0) {
      const end = Buffer.from(message);
      // Before anything newer: a start that reads the transaction again knows by its place that it was counted.
      this.#meanwhile(this.#options.foreign!.leftOut({ commitLsn: commit.commitLsn, changes }), () =>
        this.#endTransaction(end, commit, []),
      );
    } else if (this.#hasOurMessage && !this.#skipping) void this.#addCopied(Buffer.from(message), commit);
    else this.#endTransaction(message, commit, []);
  }

  #endTransaction(message: Buffer, commit: Commit, recordsAfter: CopyRecords): void {
    this.#inTransaction = false;
    if (this.#skipping || !this.#opened) {
      // Nothing of it is for the log: it is durable as soon as all before it is.
      if (!this.#skipping) this.#log.passed(commit.endLsn);
      this.#skipping = false;
      return;
    }
    this.#log.add(message);
    this.#lastCommit = commit.commitLsn;
    for (const record of recordsAfter) this.#log.addParts(record);
    this.#log.committed(commit.endLsn, commit.commitLsn);
  }

  /**
   * Chunk rows go in before their high watermark's commit. A huge chunk comes from a spool file piece by piece: what the stream gives
   * meanwhile waits in `#backlog`, which the paused socket bounds.
   */
  async #addCopied(message: Buffer, commit: Commit): Promise<void> {
    const { copy } = this.#options;
    try {
      for (const record of copy.recordsBeforeCommit(commit.commitLsn)) {
        this.#log.addParts(record);
        this.#log.flushIfLarge();
        if (!this.#log.isFull) continue;
        this.#draining = true;
        await this.#log.room();
        if (this.#failed) return;
      }
      this.#endTransaction(message, commit, copy.recordsAfterCommit(commit.endLsn));
      this.#takeBacklog();
    } catch (error) {
      this.#fail(error);
    }
  }

  #takeBacklog(): void {
    this.#draining = false;
    for (let next = this.#backlog.shift(); next; next = this.#backlog.shift()) {
      this.#take(next);
      if (this.#draining) return;
    }
  }

  /** What the stream gives until the answer is there waits, and the socket is paused as for want of room. */
  #meanwhile<T>(asked: Promise<T>, answered: (answer: T) => void): void {
    this.#draining = true;
    this.#log.hold();
    const goOn = (answer: T): void => {
      if (this.#failed) return;
      answered(answer);
      this.#log.release();
      this.#takeBacklog();
    };
    asked.then(goOn).catch((error: unknown) => this.#fail(error));
  }

  #onRelation(message: Buffer): void {
    const relation = decodeRelation(message);
    this.#relations.set(relation.oid, relation);
    this.#options.copy.onRelation(relation);
    if (this.#inTransaction) this.#undescribed.set(relation.oid, Buffer.from(message));
  }

  /** The stream describes a relation once: that may have been in a transaction of which the log has nothing. */
  #describe(oid: number): void {
    const message = this.#undescribed.get(oid);
    if (message === undefined || this.#skipping) return;
    this.#undescribed.delete(oid);
    this.#add(message);
    const offset = this.#log.nextOffset - 1;
    const record: RelationRecord = { t: 'relation', offset, oid, frame: message.toString('base64') };
    this.#log.holdFor(appendControl(this.#options.progress, record));
  }

  #onLogicalMessage(message: Buffer): void {
    const decoded = decodeMessage(message);
    if (decoded.prefix !== MESSAGE_PREFIX || !decoded.transactional || !this.#inTransaction) return;
    const our = decodeOurMessage(decoded.content, this.#options.name);
    if (our === undefined) {
      this.#leavesOut ||= !this.#isDecided && this.#origins.leavesOutMessage(decoded);
      return;
    }
    this.#add(message);
    this.#hasOurMessage = true;
    this.#options.copy.onMessage(our, decoded, this.#commitLsn);
  }

  #relation(oid: number): Relation {
    const relation = this.#relations.get(oid);
    invariant(relation, `a change of relation ${oid} came before its description`);
    return relation;
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#log.close();
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
