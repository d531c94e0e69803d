/** A partition as messages to the operator name it. Guarantee: the same words everywhere, so that a log can be searched for them. */
import type { TopicPartition } from './cluster.ts';

export function nameOf(place: TopicPartition): string {
  return `topic ${place.topic}, partition ${place.partition}`;
}
