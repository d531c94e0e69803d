/** What the records of the order topic say, and the names of topics. */
import { describe, expect, test } from 'vitest';
import { OrderTail, Recollection, TopicDirectory } from '#connectors/change-log/kafka/order/order-tail.ts';
import { mappedTopic, rawTopic, topicCollisions } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { OrderRecord, TopicOrderRecord } from '#schemas/order/order-record.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import * as frames from '#test/support/frames.ts';

function segment(epoch: number, base: number, count = 1, of: readonly Buffer[] = []): OrderRecord & { readonly t: 'segment' } {
  return { t: 'segment', epoch, base, count, ranges: [], skeleton: of.map((frame, i) => ({ v: base + i, frame })) };
}

function topic(index: number, name: string): TopicOrderRecord {
  return { t: 'topic', index, topic: name, schema: 'public', table: name, partitions: 3 };
}

/** The bases of those that count. */
function counted(tail: OrderTail, records: readonly OrderRecord[]): number[] {
  return records.flatMap((record, at) => tail.take(record, at)?.base ?? []);
}

describe('a segment', () => {
  test('counts when no higher epoch stands before it', () => {
    const tail = new OrderTail();
    const records: OrderRecord[] = [
      { t: 'epoch', epoch: 3 },
      segment(3, 0, 5),
      { t: 'epoch', epoch: 7 },
      segment(3, 5, 2), // of a reader that was replaced
      segment(7, 5, 4),
      { t: 'epoch', epoch: 6 }, // begun late
      segment(6, 9),
      segment(7, 9),
    ];
    expect(counted(tail, records)).toEqual([0, 5, 9]);
    expect([tail.start, tail.end, tail.epoch]).toEqual([0, 10, 7]);
  });

  test('that stands first, as older ones were removed, says which epoch it is', () => {
    const tail = new OrderTail();
    expect(counted(tail, [segment(7, 40, 2), segment(3, 42), segment(7, 42)])).toEqual([40, 42]);
    expect([tail.start, tail.end]).toEqual([40, 43]);
  });

  test('that does not follow the one before it is refused', () => {
    const tail = new OrderTail();
    tail.take(segment(1, 0, 5), 0);
    expect(() => tail.take(segment(1, 6), 1)).toThrow('frame 5 was the next');
    expect(() => tail.take(segment(1, 4), 2)).toThrow('frame 5 was the next');
  });
});

