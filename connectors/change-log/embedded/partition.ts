/**
 * One partition. Guarantee: `append` resolves in call order and only after its batch, and every one before it, is durable; after a
 * failed write the log ends exactly where it ended before, and no append started before its caller could know is stored behind the gap.
 *
 * Group commit: what was appended while one group is written and synced goes into the next, one write and one sync for all.
 */
import * as path from 'node:path';
import type { Cursor, Offset, RecordBatch } from '#connectors/change-log/change-log.ts';
import { invariant, messageOf, PipelineError } from '#schemas/errors.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { encodeHeader, HEADER_BYTES, MAX_PAYLOAD_BYTES } from './batch.ts';
import { FileCursor } from './cursor.ts';
import type { LogFile, LogFileSystem } from './file-system.ts';
import { recoverSealed, recoverTail } from './recovery.ts';
import { baseOfFile, damaged, lastAtOrBelow, Segment } from './segment.ts';
import { Tail } from './tail.ts';

/** Bounds the time that the first append of a group waits for the others, and what recovery writes again. */
const GROUP_BYTES = 16 * 1024 * 1024;
/** Below this average a copy is cheaper than one more element in the vector of a write. */
const JOIN_PARTS_BELOW_BYTES = 8 * 1024;

export interface PartitionOptions {
  readonly disk: LogFileSystem;
  readonly directory: string;
  readonly seed: number;
  readonly segmentBytes: number;
  readonly tailBytes: number;
}

export interface Appended {
  readonly baseOffset: Offset;
  readonly endOffset: Offset;
}

