/** Somebody else's records get one order, whoever makes it. */
import { afterEach, expect, test } from 'vitest';
import { ForeignOrder, type ForeignTopic } from '#connectors/change-log/kafka/order/foreign-order.ts';
import { isCheckpoint, OrderTail } from '#connectors/change-log/kafka/order/order-tail.ts';
import { orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { decodeJsonFrame, FRAME, type TableStateFrame } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { decodeOrderRecord, type Segment } from '#schemas/order/order-record.ts';
import { decodeBegin, decodeCommit, decodeRelation, decodeTruncate, TAG, type Relation } from '#schemas/pgoutput/message.ts';
import { encodeRelation, encodeTruncate } from '#schemas/pgoutput/encode.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
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

const FORMAT = jsonFormat({ name: 'm' });
const SOURCE = ['sequence', 'snapshot'].map((field) => ({ type: 'string', field, optional: true }));
const NUMBERS = ['lsn', 'ts_us'].map((field) => ({ type: 'int64', field, optional: true }));
const SCHEMA = {
  type: 'struct',
  fields: [
    { type: 'struct', field: 'source', fields: [...SOURCE, ...NUMBERS] },
    { type: 'string', field: 'op' },
  ],
};

/** A change as the connector writes it: the commit before its transaction, its own LSN, when it was committed. */
interface Change {
  readonly op?: string;
  readonly at: readonly [commit: number | null, lsn: number, micros?: number];
}

function event({ op = 'u', at: [commit, lsn, micros = lsn] }: Change): Buffer {
  const sequence = JSON.stringify([commit === null ? null : String(commit), String(lsn)]);
  const payload = { source: { sequence, snapshot: op === 'r' ? 'true' : 'false', lsn, ts_us: micros }, op };
  return Buffer.from(JSON.stringify({ schema: SCHEMA, payload }));
}

interface Place {
  readonly topic: string;
  readonly partition: number;
}

const ITEMS: Place = { topic: 'legacy.public.item', partition: 0 };

/** Null: a tombstone. */
async function send(kafka: MemoryKafka, place: Place, changes: readonly (Change | null)[]): Promise<void> {
  const builder = new RecordsBuilder();
  for (const change of changes) builder.add(Buffer.from('key'), change === null ? undefined : event(change));
  await kafka.client().produce([{ ...place, records: builder.take() }]);
}

async function write(kafka: MemoryKafka, place: Place, count: number): Promise<void> {
  await send(
    kafka,
    place,
    Array.from({ length: count }, () => ({ op: 'r', at: [null, 1] })),
  );
}

function newOrder(kafka: MemoryKafka, topics: readonly ForeignTopic[] = TOPICS): ForeignOrder {
  return new ForeignOrder({ cluster: kafka.client(), name: 'm', topics, format: FORMAT });
}

/** The segments that count. */
function segmentsOf(kafka: MemoryKafka): readonly Segment[] {
  const tail = new OrderTail();
  return kafka.stored(orderTopic('m')).flatMap(({ value, offset }) => tail.take(decodeOrderRecord(value!), offset) ?? []);
}

/** Until nothing more comes. */
async function advanceAll(order: ForeignOrder): Promise<void> {
  await order.discover();
  while (await order.advance(AbortSignal.timeout(20)));
}

/** Offsets named of the partition, after a reader of its own has come and gone. */
async function named(kafka: MemoryKafka, place: Place = ITEMS, topics?: readonly ForeignTopic[]): Promise<readonly number[]> {
  const order = newOrder(kafka, topics);
  await order.begin();
  await advanceAll(order);
  await order.close();
  const ranges = segmentsOf(kafka).flatMap((segment) => segment.ranges.filter(({ partition }) => partition === place.partition));
  return ranges.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
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
    const frames = [...skeleton];
    const [begin, commit] = [frames[0]!, frames.at(-1)!];
    expect([begin.v, commit.v]).toEqual([base, base + count - 1]);
    const { commitLsn, endLsn } = decodeCommit(commit.frame);
    expect([decodeBegin(begin.frame).commitLsn, endLsn]).toEqual([commitLsn, BigInt(base + count)]);
    expect(frames.slice(1, -1).every(({ frame }) => frame[0] === TAG.relation)).toBe(true);
  }
  expect([...next]).toEqual([
    ['0 0', 3000],
    ['0 1', 17],
    ['1 0', 5],
  ]);
  expect(states).toEqual(['Größe', 'later']);
});

