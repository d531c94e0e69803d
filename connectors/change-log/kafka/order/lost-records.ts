/** Acknowledged records that are gone. Guarantee: what is said names the partition, where it stands, and who relies on more. */
import { PipelineError } from '#schemas/errors.ts';
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
