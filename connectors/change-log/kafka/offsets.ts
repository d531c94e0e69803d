/**
 * Start and end of partitions. Guarantee: each answer is the partition leader's own, so it also shows that the leader takes records; asked
 * again while leaders move.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { Offset } from '../change-log.ts';
import type { TopicPartition } from './cluster.ts';
import type { Connections } from './connection.ts';
import { codeError, isAnswered, kafkaError } from './kafka-error.ts';
import { nameOf } from './place-name.ts';
import { OFFSET_OF, offsetsRequest } from './requests.ts';

const PATIENCE_MS = 15_000;
const PAUSE_MS = 100;

export interface Bounds {
  readonly start: Offset;
  readonly end: Offset;
}

/** By topic, then by partition. */
export async function boundsOf(topics: readonly string[], connections: Connections): Promise<ReadonlyMap<string, readonly Bounds[]>> {
  const untilMs = Date.now() + PATIENCE_MS;
  for (let tries = 1; ; tries += 1) {
    try {
      await connections.know(topics);
      if (tries > 1) await connections.refresh();
      return await ask(topics, connections);
    } catch (error) {
      const failure = kafkaError(error, `asking for the offsets of ${topics.join(', ')}`);
      if (!isAnswered(failure)) connections.drop(messageOf(failure));
      if (failure.code !== 'CF-3001' || Date.now() > untilMs) throw failure;
      await pause(PAUSE_MS * Math.min(tries, 10));
    }
  }
}

async function ask(topics: readonly string[], connections: Connections): Promise<ReadonlyMap<string, readonly Bounds[]>> {
  const places = topics.flatMap((topic) => Array.from({ length: connections.partitions(topic) }, (_, partition) => ({ topic, partition })));
  const [starts, ends] = await Promise.all([
    offsetsOf(places, OFFSET_OF.start, connections),
    offsetsOf(places, OFFSET_OF.end, connections),
  ]);
  return new Map(
    topics.map((topic) => [
      topic,
      places
        .filter((place) => place.topic === topic)
        .map((place) => ({ start: starts.get(nameOf(place)) ?? 0, end: ends.get(nameOf(place)) ?? 0 })),
    ]),
  );
}

async function offsetsOf(places: readonly TopicPartition[], which: number, connections: Connections): Promise<ReadonlyMap<string, Offset>> {
  const groups = Map.groupBy(places, ({ topic, partition }) => connections.leader(topic, partition));
  const answers = [...groups].map(async ([leader, group]) => {
    if (leader === undefined)
      throw new PipelineError('CF-3001', `Kafka: ${nameOf(group[0]!)} has no leader`, { details: { kafkaCode: 5 } });
    return (await connections.send(leader, offsetsRequest(group, which))).answer;
  });
  const offsets = new Map<string, Offset>();
  for (const told of (await Promise.all(answers)).flat()) {
    if (told.errorCode !== 0) throw codeError(told.errorCode, `asking for the offsets of ${nameOf(told)}`);
    offsets.set(nameOf(told), told.offset);
  }
  return offsets;
}
