import { afterEach, expect, test } from 'vitest';
import { openKafkaCluster } from '#connectors/change-log/kafka/kafka-cluster.ts';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { readOrder } from '#connectors/change-log/kafka/order/order-reader.ts';
import { isCheckpoint, OrderTail } from '#connectors/change-log/kafka/order/order-tail.ts';
import { toLsn } from '#schemas/lsn.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { cutWhileRead } from '#test/support/cut-while-read.ts';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { beginFrame, commitFrame, messageFrame } from '#test/support/sink-frames.ts';

afterEach(() => installTestHooks({}));

let names = 0;

/** Two readers of one migration; the one that was replaced does not know it. */
async function twoWriters(): Promise<{
  readonly close: () => Promise<void>;
  open(): ScatterTopic;
  /** Another one; while it reads, the order is cut at its last checkpoint. */
  openCut(): Promise<ScatterTopic>;
  isCounted(v: number): Promise<boolean>;
}> {
  const { brokers } = await sharedKafka();
  const settings = { brokers, partitions: 1, format: 'json', compression: 'none' } as const;
  const cluster = await openKafkaCluster(settings, { clientId: 'test', logger: silentLogger });
  const name = `replaced_${process.pid}_${++names}`;
  const common = { name, format: jsonFormat({ name }), database: 'd', partitions: 1, tableOf: () => undefined };
  return {
    close: () => cluster.close(),
    open: () => new ScatterTopic({ ...common, cluster }),
    openCut: async () => {
      const topic = orderTopic(name);
      const [bounds] = await cluster.bounds(topic);
      let checkpoint = 0;
      await readOrder({ cluster, topic, from: 0, to: bounds!.end }, (record, offset) => {
        if (isCheckpoint(record, offset)) checkpoint = offset;
        return true;
      });
      expect(checkpoint).toBeGreaterThan(0);
      return new ScatterTopic({ ...common, cluster: cutWhileRead(cluster, { topic, partition: 0 }, checkpoint) });
    },
    isCounted: async (v) => {
      const tail = new OrderTail();
      const topic = orderTopic(name);
      const [bounds] = await cluster.bounds(topic);
      await readOrder({ cluster, topic, from: 0, to: bounds!.end }, (record, offset) => {
        tail.take(record, offset);
        return true;
      });
      return tail.end > v;
    },
  };
}

function transaction(lsn: bigint): { readonly count: number; readonly parts: readonly Buffer[] } {
  const our = { kind: 'marker', name: 'm', id: String(lsn) } as const;
  const frames = [beginFrame(toLsn(lsn)), messageFrame(our), commitFrame(toLsn(lsn), toLsn(lsn + 8n))];
  const prefixed = frames.flatMap((frame) => {
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(frame.length);
    return [prefix, frame];
  });
  return { count: frames.length, parts: prefixed };
}

describeWithKafka('a reader that was replaced', () => {
  test('hears of it with its next append, which does not count', async () => {
    const world = await twoWriters();
    try {
      const [old, next] = [world.open(), world.open()];
      await old.begin(1);
      await old.append(0, transaction(100n));
      await next.begin(2);
      expect(next.lastCommit()).toEqual({ commitLsn: 100n, endLsn: 108n });
      await expect(old.append(0, transaction(200n))).rejects.toMatchObject({ code: 'CF-3007' });
      expect(await world.isCounted(3)).toBe(false);
      await next.append(0, transaction(200n));
      expect(await world.isCounted(3)).toBe(true);
    } finally {
      await world.close();
    }
  });

  test('hears of it also when it was the one to wake up last, and what it appended before counts', async () => {
    const world = await twoWriters();
    try {
      const [active, zombie] = [world.open(), world.open()];
      await active.begin(1);
      await active.append(0, transaction(100n));
      await zombie.begin(2);
      const refused = [active.append(0, transaction(200n)), active.append(0, transaction(300n))];
      const outcomes = await Promise.allSettled(refused);
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      await active.begin(3);
      expect(active.lastCommit()).toEqual({ commitLsn: 100n, endLsn: 108n });
      await active.append(0, transaction(200n));
      expect(await world.isCounted(3)).toBe(true);
    } finally {
      await world.close();
    }
  });

  test('is followed by one that reads the order while a sink cuts it', async () => {
    const world = await twoWriters();
    try {
      const first = world.open();
      await first.begin(1);
      await first.append(0, transaction(100n));
      await first.begin(2);
      await first.append(0, transaction(200n));
      const next = await world.openCut();
      await next.begin(3);
      expect([next.start(), next.end(), next.lastCommit()]).toEqual([3, 6, { commitLsn: 200n, endLsn: 208n }]);
      await next.append(0, transaction(300n));
      expect(await world.isCounted(8)).toBe(true);
    } finally {
      await world.close();
    }
  });

  test('would believe its append durable without the guard, so the tests above can see it', async () => {
    installTestHooks({ disabledGuards: ['writer-epoch'] });
    const world = await twoWriters();
    try {
      const [old, next] = [world.open(), world.open()];
      await old.begin(1);
      await next.begin(2);
      await old.append(0, transaction(100n));
      expect(await world.isCounted(0)).toBe(false);
    } finally {
      await world.close();
    }
  });
});
