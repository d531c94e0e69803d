/**
 * Appends to one partition. Guarantee: batches are stored in the order of calls, one request at a time, those waiting together as one
 * Kafka batch: stored and read whole or not at all. When one is refused, so are all that were begun before its caller could hear of it.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { Offset, RecordBatch } from '../change-log.ts';
import type { KafkaRecords, TopicPartition } from './cluster.ts';
import { kafkaError } from './kafka-error.ts';
import type { Producer } from './producer.ts';
import { RecordsBuilder } from './record-batch.ts';

/** Of what waits together; a single batch may be larger. */
const TOGETHER_BYTES = 512 * 1024;

export interface Appended {
  readonly baseOffset: Offset;
  readonly endOffset: Offset;
}

interface Waiting {
  readonly batch: RecordBatch;
  readonly bytes: Buffer;
  readonly done: PromiseWithResolvers<Appended>;
}

export interface AppenderOptions extends TopicPartition {
  readonly bounds: { end: Offset; bytes: number; sampled: number };
}

export class Appender {
  readonly #producer: Producer;
  readonly #options: AppenderOptions;
  #queue: Waiting[] = [];
  #busy = false;
  #refusal: PipelineError | undefined;

  constructor(producer: Producer, options: AppenderOptions) {
    this.#producer = producer;
    this.#options = options;
  }

  append(batch: RecordBatch): Promise<Appended> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    const done = Promise.withResolvers<Appended>();
    this.#queue.push({ batch, bytes: Buffer.concat(batch.parts), done });
    if (!this.#busy) void this.#drain();
    return done.promise;
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#queue.length > 0) {
      const group = this.#group();
      try {
        this.#settle(group, await this.#send(recordsOf(group)));
      } catch (error) {
        this.#refuse(group, kafkaError(error, `append to ${this.#options.topic}`));
      }
    }
    this.#busy = false;
  }

  #group(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      bytes += waiting.bytes.length;
      if (count > 0 && bytes > TOGETHER_BYTES) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #send(records: KafkaRecords): Promise<Offset> {
    const { topic, partition, bounds } = this.#options;
    const [produced] = await this.#producer.produce([{ topic, partition, records }]);
    if (produced === undefined) throw new PipelineError('CF-3001', 'Kafka: the answer to a produce request was empty');
    bounds.bytes += records.bytes;
    bounds.sampled += records.count;
    return produced.baseOffset;
  }

  #settle(group: readonly Waiting[], baseOffset: Offset): void {
    let at = baseOffset;
    for (const { batch, done } of group) {
      const endOffset = at + batch.count;
      this.#options.bounds.end = Math.max(this.#options.bounds.end, endOffset);
      done.resolve({ baseOffset: at, endOffset });
      at = endOffset;
    }
  }

  #refuse(group: readonly Waiting[], error: PipelineError): void {
    this.#refusal = error;
    for (const { done } of [...group, ...this.#queue.splice(0)]) done.reject(error);
    setImmediate(() => {
      this.#refusal = undefined;
    });
  }
}

function recordsOf(group: readonly Waiting[]): KafkaRecords {
  const builder = new RecordsBuilder();
  for (const { bytes } of group) {
    for (let at = 0; at < bytes.length;) {
      const end = at + 4 + bytes.readUInt32BE(at);
      builder.add(undefined, bytes.subarray(at + 4, end));
      at = end;
    }
  }
  return builder.take();
}
