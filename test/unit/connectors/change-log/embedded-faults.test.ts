/** Disks that are full, fail to write, fail to sync. */
import { expect, test } from 'vitest';
import type { ChangeLog, Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { batchOf, readAll, recordsOf } from '#test/support/log-records.ts';
import { MemoryDisk, type Call, type Fault, type Operation } from '#test/support/memory-disk.ts';
import { seeded } from '#test/support/random.ts';

interface Opened {
  readonly log: ChangeLog;
  readonly topic: Topic;
}

async function open(disk: MemoryDisk, segmentBytes?: number): Promise<Opened> {
  const log = await openEmbeddedLog({ directory: '/log', disk: disk.mount(), ...(segmentBytes !== undefined && { segmentBytes }) });
  return { log, topic: await log.topic('raw', { partitions: 1 }) };
}

/** Fails the next `times` calls of one kind. */
function failing(disk: MemoryDisk, operation: Operation, fault: Fault, times = 1): void {
  let left = times;
  disk.fault = (call: Call) => {
    if (call.operation !== operation || left === 0) return undefined;
    left -= 1;
    return fault;
  };
}

/** A caller that was refused waits at least this long before it tries again. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const full = (afterBytes = 0): Fault => ({ kind: 'reject', code: 'ENOSPC', afterBytes });
const broken: Fault = { kind: 'reject', code: 'EIO' };

test.each([0, 1, 31, 32, 40, 60])(
  'a disk full after %i bytes rejects the append and all behind it, keeps nothing of them, and goes on later',
  async (afterBytes) => {
    const disk = new MemoryDisk(seeded(3));
    const { topic } = await open(disk);
    await topic.append(0, batchOf('before'));
    failing(disk, 'write', full(afterBytes));
    const order: string[] = [];
    const refused = ['a', 'b', 'c'].map((record) =>
      topic.append(0, batchOf(record)).catch((error: unknown) => order.push(`${record} ${(error as { code: string }).code}`)),
    );
    await Promise.all(refused);
    expect(order).toEqual(['a CF-3001', 'b CF-3001', 'c CF-3001']);
    expect(topic.end(0)).toBe(1);
    await nextTurn();
    expect(await topic.append(0, batchOf('after'))).toEqual({ baseOffset: 1, endOffset: 2 });
    disk.losePower();
    expect(await readAll((await open(disk)).topic)).toEqual(['before', 'after']);
  },
);

test('appends queued while the failing one is written are refused with it, and so is one started before its caller could hear', async () => {
  const disk = new MemoryDisk(seeded(3));
  const { topic } = await open(disk);
  const outcomes: Promise<unknown>[] = [];
  const start = (record: string): void => void outcomes.push(topic.append(0, batchOf(record)).catch(() => `${record} refused`));
  disk.fault = (call) => {
    if (call.operation !== 'write') return undefined;
    disk.fault = undefined;
    start('queued');
    return full();
  };
  const first = topic.append(0, batchOf('first')).catch(() => {
    // A caller that pipelines may be about to start the next one when the first is refused.
    queueMicrotask(() => start('too early'));
    return 'first refused';
  });
  expect(await first).toBe('first refused');
  await Promise.resolve();
  expect(await Promise.all(outcomes)).toEqual(['queued refused', 'too early refused']);
  await nextTurn();
  await topic.append(0, batchOf('later'));
  expect(await readAll(topic)).toEqual(['later']);
});

test('a failed sync is never retried on the same file: what was acknowledged survives the power loss that follows', async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const disk = new MemoryDisk(seeded(seed));
    const { topic } = await open(disk);
    await topic.append(0, batchOf('before'));
    failing(disk, 'datasync', broken);
    await topic.append(0, batchOf('during'));
    await topic.append(0, batchOf('after'));
    expect(disk.files().filter((file) => file.endsWith('.log'))).toHaveLength(2);
    expect(await readAll(topic)).toEqual(['before', 'during', 'after']);
    disk.losePower();
    expect(await readAll((await open(disk)).topic), `seed ${seed}`).toEqual(['before', 'during', 'after']);
  }
});

test('a sync that failed just before the process died is not trusted when the log is opened again', async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const disk = new MemoryDisk(seeded(seed));
    const { topic } = await open(disk);
    await topic.append(0, batchOf('before'));
    let failed = false;
    disk.fault = ({ operation }) => {
      if (failed) return { kind: 'stop' };
      failed = operation === 'datasync';
      return failed ? broken : undefined;
    };
    void topic.append(0, batchOf('unacknowledged')).catch(() => undefined);
    await disk.stopped;
    disk.fault = undefined;
    disk.kill();
    const shown = await readAll((await open(disk)).topic);
    disk.losePower();
    expect(await readAll((await open(disk)).topic), `seed ${seed}`).toEqual(shown);
  }
});

test('a sector that a failed sync spoilt is written again before the next append is acknowledged', async () => {
  const disk = new MemoryDisk(seeded(4));
  const { topic } = await open(disk);
  await topic.append(0, batchOf('before'));
  disk.spoilsOnFailedSync = true;
  failing(disk, 'datasync', broken);
  await topic.append(0, batchOf('during'));
  disk.losePower();
  expect(await readAll((await open(disk)).topic)).toEqual(['before', 'during']);
});

test('a segment whose maker was killed before its directory was synced keeps what its successor appends', async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const disk = new MemoryDisk(seeded(seed));
    const { topic } = await open(disk, 256);
    await topic.append(0, batchOf('r'.repeat(200)));
    failing(disk, 'syncDirectory', { kind: 'stop' });
    void topic.append(0, batchOf('s'.repeat(200)));
    await disk.stopped;
    disk.fault = undefined;
    disk.kill();
    await (await open(disk, 256)).topic.append(0, batchOf('acknowledged'));
    disk.losePower();
    expect(await readAll((await open(disk)).topic), `seed ${seed}`).toEqual(['r'.repeat(200), 'acknowledged']);
  }
});

test('nothing of a refused group comes back behind a later one that a power loss kept in part', async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const disk = new MemoryDisk(seeded(seed));
    disk.writesBackAtOnce = true;
    const { topic } = await open(disk);
    await topic.append(0, batchOf('before'));
    failing(disk, 'write', full(2000));
    const record = (letter: string): string => letter.repeat(512 - 36);
    await Promise.allSettled(['a', 'b', 'c'].map((letter) => topic.append(0, batchOf(record(letter)))));
    await nextTurn();
    failing(disk, 'datasync', { kind: 'stop' });
    void topic.append(0, batchOf(record('d')));
    await disk.stopped;
    disk.fault = undefined;
    disk.losePower();
    const shown = (await readAll((await open(disk)).topic)).map((text) => text[0]);
    expect([['b'], ['b', 'd']], `seed ${seed}`).toContainEqual(shown);
  }
});

test('a sync that keeps failing rejects the append; a later one succeeds and nothing of the refused one is kept', async () => {
  const disk = new MemoryDisk(seeded(5));
  const { topic } = await open(disk);
  await topic.append(0, batchOf('before'));
  failing(disk, 'datasync', broken, 4);
  await expect(topic.append(0, batchOf('refused'))).rejects.toMatchObject({ code: 'CF-3001' });
  await nextTurn();
  disk.fault = undefined;
  await topic.append(0, batchOf('after'));
  disk.losePower();
  expect(await readAll((await open(disk)).topic)).toEqual(['before', 'after']);
});

test.each(['open', 'rename', 'syncDirectory'] as const)(
  'a new segment that cannot be made (%s) rejects the append, and is made by a later one',
  async (operation) => {
    const disk = new MemoryDisk(seeded(7));
    const { topic } = await open(disk, 256);
    const record = 'r'.repeat(200);
    await topic.append(0, batchOf(record));
    failing(disk, operation, full());
    await expect(topic.append(0, batchOf('refused'.repeat(30)))).rejects.toMatchObject({ code: 'CF-3001' });
    await nextTurn();
    await topic.append(0, batchOf(`${record}!`));
    disk.losePower();
    expect(await readAll((await open(disk)).topic)).toEqual([record, `${record}!`]);
  },
);

test('a truncate that fails after a failed write is made up for before the next append', async () => {
  const disk = new MemoryDisk(seeded(9));
  const { topic } = await open(disk);
  await topic.append(0, batchOf('before'));
  let writes = 0;
  disk.fault = ({ operation }) => {
    if (operation === 'write' && (writes += 1) === 1) return full(80);
    return operation === 'truncate' && writes === 1 ? broken : undefined;
  };
  await expect(Promise.all(['a', 'b', 'c'].map((record) => topic.append(0, batchOf(record))))).rejects.toMatchObject({ code: 'CF-3001' });
  await nextTurn();
  disk.fault = undefined;
  await topic.append(0, batchOf('x'));
  disk.kill();
  expect(await readAll((await open(disk)).topic)).toEqual(['before', 'x']);
});

test('a position that cannot be written is refused, and the durable one stays', async () => {
  const disk = new MemoryDisk(seeded(11));
  const { topic } = await open(disk);
  await topic.append(0, batchOf('a', 'b'));
  await topic.commit('sink', 0, 1);
  failing(disk, 'write', full());
  await expect(topic.commit('sink', 0, 2)).rejects.toMatchObject({ code: 'CF-3001' });
  expect(topic.committed('sink', 0)).toBe(1);
  disk.losePower();
  expect((await open(disk)).topic.committed('sink', 0)).toBe(1);
});

test('a reader never sees a batch before its sync is done', async () => {
  const disk = new MemoryDisk(seeded(13));
  const { topic } = await open(disk);
  const cursor = topic.read(0, 0);
  let seenAtSync: unknown = 'not asked';
  disk.fault = ({ operation }) => {
    if (operation === 'datasync') void cursor.poll().then((batch) => (seenAtSync = batch));
    return undefined;
  };
  await topic.append(0, batchOf('a'));
  expect(seenAtSync).toBeUndefined();
  expect(recordsOf((await cursor.poll())!).map(String)).toEqual(['a']);
});

test('a log on a full disk closes', async () => {
  const disk = new MemoryDisk(seeded(15));
  const { log, topic } = await open(disk);
  await topic.append(0, batchOf('a'));
  disk.fault = ({ operation }) => (operation === 'write' ? full() : undefined);
  await expect(topic.append(0, batchOf('b'))).rejects.toMatchObject({ code: 'CF-3001' });
  await log.close();
  disk.fault = undefined;
  expect(await readAll((await open(disk)).topic)).toEqual(['a']);
});
