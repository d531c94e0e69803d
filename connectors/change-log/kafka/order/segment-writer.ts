/**
 * Brings parcels into Kafka for one epoch. Guarantee: a segment is produced only once every record of its parcel is acknowledged and every
 * segment before it is; an append resolves when its last segment is, in the order of calls; after a failure nothing more is written.
 *
 * Data of several appends is under way side by side. Segments that are ready together go in one batch, so that a slow answer makes
 * batches larger, not fewer.
 */
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import { encodeSegment, type Segment } from '#schemas/order/order-record.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { Offset, RecordBatch } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster, Produced } from '../cluster.ts';
import { RecordsBuilder } from '../record-batch.ts';
import { orderTooLarge } from './large-frames.ts';
import type { RawEnds } from './order-tail.ts';
import type { Parcel } from './parcel.ts';
import type { Scatter } from './scatter.ts';

/** Segments of one batch; a single one may be larger. */
const ORDER_BATCH_BYTES_MAX = 768 * 1024;

export interface Appended {
  readonly baseOffset: Offset;
  readonly endOffset: Offset;
}

export interface SegmentWriterOptions {
  readonly cluster: KafkaCluster;
  /** The order topic. */
  readonly topic: string;
  readonly epoch: number;
  /** Number of the first frame. */
  readonly base: Offset;
  readonly scatter: Scatter;
  /** Up to where segments before the first one name their topics. */
  readonly ends: RawEnds;
  /** The record to put before a segment of this base, when it is time for one. */
  readonly checkpoint: (base: Offset, ends: RawEnds) => Buffer | undefined;
  /** Told of each segment before it goes, in order. */
  readonly onSegment: (segment: Segment) => void;
  /** Records of ours are acknowledged: tells (at once, or with a promise) whether they count. @throws when they do not */
  readonly confirm: (offset: Offset, count: number) => Promise<void> | undefined;
}

interface Append {
  readonly base: Offset;
  readonly end: Offset;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** A parcel under way, in the order of frames. */
interface Sent {
  readonly parcel: Parcel;
  /** Undefined until the records are acknowledged. */
  segment: Segment | undefined;
}

interface Encoded {
  readonly segment: Segment;
  readonly bytes: Buffer;
}

export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  /** Not resolved yet, in the order of calls. */
  readonly #appends: Append[] = [];
  readonly #sent: Sent[] = [];
  /** Batches are taken apart one after another. */
  #scattering: Promise<unknown> = Promise.resolve();
  #nextBase: Offset;
  #end: Offset;
  #isWriting = false;
  #failure: PipelineError | InvariantError | undefined;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#nextBase = options.base;
    this.#end = options.base;
  }

  /** First frame that is not durable yet. */
  get end(): Offset {
    return this.#end;
  }

  /** True while an append may still resolve. */
  get isBusy(): boolean {
    return this.#appends.length > 0;
  }

  append(batch: RecordBatch): Promise<Appended> {
    if (this.#failure !== undefined) return Promise.reject(behind(this.#failure));
    const { promise, resolve, reject } = Promise.withResolvers<Appended>();
    const base = this.#nextBase;
    this.#nextBase += batch.count;
    this.#appends.push({ base, end: this.#nextBase, resolve, reject });
    this.#scattering = this.#scattering.then(() => this.#scatter(batch)).catch((error: unknown) => this.#fail(error));
    return promise;
  }

  async #scatter(batch: RecordBatch): Promise<void> {
    if (this.#failure !== undefined) return;
    const parcels = await this.#options.scatter.take(batch);
    // What failed meanwhile voids all behind it.
    if (this.#failure !== undefined) return;
    failpoint('log.append');
    for (const parcel of parcels) this.#send(parcel);
  }

  #send(parcel: Parcel): void {
    const { cluster, epoch } = this.#options;
    const sent: Sent = { parcel, segment: undefined };
    this.#sent.push(sent);
    const acknowledged = (produced: readonly Produced[]): void => {
      sent.segment = parcel.segment(epoch, produced);
      failpoint('log.written');
      this.#writeSegments();
    };
    const batches = parcel.take();
    const produced = batches.length === 0 ? Promise.resolve([]) : cluster.produce(batches);
    produced.then(acknowledged).catch((error: unknown) => this.#fail(error));
  }

  /** One batch of segments at a time, so none is stored without the ones before it. */
  #writeSegments(): void {
    if (this.#isWriting || this.#failure !== undefined) return;
    const next = this.#sent[0]?.segment;
    if (next === undefined) return;
    const { cluster, topic, ends } = this.#options;
    const checkpoint = this.#options.checkpoint(next.base, ends);
    const ready = this.#takeReady();
    this.#isWriting = true;
    const store = async (records: readonly Buffer[]): Promise<Offset> => {
      const builder = new RecordsBuilder();
      for (const record of records) builder.add(undefined, record);
      const [produced] = await cluster.produce([{ topic, partition: 0, records: builder.take() }]);
      return produced!.baseOffset;
    };
    // A batch of its own, which may be large; the segments follow it without waiting.
    const told = checkpoint === undefined ? undefined : store([checkpoint]);
    Promise.all([told, store(ready.map(({ bytes }) => bytes))])
      .then(async ([at, offset]) => {
        if (at !== undefined) await this.#options.confirm(at, 1);
        await this.#options.confirm(offset, ready.length);
        this.#isWriting = false;
        if (this.#failure !== undefined) return;
        failpoint('log.synced');
        const last = ready.at(-1)!.segment;
        this.#durable(last.base + last.count);
        this.#writeSegments();
      })
      .catch((error: unknown) => {
        const segments = ready.map(({ segment }) => segment);
        this.#fail(orderTooLarge(error, { topic, segments, nameOf: (oid) => this.#options.scatter.unmappedName(oid) }));
      });
  }

  #takeReady(): readonly Encoded[] {
    const ready: Encoded[] = [];
    let size = 0;
    for (let segment = this.#sent[0]?.segment; segment !== undefined; segment = this.#sent[0]?.segment) {
      const bytes = Buffer.concat(encodeSegment(segment));
      if (ready.length > 0 && size + bytes.length > ORDER_BATCH_BYTES_MAX) break;
      // A topic that was made anew meanwhile begins below what is named.
      this.#options.ends.take(segment.ranges);
      this.#options.onSegment(segment);
      size += bytes.length;
      ready.push({ segment, bytes });
      this.#sent.shift();
    }
    return ready;
  }

  #durable(end: Offset): void {
    this.#end = end;
    while (this.#appends.length > 0 && this.#appends[0]!.end <= end) {
      const { base, end: endOffset, resolve } = this.#appends.shift()!;
      resolve({ baseOffset: base, endOffset });
    }
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    const known = error instanceof PipelineError || error instanceof InvariantError;
    const failure = known ? error : new PipelineError('CF-3001', `the change log cannot be written: ${messageOf(error)}`, { cause: error });
    this.#failure = failure;
    this.#sent.length = 0;
    for (const [i, append] of this.#appends.splice(0).entries()) append.reject(i === 0 ? failure : behind(failure));
  }
}

function behind(failure: Error): PipelineError {
  const remedy = failure instanceof PipelineError ? { remedy: failure.remedy } : {};
  return new PipelineError('CF-3001', `refused, as an append before it failed: ${failure.message}`, { cause: failure, ...remedy });
}
