/**
 * The copier as the follower sees it: what the stream does while chunks are open. Guarantee: every change between a chunk's two
 * watermarks is in its window, rows go into the log inside the high watermark's transaction, and the slot is held below every commit
 * whose consequence is not durable.
 */
import { encodeJsonFrame, FRAME, type CopyCompleteFrame, type OurMessage, type TableStateFrame } from '#schemas/frame/frame.ts';
import { formatLsn, minLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import type { Begin, LogicalMessage, Relation, Truncate } from '#schemas/pgoutput/message.ts';
import type { Attempt } from './attempt.ts';
import { chunkFrames, deletesFrame, type ChunkIdentity } from './chunk-frames.ts';
import type { CopyHooks, CopyRecords } from './copy-port.ts';
import type { CopyPlan } from './copy-plan.ts';
import type { CopyTable } from './copy-table.ts';
import { replaceFrames } from './replace-frames.ts';
import { TableTracker } from './table-tracker.ts';
import type { VisibilityMemory } from './visibility.ts';

/** What the stream side asks of the rest of the copier; all of it returns at once. */
export interface StreamSideEvents {
  /** The rows of a chunk are durable. Calls back when its record is too. */
  readonly onChunkDurable: (attempt: Attempt, recorded: () => void) => void;
  readonly onCopyCompleteDurable: (lsn: Lsn) => void;
  /** A key change with absent columns: the new key is copied again. `cause` is the commit that the slot must not pass before. */
  readonly onMovedKey: (table: CopyTable, key: string, cause: Lsn) => void;
  /** Some but not all leaves were truncated. */
  readonly onLeafTruncated: (table: CopyTable, cause: Lsn) => void;
  readonly onRelation: (table: CopyTable, relation: Relation, commit: Lsn) => void;
  readonly onTruncated: (oid: number) => void;
  /** An attempt was given up: its chunk is to be read again. */
  readonly onVoid: (attempt: Attempt) => void;
}

export class StreamSide implements CopyHooks {
  readonly #plan: CopyPlan;
  readonly #memory: VisibilityMemory;
  readonly #events: StreamSideEvents;
  readonly #attempts = new Map<string, Attempt>();
  readonly #trackers = new Map<number, TableTracker>();
  /** Attempts whose rows are in the log and not yet durable, in log order. */
  #delivered: Attempt[] = [];
  /** Causes whose consequence is not yet durable. */
  readonly #causes = new Set<{ readonly lsn: Lsn }>();
  #begin: Begin | undefined;
  #lows: Attempt[] = [];
  #highs: Attempt[] = [];
  #completeEnd: Lsn | undefined;
  #isOwn = false;
  /** After a start the log may hold commits that these hooks have not seen (again): the slot must not jump over them. */
  #isRedelivering = true;
  #heartbeats = 0;

  constructor(plan: CopyPlan, memory: VisibilityMemory, events: StreamSideEvents) {
    this.#plan = plan;
    this.#memory = memory;
    this.#events = events;
  }

  /** The commit that the stream is at. */
  get position(): Lsn {
    return this.#begin?.commitLsn ?? ZERO_LSN;
  }

  /** Heartbeats of ours that have passed. */
  get heartbeats(): number {
    return this.#heartbeats;
  }

  attempts(): readonly Attempt[] {
    return [...this.#attempts.values()];
  }

  /** Bytes of rows that wait in memory for their high watermark or for the log. */
  heldBytes(): number {
    let bytes = 0;
    for (const attempt of this.#attempts.values()) bytes += attempt.rows?.spool.memoryBytes ?? 0;
    for (const attempt of this.#delivered) bytes += attempt.rows?.spool.memoryBytes ?? 0;
    return bytes;
  }

  /** To be called before the low watermark is written, or its window could begin late. */
  register(attempt: Attempt): void {
    this.#attempts.set(attempt.id, attempt);
  }

  /** Follows a table's relations (again). */
  track(table: CopyTable): void {
    for (const oid of table.oids()) {
      if (this.#trackers.get(oid)?.table === table) continue;
      this.#trackers.set(oid, new TableTracker(table, oid, (key, cause) => this.#events.onMovedKey(table, key, cause)));
    }
  }

  untrack(oid: number): void {
    this.#trackers.delete(oid);
  }

  /** The slot stays below `lsn` until the function given back is called. */
  holdSlot(lsn: Lsn): () => void {
    const cause = { lsn };
    this.#causes.add(cause);
    return () => void this.#causes.delete(cause);
  }

  /** Gives an attempt up; its chunk is ready again. @returns false when that came too late or twice. */
  void(attempt: Attempt, reason: string): boolean {
    if (!attempt.void(reason)) return false;
    this.#forget(attempt);
    this.#delivered = this.#delivered.filter((other) => other !== attempt);
    this.#highs = this.#highs.filter((other) => other !== attempt);
    this.#events.onVoid(attempt);
    return true;
  }

  voidTable(table: CopyTable, reason: string, oid?: number): void {
    for (const attempt of this.attempts()) {
      if (attempt.work.table === table && (oid === undefined || attempt.oids.includes(oid))) this.void(attempt, reason);
    }
  }

  /** Gives up the chunks that read the whole tree. */
  voidTree(table: CopyTable, reason: string): void {
    for (const attempt of this.attempts())
      if (attempt.work.table === table && attempt.work.chunk.kind !== 'range') this.void(attempt, reason);
  }

  // --- hooks ---

  onBegin(begin: Begin): void {
    this.#begin = begin;
    this.#isOwn = false;
    this.#lows = [];
    this.#highs = [];
    this.#memory.onBegin(begin.xid, begin.commitLsn);
  }

  onRelation(relation: Relation): void {
    const tracker = this.#trackers.get(relation.oid);
    if (tracker) this.#events.onRelation(tracker.table, relation, this.position);
  }

  isTracked(oid: number): boolean {
    return this.#trackers.get(oid)?.isActive ?? false;
  }

  onChange(message: Buffer, relation: Relation): void {
    const tracker = this.#trackers.get(relation.oid);
    const problem = tracker?.onChange(message, relation, this.#begin!);
    if (tracker && problem !== undefined) this.voidTable(tracker.table, problem, relation.oid);
  }

  onTruncate(truncate: Truncate): void {
    const tables = new Set<CopyTable>();
    for (const oid of truncate.oids) {
      const tracker = this.#trackers.get(oid);
      if (!tracker) continue;
      tables.add(tracker.table);
      this.#events.onTruncated(oid);
    }
    for (const table of tables) this.#truncateTable(table, new Set(truncate.oids));
  }

  onLeftOut(oid: number): void {
    const tracker = this.#trackers.get(oid);
    if (tracker !== undefined && tracker.windows.size > 0) this.voidTable(tracker.table, 'a change that is left out came in between', oid);
  }

  #truncateTable(table: CopyTable, oids: ReadonlySet<number>): void {
    const whole = !table.partitioned || table.leaves.every((leaf) => oids.has(leaf.oid));
    for (const attempt of this.attempts()) {
      if (attempt.work.table !== table || attempt.state !== 'open') continue;
      if (attempt.work.chunk.kind === 'range' ? oids.has(attempt.oids[0]!) : whole) {
        attempt.window.onTruncate();
        attempt.kept?.add(this.#begin!.xid, undefined);
      } else if (attempt.work.chunk.kind !== 'range') this.void(attempt, 'one of the leaves was truncated');
    }
    if (!whole && table.state !== 'waiting') this.#events.onLeafTruncated(table, this.position);
  }

  onMessage(our: OurMessage, _message: LogicalMessage, _commitLsn: Lsn): void {
    if (our.kind === 'heartbeat') this.#heartbeats++;
    if (our.kind !== 'low' && our.kind !== 'high') return;
    if (!this.#isOwn) {
      // A transaction of watermarks changes no row: the guard need not know it.
      this.#isOwn = true;
      this.#memory.forget(this.position);
    }
    const attempt = this.#attempts.get(our.attempt);
    if (!attempt) return;
    if (our.kind === 'low') {
      if (attempt.state !== 'opening') return;
      attempt.opened(this.#memory.streamed());
      this.#memory.release(attempt.hold);
      for (const oid of attempt.oids) this.#trackers.get(oid)?.windows.add(attempt);
      this.#lows.push(attempt);
    } else if (attempt.state === 'open' && attempt.rows) {
      if (attempt.cannotTellMissing) this.void(attempt, 'a missing key may have been written meanwhile');
      else this.#highs.push(attempt);
    }
  }

  recordsBeforeCommit(commitLsn: Lsn): CopyRecords {
    const highs = this.#highs;
    this.#highs = [];
    const records = highs.map((attempt) => {
      attempt.delivered(commitLsn);
      this.#forget(attempt);
      this.#delivered.push(attempt);
      this.#plan.deliver(attempt.work);
      return framesOf(attempt);
    });
    return flatten(records);
  }

  recordsAfterCommit(endLsn: Lsn): CopyRecords {
    // Called for commits that are appended, never for those that the log holds already: all of those have been seen.
    this.#isRedelivering = false;
    for (const attempt of this.#delivered) attempt.highEnd ??= endLsn;
    for (const { work } of this.#lows) if (work.chunk.kind !== 'keys') work.chunk.job.begun = true;
    this.#lows = [];
    const frames = this.#plan
      .tables()
      .filter((table) => table.state !== table.announced)
      .map(announce);
    if (!this.#plan.isComplete && this.#plan.isEverythingDelivered()) {
      this.#plan.isComplete = true;
      this.#completeEnd = endLsn;
      frames.push(encodeJsonFrame(FRAME.copyComplete, { lsn: formatLsn(endLsn) } satisfies CopyCompleteFrame));
    }
    return frames.map((frame) => [frame]);
  }

  onDurable(endLsn: Lsn): void {
    while (this.#delivered[0]?.highEnd !== undefined && this.#delivered[0].highEnd <= endLsn) {
      const attempt = this.#delivered.shift()!;
      const release = this.holdSlot(attempt.highLsn!);
      attempt.close();
      this.#events.onChunkDurable(attempt, release);
    }
    if (this.#completeEnd !== undefined && this.#completeEnd <= endLsn) {
      const lsn = this.#completeEnd;
      this.#completeEnd = undefined;
      this.#events.onCopyCompleteDurable(lsn);
    }
  }

  onStreamRestart(): void {
    for (const attempt of [...this.#attempts.values(), ...this.#delivered]) this.void(attempt, 'the stream was interrupted');
    this.#lows = [];
    this.#begin = undefined;
    this.#isRedelivering = true;
    // What was handed out may be lost: it is announced again, which is harmless.
    for (const table of this.#plan.tables()) table.announced = 'waiting';
    if (this.#completeEnd !== undefined) {
      this.#completeEnd = undefined;
      this.#plan.isComplete = false;
    }
  }

  slotCeiling(): Lsn | undefined {
    if (this.#isRedelivering) return ZERO_LSN;
    let ceiling = this.#memory.firstUncovered();
    const lower = (lsn: Lsn): void => void (ceiling = ceiling === undefined ? lsn : minLsn(ceiling, lsn));
    for (const attempt of this.#delivered) lower(attempt.highLsn!);
    for (const cause of this.#causes) lower(cause.lsn);
    return ceiling;
  }

  /** True while something waits for a commit of ours to be announced with. */
  get hasNews(): boolean {
    return (
      this.#plan.tables().some((table) => table.state !== table.announced && table.state !== 'waiting') ||
      (!this.#plan.isComplete && this.#plan.isEverythingDelivered())
    );
  }

  #forget(attempt: Attempt): void {
    this.#attempts.delete(attempt.id);
    this.#memory.release(attempt.hold);
    for (const oid of attempt.oids) this.#trackers.get(oid)?.windows.delete(attempt);
  }
}

function announce(table: CopyTable): Buffer {
  table.announced = table.state;
  const { schema, name, state, rowsEstimated, error } = table;
  return encodeJsonFrame(FRAME.tableState, {
    schema,
    table: name,
    state,
    rowsEstimated,
    ...(error !== undefined && { error }),
  } satisfies TableStateFrame);
}

function framesOf(attempt: Attempt): CopyRecords {
  const { table, chunk } = attempt.work;
  const rows = attempt.rows!;
  const id: ChunkIdentity = {
    chunk: chunk.id,
    schema: table.schema,
    table: table.name,
    columns: attempt.columns,
    keyColumns: table.keyColumns,
    recopy: chunk.kind === 'keys' || chunk.repeated,
    asked: chunk.kind === 'keys' || chunk.job.kind !== 'initial',
  };
  if (chunk.kind === 'replace') return replaceFrames(id, { rows: rows.spool, snapshot: rows.snapshot, kept: attempt.kept ?? [] });
  const frames = chunkFrames(id, rows.spool, attempt.window);
  if (chunk.kind === 'range') return frames;
  const deleted = rows.missing.filter((key) => !attempt.window.touched(key));
  return deleted.length > 0 ? flatten([[deletesFrame(id, deleted)], frames]) : frames;
}

function* flatten(all: readonly CopyRecords[]): Generator<readonly Buffer[]> {
  for (const records of all) yield* records;
}
