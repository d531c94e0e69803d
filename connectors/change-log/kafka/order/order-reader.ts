/**
 * Reads the order topic. Guarantee: every record kept of [from, to) is visited once, in order; where the beginning is cut meanwhile (by a
 * sink, at a checkpoint) the next one visited is the first that is kept, and who folds them (order-tail.ts) sees whether that is a checkpoint.
 */
import { PipelineError } from '#schemas/errors.ts';
import { decodeOrderRecord, type OrderRecord } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster } from '../cluster.ts';
import { recordsIn } from '../record-reader.ts';
import { keptFrom } from './lost-records.ts';

/** Without an answer for so long, reading is given up; whoever reads tries again. */
const ANSWER_TIMEOUT_MS = 60_000;

export interface OrderPart {
  readonly cluster: KafkaCluster;
  /** The order topic. */
  readonly topic: string;
  readonly from: Offset;
  readonly to: Offset;
}

/** @param visit returns false to end here. @throws PipelineError CF-3001 when Kafka does not answer. */
export async function readOrder(part: OrderPart, visit: (record: OrderRecord, offset: Offset) => boolean): Promise<void> {
  const { cluster, topic, to } = part;
  const place = { topic, partition: 0 };
  const bounds = await cluster.bounds(topic);
  const from = Math.max(part.from, bounds[0]?.start ?? 0);
  if (from >= to) return;
  const fetcher = await cluster.fetcher();
  try {
    fetcher.seek(place, from);
    for (let next = from; next < to;) {
      const fetched = await fetcher.next(AbortSignal.timeout(ANSWER_TIMEOUT_MS)).catch((error: unknown) => {
        next = keptFrom(error);
        fetcher.seek(place, next);
        return [];
      });
      if (fetched === undefined) throw new PipelineError('CF-3001', `topic ${topic} could not be read: Kafka does not answer`);
      for (const { offset, value } of fetched.flatMap(recordsIn)) {
        if (offset >= to || (value !== undefined && !visit(decodeOrderRecord(value), offset))) return;
      }
      next = fetched.at(-1)?.next ?? next;
    }
  } finally {
    await fetcher.close();
  }
}
