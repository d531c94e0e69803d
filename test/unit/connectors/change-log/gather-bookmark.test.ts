/** Bookmarks made while one mapped partition's broker answers late: reading from them brings every row. */
import { expect, test } from 'vitest';
import { claimsTopic, mappedTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import type { GatherTopic } from '#connectors/change-log/kafka/order/gather-topic.ts';
import type { Fetcher, TopicPartition } from '#connectors/change-log/kafka/cluster.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Claim } from '#schemas/order/order-record.ts';
import { begin, commit, insert, relation } from '#test/support/frames.ts';
import { TABLES } from '#test/support/gather-tables.ts';
import { gatheredLog, type GatheredLog } from '#test/support/gathered-log.ts';
import { batchOf, recordsOf } from '#test/support/log-records.ts';
import { catalogTable } from '#test/support/scattered-log.ts';

const { mapping } = TABLES[0]!;
const COLUMNS = ['id', 'note', 'big'];
const RELATION = relation({ oid: 101, name: 'plain', columns: COLUMNS.map((name) => ({ name, key: name === 'id' })) });

function mappingOf(isFiltered: boolean): CompiledMapping {
  const filter = { conditions: [{ column: 'note', op: 'in' as const, values: ['in'] }] };
  return { name: 'm', hash: 'ours', tables: [isFiltered ? { ...mapping, filter } : mapping] };
}

function open(isFiltered: boolean): Promise<GatheredLog> {
  return gatheredLog(mappingOf(isFiltered), [catalogTable({ oid: 101, name: 'plain', columns: COLUMNS, key: ['id'] })]);
}

async function claims(log: GatheredLog, until: (entries: Claim['entries']) => boolean): Promise<Claim['entries']> {
  for (;;) {
    const entries = log.kafka.records(claimsTopic('m')).flatMap(({ value }) => (JSON.parse(value!.toString('utf8')) as Claim).entries);
    if (until(entries)) return entries;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A broker that answers late: brings nothing of the partition until released. */
function slow(fetcher: Fetcher, late: TopicPartition): { readonly fetcher: Fetcher; readonly release: () => void } {
  let isLate = true;
  const isIt = (place: TopicPartition): boolean => isLate && place.topic === late.topic && place.partition === late.partition;
  return {
    release: () => {
      isLate = false;
      fetcher.resume(late);
    },
    fetcher: {
      seek: (place, offset) => {
        fetcher.seek(place, offset);
        if (isIt(place)) fetcher.pause(place);
      },
      drop: (place) => fetcher.drop(place),
      pause: (place) => fetcher.pause(place),
      resume: (place) => (isIt(place) ? undefined : fetcher.resume(place)),
      next: (signal) => fetcher.next(signal),
      close: () => fetcher.close(),
    },
  };
}

interface LateGather {
  readonly gather: GatherTopic;
  /** The late partition comes. */
  readonly release: () => void;
}

/** Gathers with one mapped partition late. */
function lateGather(log: GatheredLog, isFiltered: boolean, late: TopicPartition): LateGather {
  let release: () => void = () => undefined;
  const client = log.kafka.client.bind(log.kafka);
  log.kafka.client = () => {
    const cluster = client();
    const openFetcher = cluster.fetcher.bind(cluster);
    cluster.fetcher = async () => {
      const made = slow(await openFetcher(), late);
      release = made.release;
      return made.fetcher;
    };
    return cluster;
  };
  const gather = log.gatherFor(mappingOf(isFiltered));
  log.kafka.client = client;
  return { gather, release: () => release() };
}

/** Keys of one raw partition whose rows go to different mapped ones. */
async function keysApart(): Promise<readonly [string, string]> {
  await using stack = new AsyncDisposableStack();
  const log = await open(false);
  stack.defer(() => log.close());
  await log.raw.append(0, batchOf(begin(1n), RELATION, commit(1n, 2n)));
  const seen: { readonly id: string; readonly raw: number; readonly mapped: number }[] = [];
  for (let id = 1, lsn = 5n; id <= 60; id++, lsn += 2n) {
    await log.raw.append(0, batchOf(begin(lsn), insert(101, [String(id), 'in', null]), commit(lsn, lsn + 1n)));
    const last = (await claims(log, (entries) => entries.length >= id)).at(-1)!;
    const mapped = Object.values(last.ends)[0]![0]![0];
    const other = seen.find((one) => one.raw === last.partition && one.mapped !== mapped);
    if (other !== undefined) return [other.id, String(id)];
    seen.push({ id: String(id), raw: last.partition, mapped });
  }
  throw new Error('the keys of both topics are shared out alike');
}

/** A row is claimed and its mapped partition late; @returns that partition and the bookmark made meanwhile. */
async function markedBeforeItsRow(
  log: GatheredLog,
  isFiltered: boolean,
  row: Buffer,
): Promise<{ readonly late: TopicPartition; readonly bookmark: Bookmark }> {
  await log.raw.append(0, batchOf(begin(1n), RELATION, commit(1n, 2n)));
  await log.raw.append(0, batchOf(begin(3n), row, commit(3n, 4n)));
  const [entry] = await claims(log, (entries) => entries.length > 0);
  const topic = mappedTopic('m', mapping.to);
  const late = { topic, partition: entry!.ends[topic]![0]![0] };
  const { gather } = lateGather(log, isFiltered, late);
  await gather.prepare(undefined);
  const cursor = gather.read(0, 0);
  expect((await cursor.next(AbortSignal.timeout(5_000)))?.baseOffset).toBe(0);
  expect(await cursor.poll()).toBeUndefined();
  const bookmark = gather.bookmark()!;
  expect(bookmark.offset).toBe(3);
  await cursor.close();
  return { late, bookmark };
}

/** What comes from record 3 on, behind the bookmark; the late partition comes once all else was looked at. */
async function readAgain(
  log: GatheredLog,
  isFiltered: boolean,
  { late, bookmark }: { late: TopicPartition; bookmark: Bookmark },
): Promise<readonly Buffer[]> {
  const { gather, release } = lateGather(log, isFiltered, late);
  await gather.prepare(bookmark);
  const cursor = gather.read(0, 3);
  try {
    const early = await cursor.poll();
    release();
    const batch = early ?? (await cursor.next(AbortSignal.timeout(5_000)));
    return batch === undefined ? [] : recordsOf(batch);
  } finally {
    await cursor.close();
  }
}

for (const [isFiltered, table] of [
  [true, 'filtered table'],
  [false, 'whole table'],
] as const) {
  test(`${table}: a claim taken before its rows came is kept`, async () => {
    const log = await open(isFiltered);
    const row = insert(101, ['1', 'in', null]);
    const marked = await markedBeforeItsRow(log, isFiltered, row);
    expect(await readAgain(log, isFiltered, marked)).toEqual([begin(3n), row, commit(3n, 4n)]);
    await log.close();
  });

  test(`${table}: a claim taken before its rows came is kept by whoever begins there and ends before anything came`, async () => {
    const log = await open(isFiltered);
    const row = insert(101, ['1', 'in', null]);
    const { late, bookmark: first } = await markedBeforeItsRow(log, isFiltered, row);
    const between = log.gatherFor(mappingOf(isFiltered));
    await between.prepare(first);
    const cursor = between.read(0, 3);
    const bookmark = between.bookmark()!;
    await cursor.close();
    expect(await readAgain(log, isFiltered, { late, bookmark })).toEqual([begin(3n), row, commit(3n, 4n)]);
    await log.close();
  });

  test(`${table}: no row is missing when the raw partition's next claim comes before it`, async () => {
    const [first, second] = await keysApart();
    const log = await open(isFiltered);
    const row = insert(101, [first, 'in', null]);
    const marked = await markedBeforeItsRow(log, isFiltered, row);
    await log.raw.append(0, batchOf(begin(5n), insert(101, [second, 'in', null]), commit(5n, 6n)));
    await claims(log, (entries) => entries.length >= 2);
    expect(await readAgain(log, isFiltered, marked)).toEqual([begin(3n), row, commit(3n, 4n)]);
    await log.close();
  });
}
