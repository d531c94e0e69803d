/**
 * A reader's place in one partition. Guarantee: delivers every stored batch from the one that holds its offset on, once, in order, as
 * the port's length-prefixed records; a call that its signal ended loses nothing.
 */
import { invariant } from '#schemas/errors.ts';
import type { Cursor, Offset, ReadBatch } from '../change-log.ts';
import type { TopicPartition } from './cluster.ts';
import type { FetchSession } from './fetch-session.ts';
import type { KafkaJsCluster } from './kafka-cluster.ts';
import { readBatches, type StoredBatch } from './record-reader.ts';

export interface KafkaCursorOptions {
  readonly place: TopicPartition;
  readonly from: Offset;
  readonly bounds: { start: Offset; end: Offset };
  refresh(): Promise<void>;
  onClose(): void;
}

export class KafkaCursor implements Cursor {
  readonly #options: KafkaCursorOptions;
  readonly #session: FetchSession<StoredBatch[]>;
  readonly #closing = new AbortController();
  #at: Offset;
  #fetched: StoredBatch[] = [];
  #busy = false;

  constructor(cluster: KafkaJsCluster, options: KafkaCursorOptions) {
    const { bounds, place } = options;
    this.#options = options;
    this.#at = options.from;
    this.#session = cluster.session<StoredBatch[]>(
      (bytes, from) => {
        const { batches, next } = readBatches(bytes, from, place);
        return { value: batches, next };
      },
      (_, start, end) => {
        bounds.start = Math.max(bounds.start, start);
        bounds.end = Math.max(bounds.end, end);
      },
    );
    this.#session.seek(place, options.from);
  }

  async next(signal: AbortSignal): Promise<ReadBatch | undefined> {
    return this.#alone(() => this.#next(signal));
  }

  async poll(): Promise<ReadBatch | undefined> {
    return this.#alone(async () => {
      if (this.#fetched.length === 0) {
        if (this.#at >= this.#options.bounds.end && !this.#closing.signal.aborted) await this.#options.refresh();
        if (this.#at >= this.#options.bounds.end) return undefined;
      }
      return this.#next(this.#closing.signal);
    });
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#options.onClose();
    await this.#session.close();
  }

  async #alone<T>(call: () => Promise<T>): Promise<T> {
    invariant(!this.#busy, 'one call at a time on a cursor');
    this.#busy = true;
    try {
      return await call();
    } finally {
      this.#busy = false;
    }
  }

  async #next(signal: AbortSignal): Promise<ReadBatch | undefined> {
    while (!signal.aborted && !this.#closing.signal.aborted) {
      const batch = this.#fetched.shift();
      if (batch !== undefined) return this.#deliver(batch);
      const got = await this.#session.next(signal);
      for (const { value } of got ?? []) this.#fetched.push(...value);
    }
    return undefined;
  }

  #deliver(batch: StoredBatch): ReadBatch {
    const values = batch.all().map((record) => record.value ?? EMPTY);
    const bytes = Buffer.allocUnsafeSlow(values.reduce((sum, value) => sum + 4 + value.length, 0));
    let at = 0;
    for (const value of values) {
      at = bytes.writeUInt32BE(value.length, at);
      bytes.set(value, at);
      at += value.length;
    }
    this.#at = batch.nextOffset;
    return { baseOffset: batch.baseOffset, count: values.length, bytes };
  }
}

const EMPTY = Buffer.alloc(0);
