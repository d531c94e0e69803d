import { expect, test } from 'vitest';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openSession } from '#test/support/application.ts';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';

const ITEM = 'CREATE TABLE item (id int PRIMARY KEY, name text UNIQUE)';

test('a transaction larger than memory is applied in parts and seen at once or not at all', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  const count = 120_000;
  const pad = 'x'.repeat(200);
  const frames = harness.log.frames([
    item.relation,
    ...Array.from({ length: count }, (_, i) => item.insert(i, `${pad}${i}`)),
    ...Array.from({ length: 10 }, (_, i) => item.update(i, `${pad}${(i + 1) % 10}!`)),
  ]);
  const half = Math.floor(frames.length / 2);
  for (let at = 0; at < half; at += 10_000) await harness.log.append(frames.slice(at, Math.min(half, at + 10_000)));
  const seen = new Set<string>();
  for (let i = 0; i < 10; i++) seen.add((await harness.rows('SELECT count(*) FROM new.item'))[0]![0]!);
  for (let at = half; at < frames.length; at += 10_000) await harness.log.append(frames.slice(at, at + 10_000));
  await harness.applied();
  expect([...seen]).toEqual(['0']);
  expect(await harness.rows("SELECT count(*), count(*) FILTER (WHERE name LIKE '%!') FROM new.item")).toEqual([[String(count), '10']]);
});

test('a part of a large transaction that misses rows on the target is applied, and what it cannot make whole is asked for', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: 'CREATE TABLE item (id int PRIMARY KEY, name text, big text)' });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, ...[1, 2, 3].map((id) => item.insert(id, 'a', 'big')));
  await harness.applied();
  await harness.rows('DELETE FROM new.item WHERE id > 1');
  const pad = 'x'.repeat(400);
  const filler = (from: number): Buffer[] => Array.from({ length: 15_000 }, (_, i) => item.insert(from + i, `${pad}${from + i}`, null));
  const partial = item.update(2, 'c', undefined);
  const frames = harness.log.frames([
    ...filler(100),
    item.update(1, 'c', undefined),
    ...filler(50_000),
    partial,
    ...filler(100_000),
    item.update(3, 'c', 'whole'),
  ]);
  for (let at = 0; at < frames.length; at += 10_000) await harness.log.append(frames.slice(at, at + 10_000));
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item WHERE id < 100 ORDER BY id')).toEqual([
    ['1', 'c', 'big'],
    ['3', 'c', 'whole'],
  ]);
  expect(await harness.rows('SELECT count(*) FROM new.item')).toEqual([['45002']]);
  expect(harness.missing).toEqual([{ table: 'item', keys: [['2']] }]);
});

test('a transaction that a new epoch interrupts leaves nothing, whole or in parts', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert(1, 'a'));
  const pad = 'x'.repeat(400);
  const large = harness.log.frames(Array.from({ length: 40_000 }, (_, i) => item.insert(100 + i, `${pad}${i}`)));
  for (let at = 0; at < large.length - 1; at += 10_000) await harness.log.append(large.slice(at, Math.min(large.length - 1, at + 10_000)));
  await harness.log.epoch(2);
  const small = harness.log.frames([item.insert(2, 'b')]);
  await harness.log.append(small.slice(0, -1));
  await harness.log.epoch(3);
  await harness.log.transaction(item.insert(3, 'c'));
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY id')).toEqual([
    ['1', 'a'],
    ['3', 'c'],
  ]);
});

/** Tells up to where it was read. */
function watchedReads(raw: Topic): { readonly topic: Topic; readonly read: () => number } {
  let read = 0;
  const topic = new Proxy(raw, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'read') return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      return (...args: Parameters<Topic['read']>) => {
        const cursor = target.read(...args);
        return {
          poll: () => cursor.poll(),
          close: () => cursor.close(),
          next: async (signal: AbortSignal) => {
            const batch = await cursor.next(signal);
            if (batch !== undefined) read = batch.baseOffset + batch.count;
            return batch;
          },
        };
      };
    },
  });
  return { topic, read: () => read };
}

