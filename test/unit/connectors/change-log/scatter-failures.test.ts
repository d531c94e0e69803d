/** What holds when Kafka fails, answers late, or another reader takes over. */
import { describe, expect, test } from 'vitest';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import type { KafkaCluster, ProduceBatch } from '#connectors/change-log/kafka/cluster.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { PipelineError } from '#schemas/errors.ts';
import {
  decodeOrderRecord,
  encodeOrderJson,
  encodeSegment,
  type CheckpointOrderRecord,
  type OrderRecord,
} from '#schemas/order/order-record.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { cutWhileRead } from '#test/support/cut-while-read.ts';
import * as frames from '#test/support/frames.ts';
import { MemoryKafka, type Fate, type MemoryKafkaOptions } from '#test/support/memory-cluster.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { catalogTable, readScattered, type ScatteredLog } from '#test/support/scattered-log.ts';

const ORDER = 'shop.order';
const TABLE = catalogTable({ oid: 100, name: 'orders', columns: ['id', 'body'], key: ['id'] });
const OTHER = catalogTable({ oid: 200, name: 'others', columns: ['id', 'body'], key: ['id'] });
const RELATION = frames.relation({ oid: 100, name: 'orders', columns: [{ name: 'id', key: true }, { name: 'body' }] });
const OTHER_RELATION = frames.relation({ oid: 200, name: 'others', columns: [{ name: 'id', key: true }, { name: 'body' }] });

class World {
  readonly kafka: MemoryKafka;
  readonly registry = memoryRegistry();

  constructor(options: MemoryKafkaOptions = {}) {
    this.kafka = new MemoryKafka(options);
  }

  reader(cluster: KafkaCluster = this.kafka.client()): ScatterTopic {
    return new ScatterTopic({
      cluster,
      name: 'shop',
      format: avroFormat(this.registry, { name: 'shop' }),
      database: 'db',
      partitions: 3,
      tableOf: ({ oid }) => (oid === 200 ? OTHER : TABLE),
    });
  }

  read(): Promise<ScatteredLog> {
    return readScattered(this.kafka, 'shop', avroFormat(this.registry, { name: 'shop' }));
  }

  registrations(): number {
    return this.#order().filter(({ t }) => t === 'topic').length;
  }

  /** The last that counts. */
  checkpoint(): CheckpointOrderRecord {
    const last = this.#order().findLast(isCheckpointHere)!;
    if (last.t !== 'checkpoint') throw new Error('there is no checkpoint');
    return last;
  }

  /** At its last checkpoint. */
  async cutOrder(): Promise<void> {
    await this.kafka.client().trim({ topic: ORDER, partition: 0 }, this.checkpoint().at);
  }

  #order(): readonly (OrderRecord & { readonly offset: number })[] {
    return this.kafka.records(ORDER).map(({ value, offset }) => ({ ...decodeOrderRecord(value!), offset }));
  }

  /** As another reader would. */
  async order(...values: readonly Buffer[]): Promise<void> {
    const builder = new RecordsBuilder();
    for (const value of values) builder.add(undefined, value);
    await this.kafka.client().produce([{ topic: ORDER, partition: 0, records: builder.take() }]);
  }
}

function isCheckpointHere(record: OrderRecord & { readonly offset: number }): boolean {
  return record.t === 'checkpoint' && record.at === record.offset;
}

/** One whole transaction, of as many rows. */
function transaction(lsn: number, rows = 1): readonly Buffer[] {
  const inserts = Array.from({ length: rows }, (_, i) => frames.insert(100, [`${lsn}-${i}`, 'x']));
  return [frames.begin(BigInt(lsn)), RELATION, ...inserts, frames.commit(BigInt(lsn), BigInt(lsn + 5))];
}

function append(topic: ScatterTopic, of: readonly Buffer[]): Promise<{ readonly baseOffset: number; readonly endOffset: number }> {
  return topic.append(0, { count: of.length, parts: [frames.records(of)] });
}

