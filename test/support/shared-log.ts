/**
 * An embedded topic as a log that is shared, for tests of a reader's start without Kafka. Guarantee: `begin` resolves when the test lets it,
 * and the last commit told is that of the topic's own records.
 */
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { LastCommit, SharedLog } from '#connectors/change-log/shared-log.ts';
import { decodeCommit, TAG } from '#schemas/pgoutput/message.ts';
import { readAll } from '#services/runtime/records.ts';

export function sharedLog(topic: Topic, onBegin: (epoch: number) => Promise<void> = async () => undefined): SharedLog {
  let last: LastCommit | undefined;
  const shared: Pick<SharedLog, 'begin' | 'lastCommit' | 'learn'> = {
    begin: async (epoch) => {
      await onBegin(epoch);
      await readAll(topic, topic.start(0), (frame) => {
        if (frame[0] !== TAG.commit) return;
        const { commitLsn, endLsn } = decodeCommit(frame);
        last = { commitLsn, endLsn };
      });
    },
    lastCommit: () => last,
    learn: () => undefined,
  };
  return new Proxy(topic, {
    has: (target, name) => name in shared || name in target,
    get: (target, name) => {
      const value: unknown = Reflect.get(name in shared ? shared : target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  }) as SharedLog;
}
