/** What every adapter of the change log port promises (connectors/change-log/README.md), asked of each. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ChangeLog } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { kafkaProvider } from '#test/support/kafka/provider.ts';
import { logOnKafka } from '#test/support/log-on-kafka.ts';
import { batchOf, readAll, recordsOf, type LogUnderTest } from '#test/support/log-records.ts';

async function embedded(): Promise<LogUnderTest> {
  const directory = await mkdtemp(path.join(tmpdir(), 'crossfade-log-'));
  const open = (): Promise<ChangeLog> => openEmbeddedLog({ directory, segmentBytes: 64 * 1024, tailBytes: 16 * 1024 });
  let log = await open();
  return {
    get log() {
      return log;
    },
    async reopen() {
      await log.close();
      log = await open();
      return log;
    },
    async [Symbol.asyncDispose]() {
      await log.close();
      await rm(directory, { recursive: true });
    },
  };
}

const never = new AbortController().signal;

const adapters = [{ adapter: 'embedded', start: embedded }];
const hasKafka = (await kafkaProvider()) !== undefined;
if (hasKafka) adapters.push({ adapter: 'kafka', start: logOnKafka });

test('change log: kafka is asked too', ({ skip }) => skip(!hasKafka, 'no Kafka here: neither Docker nor Java with Maven'));

describe.each(adapters)('change log: $adapter', ({ start }) => {
  test('gives appended records consecutive offsets and reads them back in order', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    expect([topic.start(0), topic.end(0)]).toEqual([0, 0]);
    expect(await topic.append(0, batchOf('a', 'b'))).toEqual({ baseOffset: 0, endOffset: 2 });
    expect(await topic.append(0, batchOf('c'))).toEqual({ baseOffset: 2, endOffset: 3 });
    expect(topic.end(0)).toBe(3);
    expect(await readAll(topic)).toEqual(['a', 'b', 'c']);
  });

  test('keeps the order of calls for appends that are not awaited, and resolves in that order', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const resolved: number[] = [];
    const wanted = Array.from({ length: 300 }, (_, index) => `record ${index}`);
    await Promise.all(wanted.map((record) => topic.append(0, batchOf(record)).then(({ baseOffset }) => resolved.push(baseOffset))));
    expect(resolved).toEqual(wanted.map((_, index) => index));
    expect(await readAll(topic)).toEqual(wanted);
  });

  test('delivers a batch of several large parts as one, from memory and from storage', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const parts = ['x'.repeat(200_000), '', 'y'.repeat(300_000)];
    await topic.append(0, batchOf(...parts));
    expect(await readAll(topic)).toEqual(parts);
    const again = await (await under.reopen()).topic('raw', { partitions: 1 });
    expect(await readAll(again)).toEqual(parts);
  });

  test('keeps records, offsets and group positions over close and open', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 2 });
    await topic.append(1, batchOf('a', 'b', 'c'));
    await topic.commit('sink', 1, 2);
    const again = await (await under.reopen()).topic('raw', { partitions: 2 });
    expect([again.end(0), again.end(1)]).toEqual([0, 3]);
    expect(await readAll(again, 1)).toEqual(['a', 'b', 'c']);
    expect(again.committed('sink', 1)).toBe(2);
    expect(again.committed('sink', 0)).toBeUndefined();
    expect(again.committed('other', 1)).toBeUndefined();
    expect(await again.append(1, batchOf('d'))).toEqual({ baseOffset: 3, endOffset: 4 });
  });

  test('never moves a group backwards, nor beyond the end', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    await topic.append(0, batchOf('a', 'b', 'c'));
    await Promise.all([topic.commit('sink', 0, 1), topic.commit('sink', 0, 3), topic.commit('sink', 0, 2), topic.commit('verify', 0, 1)]);
    expect([topic.committed('sink', 0), topic.committed('verify', 0)]).toEqual([3, 1]);
    await expect(topic.commit('sink', 0, 4)).rejects.toMatchObject({ code: 'CF-3003' });
  });

  test('reads from an offset inside a batch with the batch that holds it', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    await topic.append(0, batchOf('a', 'b', 'c'));
    await topic.append(0, batchOf('d'));
    const cursor = topic.read(0, 1);
    const batch = await cursor.next(never);
    expect([batch?.baseOffset, batch?.count]).toEqual([0, 3]);
    expect((await cursor.next(never))?.baseOffset).toBe(3);
    await cursor.close();
  });

  test('finds every offset again after opening, over many segments', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const wanted = Array.from({ length: 200 }, (_, index) => `${index} ${'z'.repeat(index * 17)}`);
    for (let at = 0; at < wanted.length; at += 4) await topic.append(0, batchOf(...wanted.slice(at, at + 4)));
    const again = await (await under.reopen()).topic('raw', { partitions: 1 });
    for (let from = 0; from <= wanted.length; from += 7) expect(await readAll(again, 0, from)).toEqual(wanted.slice(from));
  });

  test('waits for the next batch and wakes when it is durable', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const cursor = topic.read(0, 0);
    expect(await cursor.poll()).toBeUndefined();
    const next = cursor.next(never);
    await topic.append(0, batchOf('late'));
    expect(recordsOf((await next)!).map(String)).toEqual(['late']);
    await cursor.close();
  });

  test('ends a waiting reader at once when its signal fires, and loses nothing by it', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const cursor = topic.read(0, 0);
    const stop = new AbortController();
    const next = cursor.next(stop.signal);
    stop.abort();
    expect(await next).toBeUndefined();
    await topic.append(0, batchOf('a'));
    expect(await cursor.next(stop.signal)).toBeUndefined();
    expect((await cursor.next(never))?.count).toBe(1);
    await cursor.close();
  });

  test('ends a waiting reader when the log closes', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const next = topic.read(0, 0).next(never);
    await under.reopen();
    expect(await next).toBeUndefined();
  });

  test('refuses offsets that it does not hold', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    await topic.append(0, batchOf('a'));
    expect(() => topic.read(0, 2)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
    expect(() => topic.read(0, -1)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
  });

  test('trims what lies fully below an offset, keeps the rest, and tells a reader that fell behind', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const wanted = Array.from({ length: 40 }, (_, index) => `${index} ${'t'.repeat(8_000)}`);
    for (const record of wanted) await topic.append(0, batchOf(record));
    const behind = topic.read(0, 0);
    const before = topic.size();
    await topic.trim(0, 30);
    const start0 = topic.start(0);
    expect(start0).toBeGreaterThan(0);
    expect(start0).toBeLessThanOrEqual(30);
    expect(topic.size()).toBeLessThan(before);
    expect(await readAll(topic)).toEqual(wanted.slice(start0));
    await expect(behind.next(never)).rejects.toMatchObject({ code: 'CF-3003' });
    expect(() => topic.read(0, start0 - 1)).toThrow(expect.objectContaining({ code: 'CF-3003' }));
    const again = await (await under.reopen()).topic('raw', { partitions: 1 });
    expect([again.start(0), again.end(0)]).toEqual([start0, 40]);
  });

  test('keeps partitions and topics apart', async () => {
    await using under = await start();
    const [raw, progress] = [await under.log.topic('raw', { partitions: 2 }), await under.log.topic('progress', { partitions: 1 })];
    await Promise.all([raw.append(0, batchOf('r0')), raw.append(1, batchOf('r1')), progress.append(0, batchOf('p'))]);
    expect([await readAll(raw, 0), await readAll(raw, 1), await readAll(progress)]).toEqual([['r0'], ['r1'], ['p']]);
  });

  test('is one topic for all who ask, and refuses another partition count', async () => {
    await using under = await start();
    const [one, other] = await Promise.all([under.log.topic('raw', { partitions: 3 }), under.log.topic('raw', { partitions: 3 })]);
    await one.append(2, batchOf('a'));
    expect(await readAll(other, 2)).toEqual(['a']);
    await expect(under.log.topic('raw', { partitions: 2 })).rejects.toMatchObject({ code: 'CF-3002' });
    const again = await under.reopen();
    await expect(again.topic('raw', { partitions: 4 })).rejects.toMatchObject({ code: 'CF-3002' });
    expect(await readAll(await again.topic('raw', { partitions: 3 }), 2)).toEqual(['a']);
  });

  test('sends a key where a Java producer sends it', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 7 });
    expect(topic.partitionFor(Buffer.from('foobar'))).toBe((-790332482 & 0x7fffffff) % 7);
  });

  test('gives several readers the same records, each at its own pace', async () => {
    await using under = await start();
    const topic = await under.log.topic('raw', { partitions: 1 });
    const readers = [0, 0, 0].map((from) => topic.read(0, from));
    const wanted = Array.from({ length: 60 }, (_, index) => `${index} ${'r'.repeat(1_000)}`);
    const collect = async (cursor: (typeof readers)[number]): Promise<string[]> => {
      const seen: string[] = [];
      while (seen.length < wanted.length) seen.push(...recordsOf((await cursor.next(never))!).map(String));
      return seen;
    };
    const reading = readers.map(collect);
    for (const record of wanted) await topic.append(0, batchOf(record));
    expect(await Promise.all(reading)).toEqual([wanted, wanted, wanted]);
    await Promise.all(readers.map((cursor) => cursor.close()));
  });
});
