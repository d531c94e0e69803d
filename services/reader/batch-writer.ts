/**
 * What the follower appends to the raw log. Guarantee: records are appended in the order in which they were added, one batch gathering while
 * another is under way; `durable` is never above a commit whose every record is durable; and what is not durable yet stays bounded: above
 * the bound the socket is paused.
 */
import { maxLsn, type Lsn } from '#schemas/lsn.ts';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { BatchBuilder } from './batch-builder.ts';

/** A batch is appended when it has grown to this, even while another append is under way. */
const BATCH_BYTES = 1 << 20;
/** Above this much not yet durable the socket is paused; below half of it, it goes on. */
const MAX_PENDING_BYTES = 8 << 20;

export interface BatchWriterOptions {
  readonly raw: Topic;
  /** What is in the log already. */
  readonly durable: { readonly end: Lsn; readonly commit: Lsn };
  readonly onDurable: (end: Lsn) => void;
  readonly pause: () => void;
  readonly resume: () => void;
  readonly fail: (error: unknown) => void;
}

interface BatchEnd {
  readonly end: Lsn;
  readonly commit: Lsn;
  /** Raw offset behind the commit and what belongs to it. */
  readonly offset: Offset;
}

export class BatchWriter {
  readonly #options: BatchWriterOptions;
  readonly #batch = new BatchBuilder();
  #nextOffset: Offset;
  #durable: BatchEnd;
  #inFlight = 0;
  #pendingBytes = 0;
  #isPaused = false;
  /** Somebody else is waited for: room does not start the stream again. */
  #isHeld = false;
  #isClosed = false;
  #whenSettled: (() => void) | undefined;
  #whenRoom: (() => void) | undefined;
  /** Last whole commit in the batch being gathered. */
  #batchEnd: BatchEnd | undefined;
  /** Appends wait for this: relation records have to be durable before the rows that need them. */
  #gate: Promise<unknown> | undefined;

  constructor(options: BatchWriterOptions) {
    this.#options = options;
    this.#nextOffset = options.raw.end(0);
    this.#durable = { ...options.durable, offset: this.#nextOffset };
  }

  get durable(): BatchEnd {
    return this.#durable;
  }

  /** Nothing is gathered, under way, or held back. */
  get isEmpty(): boolean {
    return this.#inFlight === 0 && this.#batch.count === 0 && this.#gate === undefined;
  }

  /** Of the record that is added next. */
  get nextOffset(): Offset {
    return this.#nextOffset + this.#batch.count;
  }

  get isFull(): boolean {
    return this.#pendingBytes + this.#batch.bytes > MAX_PENDING_BYTES;
  }

  add(message: Buffer): void {
    this.#batch.add(message);
  }

  addParts(parts: readonly Buffer[]): void {
    this.#batch.addParts(parts);
  }

  /** To be called behind any record within a transaction. */
  flushIfLarge(): void {
    if (this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  /** All records of the commit were added. */
  committed(end: Lsn, commit: Lsn): void {
    this.#batchEnd = { end, commit, offset: this.nextOffset };
    if (this.#inFlight === 0 || this.#batch.bytes >= BATCH_BYTES) this.#flush();
  }

  /** There is nothing to append up to `end`; it counts once nothing before it is pending. */
  passed(end: Lsn): void {
    if (this.isEmpty) this.#durable = { ...this.#durable, end: maxLsn(this.#durable.end, end) };
  }

  holdFor(durable: Promise<unknown>): void {
    const gate = Promise.all([this.#gate, durable]);
    this.#gate = gate;
    gate.then(
      () => {
        if (this.#gate !== gate) return;
        this.#gate = undefined;
        if (this.#batch.count > 0) this.#flush();
      },
      (error: unknown) => this.#options.fail(error),
    );
  }

  /** Resolves once less than half the bound is pending. */
  room(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenRoom = resolve;
    this.#pressure();
    return promise;
  }

  /** The stream stands still until `release`. */
  hold(): void {
    this.#isHeld = true;
    if (!this.#isPaused) this.#options.pause();
    this.#isPaused = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#pressure();
  }

  /** Nothing is appended from here on. */
  close(): void {
    this.#isClosed = true;
    this.#whenRoom?.();
  }

  /** Of a closed one: resolves once what was under way is durable or has failed. */
  async settled(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#whenSettled = resolve));
  }

  #flush(): void {
    if (this.#gate || this.#isClosed || this.#batch.count === 0) {
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
        this.#oneSettled();
        this.#options.fail(error);
      },
    );
    this.#pressure();
  }

  #oneSettled(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#whenSettled?.();
  }

  #appended(bytes: number, end: BatchEnd | undefined): void {
    this.#oneSettled();
    this.#pendingBytes -= bytes;
    if (this.#isClosed) return;
    if (end) {
      this.#durable = { ...end, end: maxLsn(this.#durable.end, end.end) };
      this.#options.onDurable(end.end);
    }
    if (this.#inFlight === 0 && this.#batchEnd) this.#flush();
    this.#pressure();
  }

  #pressure(): void {
    const pending = this.#pendingBytes + this.#batch.bytes;
    const hasRoom = pending < MAX_PENDING_BYTES / 2;
    if (!this.#isPaused && pending > MAX_PENDING_BYTES) {
      this.#isPaused = true;
      this.#options.pause();
    } else if (this.#isPaused && !this.#isHeld && hasRoom) {
      this.#isPaused = false;
      this.#options.resume();
    }
    if (!hasRoom) return;
    this.#whenRoom?.();
    this.#whenRoom = undefined;
  }
}