interface Pending {
  readonly count: number;
  readonly parts: readonly Buffer[];
  readonly length: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What must be done before anything is written again. `roll`: the next segment may exist already, so nothing more may go into this one
 * (what lies in it beyond the next one's base is not read after the next open).
 */
type Broken = 'cut' | 'renew' | 'roll';

export class Partition {
  readonly #options: PartitionOptions;
  readonly #segments: Segment[];
  #bases: Offset[];
  readonly #tail: Tail;
  readonly #cursors = new Set<FileCursor>();
  readonly #waiting = new Set<() => void>();
  #file: LogFile | undefined;
  #queue: Pending[] = [];
  #running: Promise<void> | undefined;
  #broken: Broken | undefined;
  #closed = false;
  /** Files of segments that are out of sight and not yet removed for good. */
  readonly #trimmed: string[] = [];
  #trimming: Promise<void> = Promise.resolve();

  private constructor(options: PartitionOptions, segments: Segment[], file: LogFile) {
    this.#options = options;
    this.#segments = segments;
    this.#bases = segments.map((segment) => segment.base);
    this.#file = file;
    this.#tail = new Tail(options.tailBytes);
  }

  /** Makes the first, empty segment; durable once resolved. */
  static async create(options: PartitionOptions): Promise<void> {
    const file = await createSegment(options, new Segment(options.directory, 0));
    await file.close();
  }

  /** `knownEnd`: everything below is known to have been durable. */
  static async open(options: PartitionOptions, knownEnd: Offset): Promise<{ readonly partition: Partition; readonly cutBytes: number }> {
    const names = (await options.disk.list(options.directory)) ?? [];
    // Left by a crash while a segment was made; never holds anything.
    for (const name of names) if (name.endsWith('.new')) await options.disk.remove(path.join(options.directory, name));
    // A segment whose maker died before its directory was synced is about to be appended to.
    await options.disk.syncDirectory(options.directory);
    const bases = names.map(baseOfFile).filter((base) => base !== undefined);
    const segments = bases.toSorted((a, b) => a - b).map((base) => new Segment(options.directory, base));
    const last = segments.at(-1);
    if (last === undefined) throw damaged(options.directory, 0, 'its segments are gone');
    for (const [index, segment] of segments.slice(0, -1).entries()) {
      const file = await options.disk.open(segment.file, 'read');
      try {
        await recoverSealed(segment, file, segments[index + 1]!.base);
      } finally {
        await file.close();
      }
    }
    const file = await options.disk.open(last.file, 'write');
    try {
      const { cutBytes } = await recoverTail(last, file, { seed: options.seed, knownEnd });
      return { partition: new Partition(options, segments, file), cutBytes };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get start(): Offset {
    return this.#segments[0]!.base;
  }

  get end(): Offset {
    return this.#active.end;
  }

  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  get closed(): boolean {
    return this.#closed;
  }

  get seed(): number {
    return this.#options.seed;
  }

  get disk(): LogFileSystem {
    return this.#options.disk;
  }

  get tail(): Tail {
    return this.#tail;
  }

  get #active(): Segment {
    return this.#segments.at(-1)!;
  }

  append(batch: RecordBatch): Promise<Appended> {
    const length = batch.parts.reduce((sum, part) => sum + part.length, 0);
    invariant(batch.count > 0 && batch.count * 4 <= length && length <= MAX_PAYLOAD_BYTES, 'a batch holds records, and less than 1 GiB');
    invariant(!this.#closed, 'append after the change log was closed');
    const joined =
      batch.parts.length === 1 || length >= JOIN_PARTS_BELOW_BYTES * batch.parts.length
        ? batch.parts
        : [Buffer.concat(batch.parts, length)];
    return new Promise((resolve, reject) => {
      this.#queue.push({ count: batch.count, parts: joined, length, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  read(from: Offset): Cursor {
    if (from < this.start || from > this.end) throw this.outside(from);
    const cursor = new FileCursor(this, from, () => this.#cursors.delete(cursor));
    this.#cursors.add(cursor);
    return cursor;
  }

  outside(offset: Offset): PipelineError {
    const held = `${this.#options.directory} holds ${this.start} to ${this.end}`;
    return new PipelineError('CF-3003', `Offset ${offset} lies outside the change log: ${held}.`, {
      details: { offset, start: this.start, end: this.end },
    });
  }

  /** The segment whose durable part holds `offset`. */
  segmentOf(offset: Offset): Segment {
    return this.#segments[lastAtOrBelow(this.#bases, offset)]!;
  }

  /** Resolves at the next change of what can be read, at close, or when the signal fires. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#waiting.delete(done);
        resolve();
      };
      signal.addEventListener('abort', done);
      this.#waiting.add(done);
    });
  }

  /** Nobody sees the segments any more from the call on; their files are gone for good once it resolved. */
  trim(before: Offset): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[0]!.end <= before) this.#trimmed.push(this.#segments.shift()!.file);
    this.#bases = this.#segments.map((segment) => segment.base);
    this.#trimming = this.#trimming.then(
      () => this.#removeTrimmed(),
      () => this.#removeTrimmed(),
    );
    return this.#trimming;
  }

  /** Oldest first and one by one: a removal that survives a power loss without an earlier one would look like a hole. */
  async #removeTrimmed(): Promise<void> {
    for (let file = this.#trimmed[0]; file !== undefined; file = this.#trimmed[0]) {
      try {
        await this.#options.disk.remove(file);
        await this.#options.disk.syncDirectory(this.#options.directory);
      } catch (error) {
        throw cannotWrite(file, error);
      }
      this.#trimmed.shift();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    await this.#trimming.catch(() => undefined);
    this.#wake();
    await Promise.all([...this.#cursors].map((cursor) => cursor.close()));
    this.#tail.clear();
    await this.#file?.close();
    this.#file = undefined;
  }

  async #run(): Promise<void> {
    // Appends called one after the other in the same tick go into one group.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#takeGroup();
      try {
        await this.#store(group);
      } catch (error) {
        await this.#refuse(group, error);
        continue;
      }
      this.#publish(group);
    }
    this.#running = undefined;
  }

  #takeGroup(): readonly Pending[] {
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      bytes += HEADER_BYTES + pending.length;
      if (count > 0 && bytes > GROUP_BYTES) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #store(group: readonly Pending[]): Promise<void> {
    const bytes = group.reduce((sum, pending) => sum + HEADER_BYTES + pending.length, 0);
    await this.#mend();
    if (this.#active.bytes > 0 && this.#active.bytes + bytes > this.#options.segmentBytes) {
      this.#broken = 'roll';
      await this.#mend();
    }
    try {
      await this.#write(group);
    } catch (error) {
      const synced = this.#broken === 'renew';
      // A full disk is given back what the failed write took. When that fails too, the next append begins with it.
      await this.#mend().catch(() => undefined);
      if (!synced || this.#broken !== undefined) throw error;
      await this.#write(group);
    }
  }

  async #write(group: readonly Pending[]): Promise<void> {
    const file = this.#file;
    invariant(file !== undefined, 'the active segment is open');
    failpoint('log.append');
    // Whatever throws from here on, bytes may stand behind the end: a later, shorter group must not leave some of them behind itself.
    this.#broken = 'cut';
    await file.write(this.#encode(group), this.#active.bytes);
    failpoint('log.written');
    this.#broken = 'renew';
    await file.datasync();
    failpoint('log.synced');
    this.#broken = undefined;
  }

  #encode(group: readonly Pending[]): Buffer[] {
    const headers = Buffer.allocUnsafe(HEADER_BYTES * group.length);
    const syncedOffset = this.#active.end;
    const buffers: Buffer[] = [];
    let baseOffset = syncedOffset;
    for (const [index, { length, count, parts }] of group.entries()) {
      const at = index * HEADER_BYTES;
      encodeHeader(headers, at, { length, count, baseOffset, syncedOffset }, { parts, seed: this.#options.seed });
      buffers.push(headers.subarray(at, at + HEADER_BYTES), ...parts);
      baseOffset += count;
    }
    return buffers;
  }

  #publish(group: readonly Pending[]): void {
    for (const { count, parts, length, resolve } of group) {
      const baseOffset = this.end;
      this.#active.extend(count, HEADER_BYTES + length);
      this.#tail.push(baseOffset, count, parts, length);
      resolve({ baseOffset, endOffset: baseOffset + count });
    }
    this.#wake();
  }

  async #refuse(group: readonly Pending[], cause: unknown): Promise<void> {
    const error = cause instanceof PipelineError ? cause : cannotWrite(this.#active.file, cause);
    for (const pending of group) pending.reject(error);
    // Appends begun before their caller could have heard of this belong behind the refused ones, so they are refused too.
    await new Promise((resolve) => setImmediate(resolve));
    for (const pending of this.#queue.splice(0)) pending.reject(error);
  }

  /** Does what is outstanding: after it, the active segment ends at its durable end and is the last one. */
  async #mend(): Promise<void> {
    if (this.#broken === 'cut') {
      invariant(this.#file !== undefined, 'a file with a failed write is open');
      await this.#file.truncate(this.#active.bytes);
      this.#broken = 'renew';
      await this.#file.datasync();
      this.#broken = undefined;
    } else if (this.#broken !== undefined) {
      if (this.#broken === 'renew') await this.#renew();
      await this.#roll();
      this.#broken = undefined;
    }
  }

  /**
   * After a failed sync nothing is known of the pages written since the one before, and a second sync that succeeds proves nothing: the
   * file is verified, its last group written again, and a new one takes what follows.
   */
  async #renew(): Promise<void> {
    const active = this.#active;
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
    if (active.bytes > 0) {
      const file = await this.#options.disk.open(active.file, 'write');
      try {
        const again = new Segment(this.#options.directory, active.base);
        await recoverTail(again, file, { seed: this.#options.seed, knownEnd: active.end, limit: active.bytes });
      } finally {
        await file.close();
      }
    }
  }

  async #roll(): Promise<void> {
    const next = new Segment(this.#options.directory, this.end);
    const file = await createSegment(this.#options, next);
    const sealed = this.#file;
    if (this.#active.bytes === 0) this.#segments.pop();
    this.#segments.push(next);
    this.#bases = this.#segments.map((segment) => segment.base);
    this.#file = file;
    await sealed?.close().catch(() => undefined);
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}

/** Made under another name, so that a segment of no bytes can be replaced: there is always a last one. */
async function createSegment({ disk, directory }: PartitionOptions, segment: Segment): Promise<LogFile> {
  const beside = `${segment.file}.new`;
  const file = await disk.open(beside, 'create');
  try {
    await disk.rename(beside, segment.file);
    await disk.syncDirectory(directory);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function cannotWrite(file: string, cause: unknown): PipelineError {
  return new PipelineError('CF-3001', `Cannot write the change log ${file}: ${messageOf(cause)}.`, { cause, path: file });
}
