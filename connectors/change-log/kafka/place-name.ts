import type { TopicPartition } from './cluster.ts';

/** As messages to the operator name it. */
export function nameOf(place: TopicPartition): string {
  return `topic ${place.topic}, partition ${place.partition}`;
}
