/**
 * Retention of a migration's own topics. Guarantee: what is removed is never needed again: it lies below a bookmark that is written to the
 * target, and `retainBytes` of what was applied since stay besides (trail.ts); the order is cut at a checkpoint, which says what stood
 * before it (order-tail.ts). Topics of another connector, control records and rows set aside are never touched. A partition that cannot be
 * cut, or whose topic was deleted, keeps no other from being cut.
 *
 * Whoever cuts may have been replaced meanwhile: the bookmark was true when it was written, and stays true.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster, TopicPartition } from '../cluster.ts';
import { partitionOf, topicOf, type GatherPlace } from './bookmark.ts';
import { claimsTopic, orderTopic } from './topic-names.ts';
import { dueCut } from './trail.ts';

interface PlannedCut extends TopicPartition {
  readonly before: Offset;
}

export interface TopicTrimmerOptions {
  readonly cluster: Pick<KafkaCluster, 'topics' | 'trim'>;
  /** Of the migration. */
  readonly name: string;
  readonly retainBytes: number;
}

/** Each may have been waited for: then it is rather the brokers, and the rest is for the next time. */
const FAILURES_MAX = 3;

export class TopicTrimmer {
  readonly #options: TopicTrimmerOptions;
  /** Where each partition was cut last. */
  readonly #done = new Map<string, Offset>();
  /** Those that could not be cut come last, so that they never take the place of one that can. */
  readonly #failed = new Set<string>();

  constructor(options: TopicTrimmerOptions) {
    this.#options = options;
  }

  /** @param place of a bookmark that is durable. @throws the first of what Kafka answers: that is cut at a later time */
  async trim(place: GatherPlace): Promise<void> {
    const { cluster, name } = this.#options;
    const due = this.#plan(place).filter((cut) => cut.before > (this.#done.get(keyOf(cut)) ?? 0));
    if (due.length === 0) return;
    const present = new Set(await cluster.topics(`${name}.`));
    const failures: unknown[] = [];
    for (const cut of due.toSorted((a, b) => Number(this.#failed.has(keyOf(a))) - Number(this.#failed.has(keyOf(b))))) {
      const { before, ...at } = cut;
      if (!present.has(at.topic)) continue;
      try {
        await cluster.trim(at, before);
        this.#done.set(keyOf(cut), before);
        this.#failed.delete(keyOf(cut));
      } catch (error) {
        this.#failed.add(keyOf(cut));
        if (failures.push(error) === FAILURES_MAX) break;
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Raw topics last: what the order and the claims still name is there. */
  #plan(place: GatherPlace): readonly PlannedCut[] {
    const { name, retainBytes } = this.#options;
    const cut = dueCut(place, retainBytes);
    if (cut === undefined) return [];
    const names = new Map(place.topics.flatMap(({ index, topic, oid }) => (oid === undefined ? [[index, topic] as const] : [])));
    const plan: PlannedCut[] = [{ topic: claimsTopic(name), partition: 0, before: cut.claims }];
    if (cut.order !== undefined) plan.push({ topic: orderTopic(name), partition: 0, before: cut.order });
    for (const [topic, offsets] of Object.entries(cut.mapped))
      plan.push(...offsets.map((before, partition) => ({ topic, partition, before })));
    for (const [raw, before] of cut.raw) {
      const topic = names.get(topicOf(raw));
      if (topic !== undefined) plan.push({ topic, partition: partitionOf(raw), before });
    }
    return plan;
  }
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`;
}
