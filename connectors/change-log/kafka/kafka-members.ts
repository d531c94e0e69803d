/**
 * Shares partition numbers by Kafka's consumer groups: the members of the group of a topic without data. Guarantee: that of WorkShare. A
 * member that dies without a word is replaced after SESSION_MS, one that leaves at once, both as soon as the others' next heartbeat.
 *
 * kafkajs keeps the membership: it sends heartbeats between fetches, so the fetches of the empty topic are short. It rebalances eagerly,
 * in which all members join again; nobody stops working for that, the new share tells what changed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Consumer, Kafka } from 'kafkajs';
import { messageOf } from '#schemas/errors.ts';
import { kafkaError } from './kafka-error.ts';
import type { KafkaLog } from './client.ts';
import type { WorkShare } from './work-share.ts';

export interface MembersOptions {
  readonly kafka: Kafka;
  readonly groupId: string;
  /** Has as many partitions as there are numbers to share, and stays empty. */
  readonly topic: string;
  readonly logger: KafkaLog;
}

const SESSION_MS = 10_000;
const HEARTBEAT_MS = 1_000;
/** Others wait so long for a member that hangs without being dead. */
const REBALANCE_MS = 10_000;
const FETCH_MS = 500;
/** A membership is worth trying for ever: the records wait. */
const RETRY = { initialRetryTime: 100, maxRetryTime: 2_000, retries: Number.MAX_SAFE_INTEGER };
const AGAIN_MS = 1_000;
const LEAVE_MS = 5_000;

export class KafkaMembers implements WorkShare {
  readonly #options: MembersOptions;
  #onShare: ((numbers: readonly number[]) => void) | undefined;
  #consumer: Consumer | undefined;

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  async join(onShare: (numbers: readonly number[]) => void): Promise<void> {
    this.#onShare = onShare;
    await this.#begin();
  }

  async leave(): Promise<void> {
    this.#onShare = undefined;
    const consumer = this.#consumer;
    this.#consumer = undefined;
    if (consumer === undefined) return;
    // Without a broker kafkajs would try for longer than anybody wants to wait for the end.
    await Promise.race([quietly(consumer), pause(LEAVE_MS, undefined, { ref: false })]);
  }

  async #begin(): Promise<void> {
    const { kafka, groupId, topic } = this.#options;
    const consumer = kafka.consumer({
      groupId,
      sessionTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: REBALANCE_MS,
      maxWaitTimeInMs: FETCH_MS,
      allowAutoTopicCreation: false,
      retry: RETRY,
    });
    this.#consumer = consumer;
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => this.#shared(consumer, payload.memberAssignment[topic] ?? []));
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) void this.#beginAgain(consumer, payload.error);
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [topic] });
      await consumer.run({ autoCommit: false, eachBatch: async () => undefined });
    } catch (error) {
      if (this.#consumer === consumer) this.#consumer = undefined;
      await quietly(consumer);
      throw kafkaError(error, `joining group ${groupId}`);
    }
  }

  #shared(consumer: Consumer, numbers: readonly number[]): void {
    if (this.#consumer !== consumer) return;
    const sorted = numbers.toSorted((a, b) => a - b);
    this.#options.logger.debug({ group: this.#options.groupId, partitions: sorted }, 'the share of the partitions is known');
    this.#onShare?.(sorted);
  }

  /** kafkajs gives a membership up on what it takes for a bug of its own. */
  async #beginAgain(crashed: Consumer, error: unknown): Promise<void> {
    for (let current: Consumer | undefined = crashed; current !== undefined && this.#consumer === current; current = this.#consumer) {
      this.#options.logger.warn({ group: this.#options.groupId, error: messageOf(error) }, 'the membership ended; joining again');
      await quietly(current);
      await pause(AGAIN_MS);
      if (this.#consumer !== current) return;
      const begun = await this.#begin().then(
        () => true,
        () => false,
      );
      // Left meanwhile: then nobody else ends what was begun.
      if (this.#onShare === undefined) return await this.leave();
      if (begun) return;
      this.#consumer = current;
    }
  }
}

async function quietly(consumer: Consumer): Promise<void> {
  await consumer.disconnect().catch(() => undefined);
}
