/** A topic that is cut at the worst moment. Guarantee: what is asked of the cluster before it opens a fetcher is true of the topic before the cut. */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { KafkaCluster, TopicPartition } from '#connectors/change-log/kafka/cluster.ts';

/** The same cluster, except that `place` is cut when a fetcher is opened. */
export function cutWhileRead(cluster: KafkaCluster, place: TopicPartition, before: Offset): KafkaCluster {
  const fetcher: KafkaCluster['fetcher'] = async () => {
    await cluster.trim(place, before);
    return cluster.fetcher();
  };
  return new Proxy(cluster, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (name === 'fetcher') return fetcher;
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}
