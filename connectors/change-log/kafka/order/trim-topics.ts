/**
 * Retention of a migration's own topics. Guarantee: what is removed is never needed again: it lies below a bookmark that is written to the
 * target, and `retainBytes` of what was applied since stay besides (trail.ts); the order is cut at a checkpoint, which says what stood
 * before it (order-tail.ts). Topics of another connector, control records and rows set aside are never touched.
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
  readonly cluster: Pick<KafkaCluster, 'trim'>;
  /** Of the migration. */
  readonly name: string;
  readonly retainBytes: number;
}

export class TopicTrimmer {
  readonly #options: TopicTrimmerOptions;
  /** Where each partition was cut last. */
  readonly #done = new Map<string, Offset>();

  constructor(options: TopicTrimmerOptions) {
    this.#options = options;
  }

  /** @param place of a bookmark that is durable. @throws what Kafka answers: the rest is cut at a later time */
  async trim(place: GatherPlace): Promise<void> {
    for (const { before, ...at } of this.#plan(place)) {
      const key = `${at.topic} ${at.partition}`;
      if (before <= (this.#done.get(key) ?? 0)) continue;
      await this.#options.cluster.trim(at, before);
      this.#done.set(key, before);
    }
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
