/**
 * Writes control records to the progress topic. Guarantee: they become durable in the order given, none is left out: while the log
 * cannot be written (disk full) the head of the queue is tried again, and what waits for it holds the slot. Once another reader has taken
 * over, nothing is written any more, and what waits for it waits for ever.
 */
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { backoffMs, type Backoff } from '#services/runtime/backoff.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { CopyRecord } from './control-record.ts';

const RETRY: Backoff = { firstMs: 50, lastMs: 2_000 };
/** One append takes at most this many records; they are small. */
const MAX_RECORDS = 1_000;

interface Waiting {
  readonly record: CopyRecord;
  readonly durable: () => void;
  readonly promise: Promise<void>;
}

export class ControlJournal {
  readonly #topic: Topic;
  readonly #logger: Logger;
  #queue: Waiting[] = [];
  #writing = false;

  constructor(topic: Topic, logger: Logger) {
    this.#topic = topic;
    this.#logger = logger;
  }

  /** Resolves once durable; never rejects. */
  write(record: CopyRecord): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#queue.push({ record, durable: resolve, promise });
    if (!this.#writing) {
      this.#writing = true;
      // Records of the same turn go into one append.
      queueMicrotask(() => void this.#drain());
    }
    return promise;
  }

  /** Resolves once everything given until now is durable, `last` included. */
  async flushed(last?: CopyRecord): Promise<void> {
    if (last) return this.write(last);
    await this.#queue.at(-1)?.promise;
  }

  async #drain(): Promise<void> {
    for (let attempt = 0; this.#queue.length > 0;) {
      const head = this.#queue.slice(0, MAX_RECORDS);
      try {
        await this.#topic.append(0, { count: head.length, parts: head.flatMap(({ record }) => encode(record)) });
        this.#queue = this.#queue.slice(head.length);
        attempt = 0;
        for (const { durable } of head) durable();
      } catch (error) {
        if (error instanceof PipelineError && error.retry === 'never') return;
        this.#logger.error({ error: messageOf(error) }, 'cannot write the state of the copy to the change log; trying again');
        const { promise, resolve } = Promise.withResolvers<void>();
        setTimeout(resolve, backoffMs(RETRY, attempt++)).unref();
        await promise;
      }
    }
    this.#writing = false;
  }
}

function encode(record: CopyRecord): Buffer[] {
  const payload = Buffer.from(JSON.stringify(record), 'utf8');
  const prefix = Buffer.allocUnsafe(4);
  prefix.writeUInt32BE(payload.length);
  return [prefix, payload];
}
