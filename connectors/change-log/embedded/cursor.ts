/**
 * A reader's place in one partition. Guarantee: delivers every durable batch from its offset on, once, in order, each verified; never
 * anything that is not durable. The hot tail comes from memory, the rest from the files, by windows read ahead.
 */
import type { Cursor, Offset, ReadBatch } from '#connectors/change-log/change-log.ts';
import { invariant } from '#schemas/errors.ts';
import { HEADER_BYTES } from './batch.ts';
import type { LogFile } from './file-system.ts';
import type { Partition } from './partition.ts';
import { damaged, headerAt, payloadAt, SegmentReader, type Segment } from './segment.ts';

/** A consumer that holds on to one small batch holds on to its window. */
const WINDOW_BYTES = 1024 * 1024;

interface OpenSegment {
  readonly segment: Segment;
  readonly file: LogFile;
  readonly reader: SegmentReader;
  position: number;
}

export class FileCursor implements Cursor {
  readonly #partition: Partition;
  readonly #onClose: () => void;
  #at: Offset;
  #open: OpenSegment | undefined;
  #busy = false;
  #closed = false;

  constructor(partition: Partition, from: Offset, onClose: () => void) {
    this.#partition = partition;
    this.#at = from;
    this.#onClose = onClose;
  }

  async next(signal: AbortSignal): Promise<ReadBatch | undefined> {
    while (!signal.aborted && !this.#ended) {
      const batch = await this.poll();
      if (batch !== undefined) return batch;
      // Others ran while the poll was awaited: what they changed is looked at again, with nothing between the look and the wait.
      if (this.#at === this.#partition.end && !this.#ended && !signal.aborted) await this.#partition.changed(signal);
    }
    return undefined;
  }

  async poll(): Promise<ReadBatch | undefined> {
    invariant(!this.#busy, 'one call at a time on a cursor');
    if (this.#ended || this.#at === this.#partition.end) return undefined;
    const hot = this.#partition.tail.find(this.#at);
    if (hot !== undefined) return this.#deliver(hot);
    this.#busy = true;
    try {
      return this.#deliver(await this.#fromFile());
    } finally {
      this.#busy = false;
      if (this.#closed) await this.#leave();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
    if (!this.#busy) await this.#leave();
  }

  get #ended(): boolean {
    return this.#closed || this.#partition.closed;
  }

  #deliver(batch: ReadBatch): ReadBatch {
    this.#at = batch.baseOffset + batch.count;
    return batch;
  }

  async #fromFile(): Promise<ReadBatch> {
    const { segment, reader, position: from } = await this.#enter();
    const options = { seed: this.#partition.seed, limit: segment.bytes };
    let position = from;
    for (;;) {
      const header = await headerAt(reader, position, options.limit);
      if (header === undefined) throw damaged(segment.file, position, 'no batch begins here');
      const after = position + HEADER_BYTES + header.length;
      if (header.baseOffset + header.count > this.#at) {
        const bytes = header.baseOffset > this.#at ? undefined : await payloadAt(reader, position, header, options);
        if (bytes === undefined) throw damaged(segment.file, position, `the batch at offset ${this.#at} is not what was written`);
        if (this.#open !== undefined) this.#open.position = after;
        return { baseOffset: header.baseOffset, count: header.count, bytes };
      }
      position = after;
    }
  }

  /** The file that holds the cursor's offset, opened at or before it. */
  async #enter(): Promise<OpenSegment> {
    const at = this.#at;
    if (at < this.#partition.start) throw this.#partition.outside(at);
    const segment = this.#partition.segmentOf(at);
    if (this.#open?.segment === segment) return this.#open;
    await this.#leave();
    const file = await this.#openFile(segment);
    this.#open = { segment, file, reader: new SegmentReader(file, WINDOW_BYTES), position: segment.positionBelow(at) };
    return this.#open;
  }

  async #openFile(segment: Segment): Promise<LogFile> {
    try {
      return await this.#partition.disk.open(segment.file, 'read');
    } catch (error) {
      // Trimmed since its name was looked up.
      if (this.#at < this.#partition.start) throw this.#partition.outside(this.#at);
      throw damaged(segment.file, 0, 'it cannot be opened', error);
    }
  }

  async #leave(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.file.close();
  }
}
