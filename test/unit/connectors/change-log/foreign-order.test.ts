/** Somebody else's records get one order, whoever makes it. */
import { expect, test } from 'vitest';
import { ForeignOrder } from '#connectors/change-log/kafka/order/foreign-order.ts';
import { OrderTail } from '#connectors/change-log/kafka/order/order-tail.ts';
import { orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { decodeJsonFrame, FRAME, type TableStateFrame } from '#schemas/frame/frame.ts';
import { decodeOrderRecord, type Segment } from '#schemas/order/order-record.ts';
import { decodeBegin, decodeCommit, decodeRelation, decodeTruncate, TAG, type Relation } from '#schemas/pgoutput/message.ts';
import { encodeRelation, encodeTruncate } from '#schemas/pgoutput/encode.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';

const ITEM: Relation = {
  oid: 4711,
  schema: 'public',
  name: 'Größe',
  replicaIdentity: 'd',
  columns: [
    { name: 'id', isKey: true, typeOid: 23, typmod: -1 },
    { name: 'price', isKey: false, typeOid: 1700, typmod: 655_366 },
  ],
};
const TOPICS = [
  { topic: 'legacy.public.item', relation: ITEM },
  { topic: 'legacy.public.later', relation: { ...ITEM, oid: 4712, name: 'later' } },
];

async function write(kafka: MemoryKafka, place: { readonly topic: string; readonly partition: number }, count: number): Promise<void> {
  const builder = new RecordsBuilder();
  for (let i = 0; i < count; i++) builder.add(undefined, Buffer.from([i & 0xff]));
  await kafka.client().produce([{ ...place, records: builder.take() }]);
}

function newOrder(kafka: MemoryKafka): ForeignOrder {
  return new ForeignOrder({ cluster: kafka.client(), name: 'm', topics: TOPICS });
}

/** The segments that count. */
function segmentsOf(kafka: MemoryKafka): readonly Segment[] {
  const tail = new OrderTail();
  return kafka.records(orderTopic('m')).flatMap(({ value }) => tail.take(decodeOrderRecord(value!)) ?? []);
}

async function advanceAll(order: ForeignOrder): Promise<void> {
  await order.discover();
  while (await order.advance());
}

test('each record is named once, in the order of its partition, also by a successor and for a topic that comes later', async () => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic('legacy.public.item', { partitions: 2 });
  await write(kafka, { topic: 'legacy.public.item', partition: 0 }, 3000);
  await write(kafka, { topic: 'legacy.public.item', partition: 1 }, 10);
  const first = newOrder(kafka);
  await first.begin();
  await advanceAll(first);
  kafka.ensureTopic('legacy.public.later', { partitions: 1 });
  await write(kafka, { topic: 'legacy.public.later', partition: 0 }, 5);
  await write(kafka, { topic: 'legacy.public.item', partition: 1 }, 7);
  const second = newOrder(kafka);
  await second.begin();
  await advanceAll(second);
  await expect(first.discover()).rejects.toMatchObject({ code: 'CF-3007' });

  const next = new Map<string, number>();
  const states: string[] = [];
  for (const { base, count, ranges, skeleton } of segmentsOf(kafka)) {
    for (const { topic, partition, from, to } of ranges) {
      expect(from).toBe(next.get(`${topic} ${partition}`) ?? 0);
      next.set(`${topic} ${partition}`, to);
    }
    const rows = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
    expect(count).toBe(rows + skeleton.length);
    for (const { frame } of skeleton) if (frame[0] === FRAME.tableState) states.push(decodeJsonFrame<TableStateFrame>(frame).table);
    if (rows === 0) continue;
    const [begin, commit] = [skeleton[0]!, skeleton.at(-1)!];
    expect([begin.v, commit.v]).toEqual([base, base + count - 1]);
    const { commitLsn, endLsn } = decodeCommit(commit.frame);
    expect([decodeBegin(begin.frame).commitLsn, endLsn]).toEqual([commitLsn, BigInt(base + count)]);
    expect(skeleton.slice(1, -1).every(({ frame }) => frame[0] === TAG.relation)).toBe(true);
  }
  expect([...next]).toEqual([
    ['0 0', 3000],
    ['0 1', 17],
    ['1 0', 5],
  ]);
  expect(states).toEqual(['Größe', 'later']);
});

test('messages made here read back', () => {
  expect(decodeRelation(encodeRelation(ITEM))).toEqual(ITEM);
  expect(decodeTruncate(encodeTruncate(4711))).toEqual({ oids: [4711], cascade: false, restartIdentity: false });
});