/** The next call with such a batch, once `arm` was called, meets its fate. */
function strike(concerns: (batch: ProduceBatch) => boolean, fate: Fate): MemoryKafkaOptions['fate'] & { arm: () => void } {
  let armed = false;
  const decide = ({ batches }: { readonly batches: readonly ProduceBatch[] }): Fate | undefined => {
    if (!armed || !batches.some(concerns)) return undefined;
    armed = false;
    return fate;
  };
  return Object.assign(decide, { arm: () => (armed = true) });
}

const isData = ({ topic }: ProduceBatch): boolean => topic === 'shop.public.orders';
const isOrder = ({ topic }: ProduceBatch): boolean => topic === ORDER;

describe('appends', () => {
  test('started side by side resolve in their order, and their segments follow one another', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    const resolved: number[] = [];
    const all = [10, 20, 30, 40, 50].map(async (lsn) => resolved.push((await append(topic, transaction(lsn, 3))).baseOffset));
    await Promise.all(all);
    expect(resolved).toEqual([0, 6, 12, 18, 24]);
    expect(topic.end()).toBe(30);
    const log = await world.read();
    expect(log.end).toBe(30);
    expect(log.rows.map((row) => row.v)).toEqual([0, 6, 12, 18, 24].flatMap((base) => [base + 2, base + 3, base + 4]));
  });

  test('have no segment before their rows are acknowledged', async () => {
    const world = new World();
    const cluster = world.kafka.client();
    const held = Promise.withResolvers<undefined>();
    const produce = cluster.produce.bind(cluster);
    let isHeld = false;
    cluster.produce = async (batches) => {
      const produced = await produce(batches);
      if (isHeld && batches.some(isData)) await held.promise;
      return produced;
    };
    const topic = world.reader(cluster);
    await topic.begin(1);
    await append(topic, transaction(10));
    isHeld = true;
    const appended = append(topic, transaction(20));
    const behind = append(topic, [frames.begin(30n), frames.commit(30n, 35n)]); // no rows: its segment could go at once
    while ((await world.read()).rows.length + world.kafka.records('shop.public.orders', 0).length === 0) await turn();
    for (let i = 0; i < 20; i++) await turn();
    expect((await world.read()).end).toBe(4);
    held.resolve(undefined);
    await Promise.all([appended, behind]);
    expect((await world.read()).end).toBe(10);
  });

  test('before an epoch has begun are refused', async () => {
    const topic = new World().reader();
    await expect(append(topic, transaction(10))).rejects.toMatchObject({ code: 'CF-3001' });
  });
});

describe('a produce of rows that fails', () => {
  for (const [what, stores] of [
    ['before anything is stored', () => false],
    ['with part of it stored', ({ partition }: ProduceBatch) => partition === 1],
    ['although all of it was stored', () => true],
  ] as const) {
    test(`${what} fails its append and all behind it, and nothing of it counts`, async () => {
      const fate = strike(isData, { answer: 'error', stores });
      const world = new World({ fate });
      const topic = world.reader();
      await topic.begin(1);
      await append(topic, transaction(10, 5));
      fate.arm();
      const failing = [20, 30].map((lsn) => append(topic, transaction(lsn, 5)));
      for (const one of failing) await expect(one).rejects.toMatchObject({ code: 'CF-3001' });
      await expect(append(topic, transaction(40))).rejects.toMatchObject({ code: 'CF-3001' });
      expect(topic.end()).toBe(8);

      const successor = world.reader();
      await successor.begin(2);
      expect(successor.end()).toBe(8);
      expect(successor.lastCommit()).toEqual({ commitLsn: 10n, endLsn: 15n });
      await expect(append(successor, transaction(20, 5))).resolves.toEqual({ baseOffset: 8, endOffset: 16 });
      const { rows, end } = await world.read();
      expect(end).toBe(16);
      expect(rows.map((row) => row.key?.['id'])).toEqual(['10-0', '10-1', '10-2', '10-3', '10-4', '20-0', '20-1', '20-2', '20-3', '20-4']);
    });
  }

  test('since a row is too large names what to set', async () => {
    const error = new PipelineError('CF-3005', 'Kafka: produce to topic shop.public.orders, partition 0 failed: MESSAGE_TOO_LARGE');
    const fate = strike(isData, { answer: 'error', stores: () => false, error });
    const world = new World({ fate });
    const topic = world.reader();
    await topic.begin(1);
    fate.arm();
    await expect(append(topic, transaction(10))).rejects.toMatchObject({
      code: 'CF-3005',
      message: expect.stringContaining('shop.public.orders') as string,
    });
    expect((await world.read()).segments).toEqual([]);
  });

  test('leaves the same reader able to go on under a new epoch', async () => {
    const fate = strike(isData, { answer: 'error', stores: () => true });
    const world = new World({ fate });
    const topic = world.reader();
    await topic.begin(1);
    fate.arm();
    await expect(append(topic, transaction(10))).rejects.toThrow('not answered');
    await topic.begin(2);
    await expect(append(topic, transaction(10))).resolves.toEqual({ baseOffset: 0, endOffset: 4 });
    expect((await world.read()).rows).toHaveLength(1);
  });
});

