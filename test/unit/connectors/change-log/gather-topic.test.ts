import { afterEach, expect, test } from 'vitest';
import type { ReadBatch } from '#connectors/change-log/change-log.ts';
import { claimsTopic, mappedTopic, orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { GatherPlace } from '#connectors/change-log/kafka/order/bookmark.ts';
import type { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { decodeChunkRows } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { begin, commit, insert, relation, remove, update } from '#test/support/frames.ts';
import { gatheredLog, type GatheredLog } from '#test/support/gathered-log.ts';
import { TABLES } from '#test/support/gather-tables.ts';
import { batchOf, recordsOf } from '#test/support/log-records.ts';
import type { MemoryKafkaOptions } from '#test/support/memory-cluster.ts';
import { catalogTable } from '#test/support/scattered-log.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';

const { mapping } = TABLES[0]!;
const COLUMNS = ['id', 'note', 'big'];
const RELATION = relation({ oid: 101, name: 'plain', columns: COLUMNS.map((name) => ({ name, key: name === 'id' })) });

afterEach(() => installTestHooks({}));

async function open(filter?: string, options: MemoryKafkaOptions = {}): Promise<GatheredLog & { readonly gather: GatherTopic }> {
  const condition = { column: 'note', op: 'in' as const, values: [filter ?? null] };
  const table = filter === undefined ? mapping : { ...mapping, filter: { conditions: [condition] } };
  const catalog = catalogTable({ oid: 101, name: 'plain', columns: COLUMNS, key: ['id'] });
  const log = await gatheredLog({ name: 'm', hash: 'ours', tables: [table] }, [catalog], options);
  return { ...log, gather: log.settings.raw as GatherTopic };
}

async function readTo(gather: GatherTopic, end: number, from = 0): Promise<readonly ReadBatch[]> {
  const cursor = gather.read(0, from);
  const batches: ReadBatch[] = [];
  try {
    for (let at = from; at < end; at = batches.at(-1)!.baseOffset + batches.at(-1)!.count) {
      const batch = await cursor.next(AbortSignal.timeout(5_000));
      if (batch === undefined) throw new Error(`nothing came behind record ${at}`);
      batches.push(batch);
    }
  } finally {
    await cursor.close();
  }
  return batches;
}

test('what was appended is read, and behind the last of it poll brings nothing', async () => {
  const log = await open();
  const frames = [begin(1n), RELATION, insert(101, ['1', 'a', null]), update(101, ['1', 'b', undefined]), remove(101, ['1', null, null])];
  await log.raw.append(0, batchOf(...frames, commit(1n, 2n)));
  await log.gather.prepare(undefined);
  expect([log.gather.start(0), log.gather.end(0)]).toEqual([0, 6]);
  const cursor = log.gather.read(0, 0);
  const batch = await cursor.next(AbortSignal.timeout(5_000));
  expect({ base: batch!.baseOffset, frames: recordsOf(batch!) }).toEqual({ base: 0, frames: [...frames, commit(1n, 2n)] });
  expect(await cursor.poll()).toBeUndefined();
  await cursor.close();
  await log.close();
});

test('rows that the filter takes leave gaps before the commit, which keeps its number', async () => {
  const log = await open('in');
  const rows = ['in', 'out', 'in', 'out', 'out'].map((note, i) => insert(101, [String(i), note, null]));
  await log.raw.append(0, batchOf(begin(1n), RELATION, ...rows, commit(1n, 2n)));
  await log.gather.prepare(undefined);
  const [batch] = await readTo(log.gather, 8);
  expect([batch!.baseOffset, batch!.count]).toEqual([3, 5]);
  expect(recordsOf(batch!)).toEqual([begin(1n), RELATION, rows[0], rows[2], commit(1n, 2n)]);
  await log.close();
});

test('a row that fits the mapping no longer comes as a change of its relation, a chunk of such rows as one without columns', async () => {
  const log = await open();
  const other = relation({ oid: 101, name: 'plain', columns: ['id', 'note'].map((name) => ({ name, key: name === 'id' })) });
  const chunk = chunkFrame({ schema: 'public', table: 'plain', columns: ['id', 'note'] }, [['1', 'a']]);
  await log.raw.append(0, batchOf(begin(1n), other, insert(101, ['1', 'a']), chunk, commit(1n, 2n)));
  await log.gather.prepare(undefined);
  const frames = (await readTo(log.gather, 5)).flatMap((batch) => recordsOf(batch));
  expect(frames[2]).toEqual(remove(101, [null, null, null]));
  expect(decodeChunkRows(frames[3]!)).toMatchObject({ header: { columns: [], rows: 0 }, rows: Buffer.alloc(0) });
  await log.close();
});

test('a mapped record that is gone is noticed', async () => {
  const log = await open();
  await log.raw.append(0, batchOf(begin(1n), RELATION, insert(101, ['1', 'a', null]), commit(1n, 2n)));
  await log.gather.prepare(undefined);
  await readTo(log.gather, 4);
  for (let partition = 0; partition < 3; partition++) {
    const { records } = log.kafka.partition({ topic: mappedTopic('m', mapping.to), partition });
    records.forEach((record, i) => (records[i] = { ...record, header: () => undefined }));
  }
  await expect(readTo(log.gather, 4)).rejects.toMatchObject({ code: 'CF-3002' });
  await log.close();
});

test('rows of a table that the file no longer maps are passed over', async () => {
  const log = await open();
  await log.raw.append(0, batchOf(begin(1n), RELATION, insert(101, ['1', 'a', null]), commit(1n, 2n)));
  const [other] = TABLES.slice(1);
  await log.gather.prepare(undefined);
  await readTo(log.gather, 4);
  const gather = log.gatherFor({ name: 'm', hash: 'later', tables: [other!.mapping] });
  await gather.prepare(undefined);
  expect((await readTo(gather, 4)).flatMap((batch) => recordsOf(batch))).toEqual([begin(1n), RELATION, commit(1n, 2n)]);
  await log.close();
});

test('what another file’s transformers have mapped stands in the way of nothing, however much it is', async () => {
  const log = await open(undefined, { fetchRecordsMax: 2 });
  const rows = Array.from({ length: 120 }, (_, i) => insert(101, [String(i), 'a', 'x'.repeat(100_000)]));
  for (let lsn = 1n, at = 0; at < rows.length; at += 10, lsn += 2n)
    await log.raw.append(0, batchOf(begin(lsn), RELATION, ...rows.slice(at, at + 10), commit(lsn, lsn + 1n)));
  const gather = log.gatherFor({ name: 'm', hash: 'later', tables: [{ ...mapping, columns: mapping.columns.slice(0, 2) }] });
  await gather.prepare(undefined);
  const cursor = gather.read(0, 0);
  const passed = (): number => {
    const place = JSON.parse(gather.bookmark()?.place ?? '{}') as Partial<GatherPlace>;
    return place.mapped?.[mappedTopic('m', mapping.to)]?.reduce((sum, offset) => sum + offset, 0) ?? 0;
  };
  // Of 12 MB no more than 4 wait packed.
  for (let polls = 0; polls < 50 && passed() < 75; polls++) expect(await cursor.poll()).toBeUndefined();
  expect(passed()).toBeGreaterThanOrEqual(75);
  await cursor.close();
  await log.close();
});

test('a log whose beginning was removed is read from a bookmark, and refused without one', async () => {
  const log = await open();
  const append = async (lsn: bigint): Promise<void> => {
    await log.raw.append(0, batchOf(begin(lsn), RELATION, insert(101, [String(lsn), 'a', null]), commit(lsn, lsn + 1n)));
  };
  for (let lsn = 10n; lsn < 15n; lsn++) await append(lsn);
  await log.gather.prepare(undefined);
  await readTo(log.gather, 20);
  const bookmark = log.gather.bookmark();
  expect(bookmark?.offset).toBe(20);
  const cluster = log.kafka.client();
  for (const topic of [orderTopic('m'), claimsTopic('m'), mappedTopic('m', mapping.to)]) {
    const bounds = await cluster.bounds(topic);
    for (const [partition, { end }] of bounds.entries()) await cluster.trim({ topic, partition }, end);
  }
  await append(20n);
  await log.gather.prepare(bookmark);
  expect((await readTo(log.gather, 24, 20)).flatMap((batch) => recordsOf(batch))).toHaveLength(4);
  expect(() => log.gather.read(0, 19)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
  await log.gather.prepare(undefined);
  expect(() => log.gather.read(0, 20)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
  await log.close();
});

test('claims that name more than a mapped topic holds tell of one that was made anew', async () => {
  const log = await open();
  const topic = mappedTopic('m', mapping.to);
  const builder = new RecordsBuilder();
  const entries = [{ topic: 9, partition: 0, offset: 1, ends: { [topic]: [[0, 7]] } }];
  builder.add(undefined, Buffer.from(JSON.stringify({ t: 'claim', mapping: 'ours', entries })));
  await log.gather.prepare(undefined);
  await log.kafka.client().produce([{ topic: claimsTopic('m'), partition: 0, records: builder.take() }]);
  const read = async (): Promise<unknown> => {
    await log.gather.prepare(undefined);
    const cursor = log.gather.read(0, 0);
    try {
      return await cursor.poll();
    } finally {
      await cursor.close();
    }
  };
  await expect(read()).rejects.toThrow(/partition 0 of topic m\.mapped\..* goes on with offset 0.*up to 7.*made anew/);
  installTestHooks({ disabledGuards: ['mapped-ends'] });
  expect(await read()).toBeUndefined();
  await log.close();
});
