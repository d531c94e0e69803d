/** What becomes of each kind of frame when a batch is scattered. */
import { describe, expect, test } from 'vitest';
import type { RecordBatch } from '#connectors/change-log/change-log.ts';
import { ScatterTopic, type ScatterTopicOptions } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { encodeChunkHeader, encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { SchemaRegistry } from '#schemas/wire/wire.ts';
import * as frames from '#test/support/frames.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';
import { catalogTable, flagNames, readScattered, type ScatteredLog } from '#test/support/scattered-log.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';

const ORDERS = catalogTable({ oid: 100, name: 'orders', columns: ['id', 'status', 'note'], key: ['id'] });
const FULL = catalogTable({ oid: 200, name: 'full_rows', columns: ['id', 'body', 'n'], key: ['id'], identity: 'f' });
const KEYLESS = catalogTable({ oid: 300, name: 'log lines', columns: ['line', 'n'], key: [], identity: 'f' });
const PARTED = catalogTable({ oid: 400, name: 'parted', columns: ['id', 'day'], key: ['id'], leaves: [401, 402] });
const TABLES = [ORDERS, FULL, KEYLESS, PARTED];

const ORDERS_RELATION = frames.relation({
  oid: 100,
  name: 'orders',
  columns: [{ name: 'id', key: true }, { name: 'status' }, { name: 'note' }],
});
const FULL_RELATION = frames.relation({
  oid: 200,
  name: 'full_rows',
  identity: 'f',
  columns: ['id', 'body', 'n'].map((name) => ({ name, key: true })),
});
const KEYLESS_RELATION = frames.relation({
  oid: 300,
  name: 'log lines',
  identity: 'f',
  columns: ['line', 'n'].map((name) => ({ name, key: true })),
});
const BEGIN = frames.begin(500n, 77, 1_000_000n);
const COMMIT = frames.commit(500n, 540n);

interface World {
  readonly kafka: MemoryKafka;
  readonly topic: ScatterTopic;
  /** Numbers of the schemas registered. */
  readonly schemas: ReadonlySet<number>;
  readonly read: () => Promise<ScatteredLog>;
  readonly append: (...of: readonly Buffer[]) => Promise<ScatteredLog>;
}

function tableOf(tables: readonly CatalogTable[]): ScatterTopicOptions['tableOf'] {
  return (relation) =>
    tables.find(
      ({ oid, schema, name, leaves }) =>
        oid === relation.oid || leaves.some((leaf) => leaf.oid === relation.oid) || (schema === relation.schema && name === relation.name),
    );
}

async function openWorld(partitions = 3): Promise<World> {
  const kafka = new MemoryKafka();
  const schemas = new Set<number>();
  const memory = memoryRegistry();
  const registry: SchemaRegistry = {
    ...memory,
    register: async (subject, schema) => {
      const id = await memory.register(subject, schema);
      schemas.add(id);
      return id;
    },
  };
  const topic = new ScatterTopic({
    cluster: kafka.client(),
    name: 'shop',
    format: avroFormat(registry, { name: 'shop' }),
    database: 'db',
    partitions,
    tableOf: tableOf(TABLES),
  });
  await topic.begin(1);
  const read = (): Promise<ScatteredLog> => readScattered(kafka, 'shop', avroFormat(registry, { name: 'shop' }));
  const append = async (...of: readonly Buffer[]): Promise<ScatteredLog> => {
    await topic.append(0, batchOf(of));
    return read();
  };
  return { kafka, topic, schemas, read, append };
}

function batchOf(of: readonly Buffer[]): RecordBatch {
  return { count: of.length, parts: [frames.records(of)] };
}

function chunk(table: string, columns: readonly string[], lines: string, rows: number): Buffer {
  const header = { chunk: 'c1', schema: 'public', table, columns, rows, truncate: false, recopy: false, last: true };
  return Buffer.concat([encodeChunkHeader(header), Buffer.from(lines)]);
}

describe('a scattered batch', () => {
  test('has a record for each row and everything else in the skeleton of its one segment', async () => {
    const { append } = await openWorld();
    const log = await append(
      BEGIN,
      ORDERS_RELATION,
      frames.insert(100, ['1', 'new', null]),
      frames.update(100, ['1', 'paid', undefined]),
      frames.remove(100, ['1', null, null]),
      COMMIT,
    );
    expect(log.segments).toMatchObject([{ epoch: 1, base: 0, count: 6 }]);
    expect([...log.skeleton.keys()]).toEqual([0, 1, 5]);
    expect(log.skeleton.get(0)).toEqual(BEGIN);
    expect(log.skeleton.get(1)).toEqual(ORDERS_RELATION);
    expect(log.skeleton.get(5)).toEqual(COMMIT);
    expect(log.rows).toMatchObject([
      { v: 2, sub: 0, oid: 100, op: 'c', flags: 0, key: { id: '1' }, before: undefined, after: { id: '1', status: 'new', note: null } },
      { v: 3, sub: 0, op: 'u', key: { id: '1' }, before: undefined, after: { id: '1', status: 'paid', note: undefined } },
      { v: 4, sub: 0, op: 'd', flags: 0, key: { id: '1' }, before: { id: '1' }, after: undefined },
      { v: 4, sub: 0, op: undefined, key: { id: '1' } },
    ]);
    expect(flagNames(log.rows[3]!.flags)).toEqual(['tombstone']);
  });

  test('puts a row where a Java producer would, and names the exact offsets of each partition', async () => {
    const { append, kafka } = await openWorld(5);
    const ids = Array.from({ length: 40 }, (_, i) => String(i));
    const log = await append(BEGIN, ORDERS_RELATION, ...ids.map((id) => frames.insert(100, [id, 's', 'n'])), COMMIT);
    expect(log.rows.map((row) => row.key)).toEqual(ids.map((id) => ({ id })));
    expect(new Set(log.rows.map((row) => row.partition)).size).toBe(5);
    for (const partition of [0, 1, 2, 3, 4]) {
      const records = kafka.records('shop.public.orders', partition);
      for (const { key } of records) expect(partitionOf(key!, 5)).toBe(partition);
      expect(log.segments[0]!.ranges).toContainEqual({ topic: 0, partition, from: 0, to: records.length });
    }
  });

  test('comes out the same wherever its bytes are cut into parts', async () => {
    const all = [
      BEGIN,
      ORDERS_RELATION,
      frames.insert(100, ['1', 'a', 'b']),
      chunk('orders', ['id', 'status', 'note'], '2\tx\ty\n', 1),
      COMMIT,
    ];
    const bytes = frames.records(all);
    const whole = await (await openWorld()).append(...all);
    for (const size of [1, 3, 7, 50]) {
      const { topic, read } = await openWorld();
      const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
      await topic.append(0, { count: all.length, parts });
      const { rows, skeleton } = await read();
      expect(rows).toEqual(whole.rows);
      expect(skeleton).toEqual(whole.skeleton);
    }
  });

  test('without rows is a segment and no more', async () => {
    const { append, kafka } = await openWorld();
    const epoch = encodeJsonFrame(FRAME.epoch, { epoch: 1, systemId: 's', timeline: 1 });
    const log = await append(epoch);
    const told = log.segments.map((segment) => ({ ...segment, skeleton: [...segment.skeleton] }));
    expect(told).toEqual([{ t: 'segment', epoch: 1, base: 0, count: 1, ranges: [], skeleton: [{ v: 0, frame: epoch }] }]);
    expect(kafka.topics()).toEqual(['shop.order']);
  });

  test('whose skeleton would not fit into a broker is cut into segments that follow one another', async () => {
    const { append } = await openWorld();
    const large = frames.logicalMessage('crossfade', 'x'.repeat(300_000));
    const log = await append(BEGIN, large, large, large, large, COMMIT);
    expect(log.segments.map(({ base, count }) => [base, count])).toEqual([
      [0, 3],
      [3, 2],
      [5, 1],
    ]);
    expect(log.end).toBe(6);
  });
});

describe('an update', () => {
  test('with the old row carries it, and takes from it what it did not carry itself', async () => {
    const { append } = await openWorld();
    const old = { kind: 'O', values: ['1', 'a large body', 'x'] } as const;
    const { rows } = await append(BEGIN, FULL_RELATION, frames.update(200, ['1', undefined, 'y'], old), COMMIT);
    expect(rows).toMatchObject([
      { op: 'u', flags: 0, before: { id: '1', body: 'a large body', n: 'x' }, after: { id: '1', body: 'a large body', n: 'y' } },
    ]);
  });

  test('of the key is a create under the new one and a delete under the old one, linked', async () => {
    const { append } = await openWorld();
    const { rows, skeleton } = await append(
      BEGIN,
      ORDERS_RELATION,
      frames.update(100, ['2', 'moved', undefined], { kind: 'K', values: ['1', null, null] }),
      COMMIT,
    );
    expect(rows.map(({ v, sub, op, key, flags }) => ({ v, sub, op, key, flags: flagNames(flags) }))).toEqual([
      { v: 2, sub: 0, op: 'c', key: { id: '2' }, flags: ['movedHere'] },
      { v: 2, sub: 1, op: 'd', key: { id: '1' }, flags: ['movedAway'] },
      { v: 2, sub: 1, op: undefined, key: { id: '1' }, flags: ['tombstone'] },
    ]);
    expect(rows[0]).toMatchObject({ oldKey: { id: '1' }, before: undefined, after: { id: '2', status: 'moved', note: undefined } });
    expect(rows[1]).toMatchObject({ newKey: { id: '2' }, before: { id: '1' } });
    expect([...skeleton.keys()]).toEqual([0, 1, 3]);
  });

  test('of the key with the old row carries the old row', async () => {
    const { append } = await openWorld();
    const old = { kind: 'O', values: ['1', 'body', 'x'] } as const;
    const { rows } = await append(BEGIN, FULL_RELATION, frames.update(200, ['2', undefined, 'x'], old), COMMIT);
    expect(rows[0]).toMatchObject({ op: 'c', before: { id: '1', body: 'body', n: 'x' }, after: { id: '2', body: 'body', n: 'x' } });
    expect(rows[1]).toMatchObject({ op: 'd', before: { id: '1', body: 'body', n: 'x' } });
  });

  test('whose key is kept outside the row and did not change stays an update', async () => {
    const { append } = await openWorld();
    const old = { kind: 'K', values: ['a large key', null, null] } as const;
    const { rows } = await append(BEGIN, ORDERS_RELATION, frames.update(100, [undefined, 's', 'n'], old), COMMIT);
    expect(rows).toMatchObject([{ op: 'u', flags: 0, key: { id: 'a large key' }, after: { id: 'a large key', status: 's', note: 'n' } }]);
  });
});

describe('a chunk', () => {
  test('is a record for each row, in their order, and its header in the skeleton', async () => {
    const { append } = await openWorld();
    const frame = chunk('orders', ['note', 'id', 'status'], 'tab\\there\t1\t\\N\nplain\t2\tback\\\\slash\n\\N\t3\t\n', 3);
    const { rows, skeleton } = await append(BEGIN, frame, COMMIT);
    expect(rows).toMatchObject([
      { v: 1, sub: 0, oid: 100, op: 'r', key: { id: '1' }, after: { id: '1', status: null, note: 'tab\there' } },
      { v: 1, sub: 1, op: 'r', key: { id: '2' }, after: { id: '2', status: 'back\\slash', note: 'plain' } },
      { v: 1, sub: 2, op: 'r', key: { id: '3' }, after: { id: '3', status: '', note: null } },
    ]);
    expect(rows.every((row) => flagNames(row.flags).join() === 'chunk')).toBe(true);
    const header = frame.subarray(0, 5 + frame.readUInt32BE(1));
    expect(skeleton.get(1)).toEqual(header);
  });

  test('without rows is its header', async () => {
    const { append } = await openWorld();
    const frame = chunk('orders', ['id', 'status', 'note'], '', 0);
    const { rows, skeleton } = await append(BEGIN, frame, COMMIT);
    expect(rows).toEqual([]);
    expect(skeleton.get(1)).toEqual(frame);
  });

  test('leaves a column that it does not hold absent', async () => {
    const { append } = await openWorld();
    const { rows } = await append(BEGIN, chunk('orders', ['id', 'status'], '1\tx\n', 1), COMMIT);
    expect(rows).toMatchObject([{ after: { id: '1', status: 'x', note: undefined } }]);
  });

  test('and the stream write the rows of one table by one schema', async () => {
    const { append, schemas } = await openWorld();
    await append(
      BEGIN,
      chunk('orders', ['id', 'status', 'note'], '1\tx\ty\n', 1),
      ORDERS_RELATION,
      frames.insert(100, ['2', 'a', 'b']),
      COMMIT,
    );
    expect(schemas.size).toBe(2); // key and value
  });
});

describe('tables', () => {
  test('without a key go to one partition, without record key and tombstone', async () => {
    const { append } = await openWorld();
    const { rows } = await append(
      BEGIN,
      KEYLESS_RELATION,
      frames.insert(300, ['a', '1']),
      frames.update(300, ['b', '1'], { kind: 'O', values: ['a', '1'] }),
      frames.remove(300, ['b', '1'], 'O'),
      COMMIT,
    );
    expect(rows).toMatchObject([
      { topic: 'shop.public.log_lines', partition: 0, op: 'c', key: undefined },
      { partition: 0, op: 'u', before: { line: 'a', n: '1' }, after: { line: 'b', n: '1' } },
      { partition: 0, op: 'd', before: { line: 'b', n: '1' } },
    ]);
    expect(rows).toHaveLength(3);
  });

  test('that the file does not map stay in the skeleton, changes and chunks alike', async () => {
    const { append, kafka } = await openWorld();
    const relation = frames.relation({ oid: 900, name: 'other', columns: [{ name: 'id', key: true }] });
    const all = [BEGIN, relation, frames.insert(900, ['1']), chunk('other', ['id'], '7\n', 1), frames.truncate([900]), COMMIT];
    const { rows, skeleton } = await append(...all);
    expect(rows).toEqual([]);
    expect([...skeleton.values()]).toEqual(all);
    expect(kafka.topics()).toEqual(['shop.order']);
  });

  test('that are leaves of one table share its topic and schema, whatever the order of their columns', async () => {
    const { append, schemas } = await openWorld();
    const { rows } = await append(
      BEGIN,
      frames.relation({ oid: 401, name: 'parted_401', columns: [{ name: 'id', key: true }, { name: 'day' }] }),
      frames.insert(401, ['1', 'mon']),
      frames.relation({ oid: 402, name: 'parted_402', columns: [{ name: 'day' }, { name: 'id', key: true }] }),
      frames.insert(402, ['tue', '2']),
      COMMIT,
    );
    expect(rows).toMatchObject([
      { topic: 'shop.public.parted', oid: 401, after: { id: '1', day: 'mon' } },
      { topic: 'shop.public.parted', oid: 402, after: { id: '2', day: 'tue' } },
    ]);
    expect(schemas.size).toBe(2);
  });

  test('that are truncated tell every partition; a truncate of some leaves stands in the skeleton alone', async () => {
    const { append } = await openWorld();
    const leaves = [401, 402].map((oid) =>
      frames.relation({ oid, name: `parted_${oid}`, columns: [{ name: 'id', key: true }, { name: 'day' }] }),
    );
    const { rows, skeleton } = await append(BEGIN, ...leaves, frames.truncate([401]), frames.truncate([401, 402]), COMMIT);
    expect(rows.map(({ v, partition, op, flags }) => ({ v, partition, op, flags: flagNames(flags) }))).toEqual(
      [0, 1, 2].map((partition) => ({ v: 4, partition, op: 't', flags: ['truncate'] })),
    );
    expect([...skeleton.keys()]).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

test('a row of a relation that nobody described is refused', async () => {
  const { topic } = await openWorld();
  await expect(topic.append(0, batchOf([BEGIN, frames.insert(100, ['1', 'a', 'b'])]))).rejects.toMatchObject({ code: 'CF-3002' });
});

test('a relation described in a segment before this epoch needs no second description', async () => {
  const { topic, append } = await openWorld();
  await append(BEGIN, ORDERS_RELATION, frames.insert(100, ['1', 'a', 'b']), COMMIT);
  await topic.begin(2);
  const { rows } = await append(BEGIN, frames.insert(100, ['2', 'c', 'd']), COMMIT);
  expect(rows.map((row) => row.key)).toEqual([{ id: '1' }, { id: '2' }]);
});

test('a relation whose segment was removed is learnt from elsewhere', async () => {
  const { topic, append } = await openWorld();
  topic.learn(ORDERS_RELATION);
  const { rows } = await append(BEGIN, frames.insert(100, ['2', 'c', 'd']), COMMIT);
  expect(rows).toMatchObject([{ key: { id: '2' } }]);
});
