/** Acknowledged records that are gone. Guarantee: what is said names the partition, where it stands, and who relies on more. */
import { PipelineError } from '#schemas/errors.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Claim } from '#schemas/order/order-record.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { TopicPartition } from '../cluster.ts';

export function lostRecords({ topic, partition }: TopicPartition, at: Offset, wanted: string): PipelineError {
  return new PipelineError(
    'CF-3002',
    `partition ${partition} of topic ${topic} goes on with offset ${at}, but ${wanted}: the topic was removed and made anew, or lost its tail`,
    {
      remedy:
        'Acknowledged changes are lost. Stop the services, drop the replication slot and schema crossfade of the target, empty the target tables, and start anew under another name.',
    },
  );
}

/** Of a mapped partition. */
export function lostMapped(place: TopicPartition, at: Offset, claimed: Offset): PipelineError {
  return lostRecords(place, at, `claims name its records up to ${claimed}`);
}

/** Where reading goes on when what it came to was removed meanwhile, by who knows that nobody needs it. @throws the error, when it is another one */
export function keptFrom(error: unknown): Offset {
  const { offset, start } = error instanceof PipelineError && error.code === 'CF-3003' ? error.details : {};
  if (typeof start !== 'number' || Number(offset) >= start) throw error;
  return start;
}

/** Rows that a sink needs, mapped by its file, are not all there. */
export function notMapped({ topic, partition }: TopicPartition, from: Offset): PipelineError {
  return new PipelineError(
    'CF-3003',
    `partition ${partition} of topic ${topic} is needed from offset ${from} on, but what this file's transformers mapped of it begins later, or was removed`,
    {
      remedy:
        'After a change of the file: start transformers and sinks with the file of before, let the sink catch up, and change it again. Where retention was set on the topics by hand: start anew (docs/kafka.md).',
    },
  );
}

/** Rows of a table whose claims are all another file's. */
export function othersMap(): PipelineError {
  return new PipelineError('CF-3006', 'transformers map by another migration file than this sink', {
    remedy: 'Start transformers and sinks with the same file.',
  });
}

/** What a claim names was acknowledged before it was written. @throws PipelineError CF-3002 */
export function checkStored({ entries }: Claim, endOf: (topic: string, partition: number) => Offset | undefined): void {
  for (const { ends } of entries) {
    for (const [topic, partitions] of Object.entries(ends)) {
      const lost = partitions.find(([partition, end]) => end > (endOf(topic, partition) ?? Infinity));
      if (lost !== undefined && guarded('mapped-ends')) throw lostMapped({ topic, partition: lost[0] }, endOf(topic, lost[0])!, lost[1]);
    }
  }
}
