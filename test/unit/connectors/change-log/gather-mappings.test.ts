/** The file changes while transformers of the old one still run: what they mapped counts for nobody who reads by the new one. */
import { afterEach, expect, test, vi } from 'vitest';
import type { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import type { GatherPlace } from '#connectors/change-log/kafka/order/bookmark.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { claimsTopic, mappedTopic, rawTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { insert } from '#test/support/frames.ts';
import { fileOf, NARROW, next, PARTITIONS, release, WHOLE, World } from '#test/support/changed-file-world.ts';
import { TABLES } from '#test/support/gather-tables.ts';
import type { MemoryKafka } from '#test/support/memory-cluster.ts';

afterEach(() => installTestHooks({}));
afterEach(() => vi.restoreAllMocks());

test('a table that was added: what came while only transformers of the old file ran is mapped by one of the new', async () => {
  const world = new World();
  const [other] = TABLES.slice(1);
  const stopOld = world.transformer(fileOf(other!.mapping));
  await world.begin();
  const frames = await world.write('1');
  await stopOld();
  world.transformer(fileOf(WHOLE, other!.mapping));
  const gather = world.gather(fileOf(WHOLE, other!.mapping));
  await gather.prepare(undefined);
  expect(await next(gather, 0)).toEqual(frames);
  await world.close();
});

test('a column that was added: a row that a transformer of the old file wrote and did not claim comes with the column', async () => {
  let isKilled = true;
  const world = new World({
    fate: ({ batches }) =>
      isKilled && batches.some(({ topic }) => topic === claimsTopic('m')) ? { answer: 'error', stores: () => false } : undefined,
  });
  const stopOld = world.transformer(fileOf(NARROW));
  await world.begin();
  const frames = await world.write('1');
  await world.mapped(1);
  await stopOld();
  isKilled = false;
  world.transformer(fileOf(WHOLE));
  await world.claimed(WHOLE, 1);
  const gather = world.gather(fileOf(WHOLE));
  await gather.prepare(undefined);
  expect(await next(gather, 0)).toEqual(frames);
  await world.close();
});

test('transformers of both files at once: each sink reads what its own file maps', async () => {
  const world = new World();
  world.transformer(fileOf(NARROW));
  world.transformer(fileOf(WHOLE));
  await world.begin();
  const frames = await world.write('1', '2', '3');
  for (const mapping of [WHOLE, NARROW]) {
    const gather = world.gather(fileOf(mapping));
    await gather.prepare(undefined);
    const seen = await next(gather, 0);
    if (mapping === WHOLE) expect(seen).toEqual(frames);
    else expect(seen?.slice(2, 5)).toEqual(['1', '2', '3'].map((value) => insert(101, [value, value])));
  }
  await world.close();
});

test('a bookmark made under the old file, behind what the new one has mapped already, loses none of it', async () => {
  const world = new World();
  world.transformer(fileOf(WHOLE));
  await world.begin();
  await world.write('1', '2', '3');
  await world.claimed(WHOLE, 3);
  const stopOld = world.transformer(fileOf(NARROW));
  const old = world.gather(fileOf(NARROW));
  await old.prepare(undefined);
  await next(old, 0);
  await stopOld();
  const frames = await world.write('4', '5', '6');
  await world.claimed(WHOLE, 6);
  // It waits for what nobody maps by its file, and its reading passes all that the new one's transformers wrote.
  await old.prepare(undefined);
  const cursor = old.read(0, 0);
  await cursor.next(AbortSignal.timeout(5_000));
  expect(await cursor.poll()).toBeUndefined();
  const bookmark = old.bookmark()!;
  await cursor.close();
  const gather = world.gather(fileOf(WHOLE));
  await gather.prepare(bookmark);
  expect(await next(gather, bookmark.offset)).toEqual(frames);
  await world.close();
});

test('rows that only transformers of another file map are not waited for without end', async () => {
  const world = new World();
  world.transformer(fileOf(NARROW));
  await world.begin();
  await world.write('1');
  const gather = world.gather(fileOf(WHOLE), 50);
  await gather.prepare(undefined);
  await expect(next(gather, 0)).rejects.toMatchObject({ code: 'CF-3006', message: expect.stringContaining('another migration file') });
  await world.close();
});

test('claims that stand there already are all read before anything is missed, however long that takes', async () => {
  const [world, clock] = [new World({ fetchRecordsMax: 1 }), { ms: 0 }];
  await world.begin();
  const frames = await world.write('1');
  world.kafka.ensureTopic(claimsTopic('m'), { partitions: 1 });
  for (let claims = 0; claims < 40; claims++) await world.claim(NARROW, 0, 1);
  world.transformer(fileOf(WHOLE));
  await world.claimed(WHOLE, 1);
  const gather = world.gather(fileOf(WHOLE), 1_000);
  await gather.prepare(undefined);
  vi.spyOn(performance, 'now').mockImplementation(() => (clock.ms += 100));
  expect(await next(gather, 0)).toEqual(frames);
  await world.close();
});

/** Of three rows in one raw partition the second is not claimed by the file yet, but something behind it is. */
const AHEAD: readonly (readonly [string, string, (world: World) => Promise<void>])[] = [
  [
    'by another file',
    'CF-3006',
    async (world) => {
      world.transformer(fileOf(NARROW));
      await world.claimed(NARROW, 3);
    },
  ],
  ['apart from what was claimed before', 'CF-3003', async (world) => world.claim(WHOLE, 2, 3)],
];

test.each(AHEAD)('what was mapped %s is waited for as long as mapping goes on towards it, however slowly', async (_, code, ahead) => {
  const world = new World();
  await world.begin();
  await world.write('1', '1', '1');
  world.kafka.ensureTopic(mappedTopic('m', WHOLE.to), { partitions: PARTITIONS });
  world.kafka.ensureTopic(claimsTopic('m'), { partitions: 1 });
  await ahead(world);
  const gather = world.gather(fileOf(WHOLE), 1_000);
  await gather.prepare(undefined);
  const cursor = gather.read(0, 0);
  const now = vi.spyOn(performance, 'now').mockReturnValue(0);
  /** What is there comes at once, in this process. */
  const allRead = async (): Promise<void> => {
    for (let polls = 0; polls < 3; polls++) expect(await cursor.poll()).toBeUndefined();
  };
  await allRead();
  await world.claim(WHOLE, 0, 1);
  now.mockReturnValue(900);
  await allRead();
  now.mockReturnValue(1_800);
  await allRead();
  now.mockReturnValue(2_000);
  await expect(cursor.poll()).rejects.toMatchObject({ code });
  await cursor.close();
  await world.close();
});

async function starts(kafka: MemoryKafka, topic: string): Promise<number> {
  return (await kafka.client().bounds(topic)).reduce((sum, { start }) => sum + start, 0);
}

test('a table mapped anew where topics were cut is mapped from there, and nothing is missing', async () => {
  const world = new World();
  const stopOld = world.transformer(fileOf(NARROW));
  await world.begin();
  await world.write('1', '2', '3');
  const old = world.gather(fileOf(NARROW));
  await old.prepare(undefined);
  const bookmark = await release(old, 6);
  expect(await starts(world.kafka, mappedTopic('m', WHOLE.to))).toBe(3);
  expect(await starts(world.kafka, rawTopic('m', WHOLE.from))).toBe(3);
  expect(await starts(world.kafka, claimsTopic('m'))).toBeGreaterThan(0);
  await stopOld();
  const frames = await world.write('4', '5');
  world.transformer(fileOf(WHOLE));
  const gather = world.gather(fileOf(WHOLE));
  await gather.prepare(bookmark);
  expect(await next(gather, bookmark.offset)).toEqual(frames);
  await world.close();
});

test('a table mapped anew is refused when what was mapped of it is gone, and goes on behind a sink of the file of before', async () => {
  const world = new World();
  const stopNew = world.transformer(fileOf(WHOLE));
  await world.begin();
  const written = [...(await world.write('1', '2', '3')), ...(await world.write('4'))];
  await world.claimed(WHOLE, 4);
  await stopNew();
  const cluster = world.kafka.client();
  const topic = mappedTopic('m', WHOLE.to);
  const ends = (await cluster.bounds(topic)).map(({ end }) => end);
  for (const [partition, end] of ends.entries()) await cluster.trim({ topic, partition }, end);
  const none: Bookmark = { offset: 0, place: JSON.stringify(placeOf(NARROW, ends)) };
  const changed = world.gather(fileOf(WHOLE), 50);
  await changed.prepare(none);
  await expect(next(changed, 0)).rejects.toMatchObject({ code: 'CF-3003', remedy: expect.stringContaining('the file of before') });
  const stopOld = world.transformer(fileOf(NARROW));
  const old = world.gather(fileOf(NARROW));
  await old.prepare(none);
  const bookmark = await release(old, written.length);
  await stopOld();
  const frames = await world.write('5');
  world.transformer(fileOf(WHOLE));
  const gather = world.gather(fileOf(WHOLE));
  await gather.prepare(bookmark);
  expect(await next(gather, bookmark.offset)).toEqual(frames);
  await world.close();
});

/** The beginning, as a sink of the file has it that passed so much of what another one's transformers mapped. */
function placeOf(mapping: TableMapping, passed: readonly number[]): GatherPlace {
  const mapped = { [mappedTopic('m', mapping.to)]: passed };
  return { version: 2, mappings: [tableTag(mapping)], base: 0, order: 0, epoch: -1, topics: [], claims: 0, mapped, raw: [] };
}

test('what stands in a raw topic below the first record named is wanted by nobody, and may be gone', async () => {
  const world = new World();
  const topic = rawTopic('m', WHOLE.from);
  const cluster = world.kafka.client();
  world.kafka.ensureTopic(topic, { partitions: PARTITIONS });
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const builder = new RecordsBuilder();
    builder.add(undefined, undefined);
    await cluster.produce([{ topic, partition, records: builder.take() }]);
    await cluster.trim({ topic, partition }, 1);
  }
  world.transformer(fileOf(WHOLE));
  await world.begin();
  const frames = await world.write('1', '2', '3', '4');
  const gather = world.gather(fileOf(WHOLE), 50);
  await gather.prepare(undefined);
  expect(await next(gather, 0)).toEqual(frames);
  await world.close();
});