describe('a segment whose answer is lost', () => {
  async function lose(stored: boolean): Promise<{ readonly topic: ScatterTopic; readonly log: ScatteredLog }> {
    const fate = strike(isOrder, { answer: 'error', stores: () => stored });
    const world = new World({ fate });
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, transaction(10));
    fate.arm();
    await expect(append(topic, transaction(20))).rejects.toMatchObject({ code: 'CF-3001' });
    await topic.begin(2);
    return { topic, log: await world.read() };
  }

  test('counts when it was stored', async () => {
    const { topic, log } = await lose(true);
    expect([topic.end(), topic.lastCommit()?.commitLsn, log.rows.length]).toEqual([8, 20n, 2]);
  });

  test('does not count when it was not stored', async () => {
    const { topic, log } = await lose(false);
    expect([topic.end(), topic.lastCommit()?.commitLsn, log.rows.length]).toEqual([4, 10n, 1]);
  });
});

describe('a replaced reader', () => {
  test('may still append once, hears of its successor by that, and nothing of it counts', async () => {
    const world = new World();
    const old = world.reader();
    await old.begin(1);
    await append(old, transaction(10));
    const young = world.reader();
    await young.begin(2);
    await expect(append(old, transaction(20))).rejects.toMatchObject({ code: 'CF-3007' });
    await append(young, transaction(30));
    await expect(append(old, transaction(40))).rejects.toMatchObject({ code: 'CF-3001' });
    const { end, rows, voided } = await world.read();
    expect({ end, voided, ids: rows.map((row) => row.key?.['id']) }).toEqual({ end: 8, voided: 1, ids: ['10-0', '30-0'] });
    const next = world.reader();
    await next.begin(3);
    expect([next.end(), next.lastCommit()?.commitLsn]).toEqual([8, 30n]);
  });

  test('cannot begin again under its old epoch', async () => {
    const world = new World();
    await world.reader().begin(7);
    await expect(world.reader().begin(5)).rejects.toMatchObject({ code: 'CF-3007' });
  });

  test("cannot take a topic's number by registering another one at the same moment", async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    // Stored just before ours: number 0 is gone, although this reader has not read that yet.
    const foreign = { t: 'topic', index: 0, topic: 'shop.public.zombie', schema: 'public', table: 'zombie', partitions: 3 } as const;
    await world.order(encodeOrderJson(foreign));
    await append(topic, transaction(10));
    const { topics, rows } = await world.read();
    expect(topics.map((each) => [each.index, each.topic])).toEqual([
      [0, 'shop.public.zombie'],
      [1, 'shop.public.orders'],
    ]);
    expect(rows).toHaveLength(1);
  });
});

