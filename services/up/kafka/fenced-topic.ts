/**
 * The control records of a migration whose readers are processes. Guarantee: whoever reads sees only what the writer of the last epoch
 * record appended after it, and what its predecessors appended before they were replaced; a writer hears at its next append that somebody
 * else has written, and appends nothing more.
 *
 * Every record carries its writer (`w`). A record behind another writer's epoch record is a zombie's: its place is kept, its content is not.
 */
import type { Cursor, Offset, ReadBatch, RecordBatch, Topic } from '#connectors/change-log/change-log.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';

const VOID = Buffer.from('{"t":"void"}', 'utf8');

interface Stamped {
  readonly t: string;
  readonly w?: string;
}

export class FencedTopic implements Topic {
  readonly #topic: Topic;
  readonly #writer: string | undefined;
  /** Where the next record of ours has to stand; undefined before the first epoch record. */
  #next: Offset | undefined;
  #fenced = false;
  readonly #onReplaced: (error: PipelineError) => void;

  /** Without a `writer` it is only read. `onReplaced` is told once, when somebody else was found to write. */
  constructor(topic: Topic, writer?: string, onReplaced: (error: PipelineError) => void = () => undefined) {
    this.#topic = topic;
    this.#writer = writer;
    this.#onReplaced = onReplaced;
  }

  get name(): string {
    return this.#topic.name;
  }

  get partitions(): number {
    return this.#topic.partitions;
  }

  async append(partition: number, batch: RecordBatch): Promise<{ readonly baseOffset: Offset; readonly endOffset: Offset }> {
    const { name } = this.#topic;
    invariant(this.#writer !== undefined, `topic ${name} was opened for reading`);
    if (this.#fenced) throw replaced(name);
    const appended = await this.#topic.append(partition, stamp(batch, this.#writer));
    const isNext = this.#next === undefined || appended.baseOffset === this.#next;
    this.#next = appended.endOffset;
    if (isNext) return appended;
    this.#fenced = true;
    const error = replaced(name);
    this.#onReplaced(error);
    throw error;
  }

  /** The writer's time is over: nothing more is appended, and who still has something to write gives up. */
  retire(): void {
    this.#fenced = true;
  }

  read(partition: number): Cursor {
    // From the start, whatever was asked for: who may write is told by the records themselves.
    return new FencedCursor(this.#topic.read(partition, this.#topic.start(partition)));
  }

  partitionFor(key: Buffer): number {
    return this.#topic.partitionFor(key);
  }

  start(partition: number): Offset {
    return this.#topic.start(partition);
  }

  end(partition: number): Offset {
    return this.#topic.end(partition);
  }

  commit(group: string, partition: number, offset: Offset): Promise<void> {
    return this.#topic.commit(group, partition, offset);
  }

  committed(group: string, partition: number): Offset | undefined {
    return this.#topic.committed(group, partition);
  }

  trim(partition: number, before: Offset): Promise<void> {
    return this.#topic.trim(partition, before);
  }

  size(): number {
    return this.#topic.size();
  }
}

function replaced(name: string): PipelineError {
  return new PipelineError('CF-3007', `somebody else has written to ${name} since this reader took over`);
}

class FencedCursor implements Cursor {
  readonly #cursor: Cursor;
  #writer: string | undefined;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  async next(signal: AbortSignal): Promise<ReadBatch | undefined> {
    return this.#withoutZombies(await this.#cursor.next(signal));
  }

  async poll(): Promise<ReadBatch | undefined> {
    return this.#withoutZombies(await this.#cursor.poll());
  }

  close(): Promise<void> {
    return this.#cursor.close();
  }

  #withoutZombies(batch: ReadBatch | undefined): ReadBatch | undefined {
    if (batch === undefined) return undefined;
    const parts: Buffer[] = [];
    for (const payload of payloads(batch.bytes)) {
      const record = JSON.parse(payload.toString('utf8')) as Stamped;
      if (record.t === 'epoch' && record.w !== undefined) this.#writer = record.w;
      parts.push(...prefixed(this.#writer === undefined || record.w === this.#writer ? payload : VOID));
    }
    return { ...batch, bytes: Buffer.concat(parts) };
  }
}

function stamp(batch: RecordBatch, writer: string): RecordBatch {
  const tail = Buffer.from(`,"w":${JSON.stringify(writer)}}`, 'utf8');
  const parts: Buffer[] = [];
  for (const payload of payloads(Buffer.concat(batch.parts))) parts.push(...prefixed(Buffer.concat([payload.subarray(0, -1), tail])));
  return { count: batch.count, parts };
}

function* payloads(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32BE(at);
    yield bytes.subarray(at + 4, end);
    at = end;
  }
}

function prefixed(payload: Buffer): readonly [Buffer, Buffer] {
  const prefix = Buffer.allocUnsafe(4);
  prefix.writeUInt32BE(payload.length);
  return [prefix, payload];
}