/** Of the second of two transactions the rows are removed before they are mapped, by a filter that lets all of them pass. */
async function unmapped(): Promise<{ readonly world: World; readonly gather: GatherTopic }> {
  const filter = { conditions: [{ column: 'note', op: 'in' as const, values: ['1', '2', '3', '4', '5', '6'] }] };
  const mapping = { ...WHOLE, filter };
  const world = new World();
  const stop = world.transformer(fileOf(mapping));
  await world.begin();
  await world.write('1', '2', '3');
  await world.claimed(mapping, 3);
  await stop();
  await world.write('4', '5', '6');
  const topic = rawTopic('m', WHOLE.from);
  const cluster = world.kafka.client();
  for (const [partition, { end }] of (await cluster.bounds(topic)).entries()) await cluster.trim({ topic, partition }, end);
  world.transformer(fileOf(mapping));
  await world.claimed(mapping, 6);
  const gather = world.gather(fileOf(mapping), 50);
  await gather.prepare(undefined);
  expect(await next(gather, 0)).toHaveLength(6);
  return { world, gather };
}

test('rows that retention took before they were mapped are refused, not left out', async () => {
  const { world, gather } = await unmapped();
  await expect(next(gather, 6)).rejects.toMatchObject({ code: 'CF-3003', remedy: expect.stringContaining('retention') });
  await world.close();
});

test('without the rule that claims join they would be left out', async () => {
  const { world, gather } = await unmapped();
  installTestHooks({ disabledGuards: ['claim-gap'] });
  expect(await next(gather, 6)).toHaveLength(3);
  await world.close();
});