test('a transaction that turns out void while a part of it is being applied commits nothing of what was gathered meanwhile', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM, sink: { batchRows: 100_000 } });
  const item = harness.table('item');
  await harness.follow(item);
  const watched = watchedReads(harness.raw);
  harness.start({ raw: watched.topic });
  await harness.log.transaction(item.relation, item.insert(1, 'a'));
  await harness.applied();
  await using blocker = await openSession(database.url);
  await blocker.query('BEGIN; LOCK TABLE new.item IN ACCESS EXCLUSIVE MODE');
  const pad = 'x'.repeat(450);
  const large = harness.log.frames(Array.from({ length: 20_000 }, (_, i) => item.insert(100 + i, `${pad}${i}`)));
  await harness.log.append(large.slice(0, 10_001));
  const waits = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade sinktest sink' AND wait_event_type = 'Lock'`;
  await expect.poll(async () => (await blocker.query(waits)).length, { timeout: 20_000 }).toBe(1);
  await harness.log.append(large.slice(10_001, -1));
  await expect.poll(() => harness.sink.status().tables[0]?.changesApplied, { timeout: 20_000 }).toBe(20_001);
  await harness.log.epoch(2);
  await expect.poll(() => watched.read(), { timeout: 20_000 }).toBe(harness.raw.end(0));
  await blocker.query('COMMIT');
  await harness.log.transaction(item.insert(3, 'c'));
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY id LIMIT 4')).toEqual([
    ['1', 'a'],
    ['3', 'c'],
  ]);
});

test('lanes copy tables side by side and change over by themselves, also after a restart in between', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({
    url: database.url,
    ddl: 'CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int); CREATE TABLE c (id int PRIMARY KEY, n int)',
    sink: { parallel: 2 },
  });
  const tables = ['a', 'b', 'c'].map((name) => harness.table(name));
  const rows = (from: number): [number, number][] => Array.from({ length: 300 }, (_, i) => [from + i, 0]);
  harness.start();
  for (const table of tables) await harness.log.state(table.table, 'copying');
  await harness.log.transaction(...tables.map((table) => table.relation));
  for (const { table } of tables)
    await harness.log.transaction(chunkFrame({ schema: 'old', table: table.name, columns: ['id', 'n'] }, rows(0)));
  await harness.log.transaction(...tables.flatMap((table) => [table.update(5, 1), table.insert(305, 9), table.delete(6, null)]));
  await expect.poll(async () => (await harness.rows('SELECT count(*) FROM new.c'))[0]![0]).toBe('300');
  expect(harness.sink.applied()).toBeUndefined();
  await harness.stop();
  harness.start();
  for (const { table } of tables) {
    const later = rows(300).filter(([id]) => id !== 305);
    await harness.log.transaction(
      chunkFrame({ schema: 'old', table: table.name, columns: ['id', 'n'] }, table.name === 'b' ? [...later, [305, 9]] : later),
    );
  }
  for (const { table } of tables) await harness.log.state(table, 'following');
  await harness.log.copyComplete();
  await harness.log.transaction(...tables.map((table) => table.update(7, 2)));
  await harness.applied();
  for (const name of ['a', 'b', 'c']) {
    expect(await harness.rows(`SELECT count(*), sum(n), count(*) FILTER (WHERE id = 6) FROM new.${name}`)).toEqual([['599', '12', '0']]);
  }
  expect(await harness.rows('SELECT mode, applied_lsn IS NOT NULL FROM crossfade.progress')).toEqual([['consistent', 't']]);
  expect(await harness.rows('SELECT rows_copied FROM crossfade.table_progress ORDER BY source_table')).toEqual([['599'], ['600'], ['599']]);
});

test('chunks of a table added or copied again later go the consistent way', async () => {
  await using database = await freshDatabase();
  await using harness = await sinkHarness({ url: database.url, ddl: ITEM });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert(1, 'stale'), item.insert(2, 'gone'));
  await harness.log.transaction(
    chunkFrame({ schema: 'old', table: 'item', columns: ['name', 'id'], recopy: true }, [
      ['fresh', 1],
      ['new', 3],
    ]),
  );
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.item ORDER BY id')).toEqual([
    ['1', 'fresh'],
    ['2', 'gone'],
    ['3', 'new'],
  ]);
});