describe('a begin', () => {
  test('numbers topics as the reader before it did', async () => {
    const world = new World();
    const first = world.reader();
    await first.begin(1);
    await append(first, transaction(10));
    const second = world.reader();
    await second.begin(2);
    await append(second, [frames.begin(20n), OTHER_RELATION, frames.insert(200, ['1', 'x']), RELATION, frames.commit(20n, 25n)]);
    expect((await world.read()).topics.map((each) => [each.index, each.topic])).toEqual([
      [0, 'shop.public.orders'],
      [1, 'shop.public.others'],
    ]);
  });

  test('refuses an order that has lost a segment', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, transaction(10));
    const lost = encodeSegment({ epoch: 1, base: 9, count: 1, ranges: [], skeleton: [{ v: 9, frame: frames.commit(1n, 2n) }] });
    await world.order(Buffer.concat(lost));
    await expect(world.reader().begin(2)).rejects.toMatchObject({ code: 'CF-3002' });
  });

  test('does not take a transaction for whole that was cut off', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, [...transaction(10), frames.begin(20n), frames.insert(100, ['20', 'x'])]);
    await topic.begin(2);
    expect([topic.end(), topic.lastCommit()]).toEqual([6, { commitLsn: 10n, endLsn: 15n }]);
  });
});

describe('an order that was cut at a checkpoint', () => {
  test('tells a reader all that the records before it said', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    for (const lsn of [10, 20]) await append(topic, transaction(lsn, 4));
    await topic.begin(2);
    for (const lsn of [30, 40]) await append(topic, transaction(lsn, 4));
    await world.cutOrder();
    const next = world.reader();
    await next.begin(3);
    expect([next.start(), next.end(), next.lastCommit()]).toEqual([14, 28, { commitLsn: 40n, endLsn: 45n }]);
    await append(next, transaction(50));
    expect(world.registrations()).toBe(0);
    const last = world.reader();
    await world.cutOrder();
    await last.begin(4);
    expect([last.start(), last.end(), last.lastCommit()?.commitLsn]).toEqual([28, 32, 50n]);
  });

  test('says that what a replaced reader left behind is void', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, transaction(10));
    const builder = new RecordsBuilder();
    builder.add(undefined, undefined);
    await world.kafka.client().produce([{ topic: 'shop.public.orders', partition: 2, records: builder.take() }]);
    await topic.begin(2);
    await append(topic, transaction(20));
    const named = world.checkpoint().ends.reduce((sum, [, , end]) => sum + end, 0);
    // One row of the first epoch, and what was left behind.
    expect(named).toBe(2);
  });

  test('tells the last commit where none stands behind it', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, transaction(10));
    await append(topic, transaction(20));
    await topic.begin(2);
    await append(topic, [frames.begin(30n)]);
    await world.cutOrder();
    const next = world.reader();
    await next.begin(3);
    expect([next.start(), next.end(), next.lastCommit()?.commitLsn]).toEqual([8, 9, 20n]);
  });

  test('goes on for a reader that stood below the cut', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, transaction(10));
    await topic.begin(2);
    await append(topic, transaction(20));
    await world.cutOrder();
    await topic.begin(3);
    expect([topic.end(), topic.lastCommit()?.commitLsn]).toEqual([8, 20n]);
  });

  test('goes on for a reader that is just reading it', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    await append(topic, transaction(10));
    await topic.begin(2);
    await append(topic, transaction(20));
    const next = world.reader(cutWhileRead(world.kafka.client(), { topic: ORDER, partition: 0 }, world.checkpoint().at));
    await next.begin(3);
    expect([next.start(), next.end(), next.lastCommit()?.commitLsn]).toEqual([4, 8, 20n]);
  });

  test('is refused when it was cut anywhere else', async () => {
    const world = new World();
    const topic = world.reader();
    await topic.begin(1);
    for (const lsn of [10, 20]) await append(topic, transaction(lsn));
    await world.kafka.client().trim({ topic: ORDER, partition: 0 }, 1);
    await expect(world.reader().begin(2)).rejects.toMatchObject({ code: 'CF-3003' });
  });
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