describe('a checkpoint', () => {
  const checkpoint = (at: number, epoch: number, base: number): OrderRecord => ({
    t: 'checkpoint',
    at,
    epoch,
    base,
    topics: [topic(0, 'a')],
    ends: [[0, 2, 9]],
    commit: { lsn: '16', end: '24' },
  });

  test('that stands first says what stood before it', () => {
    const tail = new OrderTail();
    tail.take(checkpoint(70, 4, 500), 70);
    expect(tail.take(segment(3, 500), 71)).toBeUndefined();
    expect(tail.take(segment(4, 500, 3), 72)?.base).toBe(500);
    expect([tail.epoch, tail.start, tail.end, tail.checkpointAt, tail.topics.named('a')?.index]).toEqual([4, 500, 503, 70, 0]);
    expect(tail.ends.of(0, 2)).toBe(9);
  });

  test('counts only where it says it stands, for then its writer had read all below it', () => {
    const tail = new OrderTail();
    const records = [segment(1, 0, 5), topic(0, 'b'), checkpoint(1, 1, 5), segment(1, 5)];
    expect(counted(tail, records)).toEqual([0, 5]);
    expect([tail.checkpointAt, tail.topics.numbered(0)?.topic]).toEqual([undefined, 'b']);
    expect(() => new OrderTail().take(checkpoint(70, 1, 5), 71)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
  });

  test('of a reader that was replaced does not count', () => {
    const tail = new OrderTail();
    expect(counted(tail, [segment(1, 0, 5), { t: 'epoch', epoch: 2 }, checkpoint(2, 1, 5), segment(2, 5)])).toEqual([0, 5]);
    expect(tail.checkpointAt).toBeUndefined();
  });

  test('goes on where records were removed while they were read; anything else there is refused', () => {
    const tail = new OrderTail();
    tail.take(segment(1, 0, 5), 0);
    expect(() => new OrderTail().take(segment(1, 90), 30)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
    tail.take(checkpoint(30, 1, 90), 30);
    expect(tail.take(segment(1, 90), 31)?.base).toBe(90);
    expect(() => tail.take(segment(1, 91), 33)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
  });

  test('tells the last commit of what stood before it', () => {
    const recollection = new Recollection();
    const record = checkpoint(0, 1, 0);
    if (record.t === 'checkpoint') recollection.begin(record);
    expect(recollection.lastCommit).toEqual({ commitLsn: 16n, endLsn: 24n });
  });
});

test('a segment whose rows stand below those of one before it tells of a topic that was made anew', () => {
  const tail = new OrderTail();
  tail.topics.take(topic(0, 'a'));
  const naming = (base: number, from: number, to: number): OrderRecord => ({
    ...segment(1, base),
    ranges: [{ topic: 0, partition: 2, from, to }],
  });
  expect(counted(tail, [naming(0, 0, 5), naming(1, 7, 9)])).toEqual([0, 1]);
  expect(() => tail.take(naming(2, 8, 12), 2)).toThrow(/partition 2 of topic a goes on with offset 8.*up to 9.*made anew/);
  installTestHooks({ disabledGuards: ['raw-ends'] });
  expect(tail.take(naming(2, 8, 12), 2)?.base).toBe(2);
  installTestHooks({});
});

test('a topic has the number of its first registration whose number was free', () => {
  const directory = new TopicDirectory();
  for (const record of [topic(0, 'a'), topic(0, 'b'), topic(1, 'a'), topic(1, 'c'), topic(2, 'b')]) directory.take(record);
  expect([...directory.entries()].map((record) => [record.index, record.topic])).toEqual([
    [0, 'a'],
    [1, 'c'],
    [2, 'b'],
  ]);
  expect(directory.free).toBe(3);
  expect(directory.named('c')?.index).toBe(1);
});

test('the last whole transaction is the one whose commit stands in a segment that counts', () => {
  const recollection = new Recollection();
  expect(recollection.lastCommit).toBeUndefined();
  recollection.take(segment(1, 0, 3, [frames.begin(10n), frames.commit(10n, 15n), frames.begin(20n)]));
  expect(recollection.lastCommit).toEqual({ commitLsn: 10n, endLsn: 15n });
  recollection.take(segment(1, 3, 1, [frames.commit(20n, 25n)]));
  expect(recollection.lastCommit).toEqual({ commitLsn: 20n, endLsn: 25n });
});

test('a relation is as the last segment describes it, else as one was told', () => {
  const recollection = new Recollection();
  const [told, older, newer] = ['a', 'b', 'c'].map((name) => frames.relation({ oid: 100, name, columns: [] }));
  recollection.learn(told!);
  expect(recollection.relation(100)).toEqual(told);
  recollection.take(segment(1, 0, 2, [older!, newer!]));
  recollection.learn(told!);
  expect(recollection.relation(100)).toEqual(newer);
  expect(recollection.relation(200)).toBeUndefined();
});

describe('the name of a topic', () => {
  test('has no character that Kafka does not take', () => {
    expect(rawTopic('shop', { schema: 'public', name: 'Bestellungen (alt) für/x' })).toBe('shop.public.Bestellungen__alt__f_r_x');
  });

  test('that would be too long is refused', () => {
    expect(() => mappedTopic('m'.repeat(150), { schema: 's'.repeat(60), name: 't'.repeat(60) })).toThrow('249');
  });

  test('must not differ from another in dots and underscores only: Kafka would refuse the second', () => {
    const from = [
      { schema: 'sales_eu', name: 'orders' },
      { schema: 'sales', name: 'eu_orders' },
    ];
    expect(topicCollisions('shop', from, [])).toEqual([
      { topic: 'shop.sales_eu.orders', tables: ['sales_eu.orders of the source', 'sales.eu_orders of the source'] },
    ]);
  });

  test('must not be that of another table, or of records of ours', () => {
    const named = (schema: string, ...names: readonly string[]): { schema: string; name: string }[] =>
      names.map((name) => ({ schema, name }));
    const from = [...named('public', 'a b', 'a_b', 'c'), ...named('mapped', 'progress', 'new.c')];
    expect(topicCollisions('shop', from, named('new', 'c'))).toEqual([
      { topic: 'shop.mapped.progress', tables: ["the migration's own records", 'mapped.progress of the source'] },
      { topic: 'shop.public.a_b', tables: ['public.a b of the source', 'public.a_b of the source'] },
      { topic: 'shop.mapped.new.c', tables: ['mapped.new.c of the source', 'new.c of the target'] },
    ]);
  });
});