afterEach(() => installTestHooks({}));

const FIRST: readonly (Change | null)[] = [
  { op: 'r', at: [null, 5] },
  { at: [null, 10] },
  // Transactions overlap: the row was written before, and committed after.
  { at: [20, 9, 21] },
  { op: 'd', at: [30, 31] },
  null,
];

test.each([false, true])('what a connector repeats after a restart is not named again, with a new reader in between: %s', async (isNew) => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic(ITEMS.topic, { partitions: 2 });
  await send(kafka, ITEMS, FIRST);
  if (isNew) expect(await named(kafka)).toEqual([0, 1, 2, 3, 4]);
  await send(kafka, ITEMS, [...FIRST.slice(1, 3), { op: 'r', at: [20, 9, 22] }, ...FIRST.slice(3), { at: [40, 35, 41] }]);
  // The snapshot's row counts; the delete is at the highest place itself, where it may be new, and does no harm.
  expect(await named(kafka)).toEqual([0, 1, 2, 3, 4, 7, 8, 9, 10]);
  expect(await named(kafka)).toEqual([0, 1, 2, 3, 4, 7, 8, 9, 10]);
});

test('a reader that begins where the order was cut knows what was named, and what was seen', async () => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic(ITEMS.topic, { partitions: 2 });
  await send(kafka, ITEMS, FIRST);
  expect(await named(kafka)).toEqual([0, 1, 2, 3, 4]);
  const order = { topic: orderTopic('m'), partition: 0 };
  const at = kafka.records(order.topic).findLast(({ value, offset }) => isCheckpoint(decodeOrderRecord(value!), offset))!.offset;
  await kafka.client().trim(order, at);
  await send(kafka, ITEMS, [...FIRST.slice(1, 3), { at: [40, 35, 41] }]);
  expect(await named(kafka)).toEqual([0, 1, 2, 3, 4, 7]);
});

test('rows of one WAL record all count, and so does a source that begins again', async () => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic(ITEMS.topic, { partitions: 1 });
  const rows: Change[] = [
    { at: [10, 11] },
    { at: [10, 11] },
    { at: [10, 12, 11] },
    { at: [null, 3, 50] },
    { at: [2, 2, 51] },
    { at: [4, 6, 52] },
  ];
  await send(kafka, ITEMS, rows);
  expect(await named(kafka)).toEqual([0, 1, 2, 3, 4, 5]);
});

test('a truncate counts once, in whatever partition it comes again', async () => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic(ITEMS.topic, { partitions: 2 });
  const truncate: Change = { op: 't', at: [10, 11] };
  await send(kafka, ITEMS, [truncate, { at: [20, 21] }]);
  await named(kafka);
  await send(kafka, { ...ITEMS, partition: 1 }, [truncate, { at: [30, 31] }]);
  expect(await named(kafka, { ...ITEMS, partition: 1 })).toEqual([1]);
});

test('records of a table without a key are never taken for repeats', async () => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic(ITEMS.topic, { partitions: 1 });
  await send(kafka, ITEMS, [{ at: [10, 11] }, { at: [20, 21] }, { at: [10, 11] }]);
  const relation = { ...ITEM, columns: ITEM.columns.map((column) => ({ ...column, isKey: false })) };
  expect(await named(kafka, ITEMS, [{ topic: ITEMS.topic, relation }])).toEqual([0, 1, 2]);
});

test('without its guard a repeat is named again', async () => {
  const kafka = new MemoryKafka();
  kafka.ensureTopic(ITEMS.topic, { partitions: 1 });
  await send(kafka, ITEMS, [{ at: [10, 11] }, { at: [20, 21] }, { at: [10, 11] }]);
  installTestHooks({ disabledGuards: ['foreign-repeats'] });
  expect(await named(kafka)).toEqual([0, 1, 2]);
});

test('messages made here read back', () => {
  expect(decodeRelation(encodeRelation(ITEM))).toEqual(ITEM);
  expect(decodeTruncate(encodeTruncate(4711))).toEqual({ oids: [4711], cascade: false, restartIdentity: false });
});
