/** How far the change log of a migration over Kafka reaches, for who compares its ends. Guarantee: read-only and bounded in time. */
import { PipelineError } from '#schemas/errors.ts';
import { parseLsn } from '#schemas/lsn.ts';
import type { DurableRecord } from '#services/reader/control-records.ts';
import type { LogReach } from '#services/reconciler/log-gap.ts';
import { readAll } from '#services/runtime/records.ts';
import { FencedTopic } from './fenced-topic.ts';
import { openKafka, type KafkaOptions } from './open-kafka.ts';

const PATIENCE_MS = 10_000;

/** Undefined before the first commit was made durable. @throws PipelineError CF-3001 when Kafka does not answer in time, CF-3006 */
export async function readLogEnd(options: KafkaOptions): Promise<LogReach | undefined> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const tooLate = new PipelineError('CF-3001', `Kafka did not answer within ${PATIENCE_MS / 1000} s`);
  const timer = setTimeout(() => reject(tooLate), PATIENCE_MS);
  try {
    return await Promise.race([read(options), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function read(options: KafkaOptions): Promise<LogReach | undefined> {
  const kafka = await openKafka(options, 'verify');
  try {
    let last: DurableRecord | undefined;
    await readAll(new FencedTopic(await kafka.progress()), 0, (frame) => {
      const record = JSON.parse(frame.toString('utf8')) as DurableRecord | { readonly t: string };
      if (record.t === 'durable') last = record as DurableRecord;
    });
    return last && { commit: parseLsn(last.commitLsn), confirmed: parseLsn(last.confirm) };
  } finally {
    await kafka.close();
  }
}
