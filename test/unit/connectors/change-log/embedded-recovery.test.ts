/** Opening a log that a crash, a bad sector or a person left behind. */
import { expect, test } from 'vitest';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog, type EmbeddedLogOptions } from '#connectors/change-log/embedded/log.ts';
import { batchOf, readAll } from '#test/support/log-records.ts';
import { MemoryDisk } from '#test/support/memory-disk.ts';
import { seeded } from '#test/support/random.ts';

const FIRST = '/log/raw/0/0000000000000000.log';
const HEADER_BYTES = 32;

interface Opened {
  readonly topic: Topic;
  readonly cutBytes: readonly number[];
}

async function open(disk: MemoryDisk, options: Partial<EmbeddedLogOptions> = {}): Promise<Opened> {
  disk.kill();
  const cutBytes: number[] = [];
  const log = await openEmbeddedLog({
    directory: '/log',
    disk: disk.mount(),
    makeId: () => 'fixed',
    onRecovered: (cut) => cutBytes.push(cut.cutBytes),
    ...options,
  });
  return { topic: await log.topic('raw', { partitions: 1 }), cutBytes };
}

/** Three batches, each its own sync group, and the file's length before each. */
async function threeBatches(): Promise<{ readonly disk: MemoryDisk; readonly lengths: readonly number[] }> {
  const disk = new MemoryDisk(seeded(1));
  const { topic } = await open(disk);
  const lengths: number[] = [];
  for (const record of ['first', 'second', 'third record']) {
    lengths.push(disk.content(FIRST).length);
    await topic.append(0, batchOf(record));
  }
  return { disk, lengths };
}

test('cuts a tail torn at any byte of the last batch, says how much, and appends where it was cut', async () => {
  const { disk, lengths } = await threeBatches();
  const whole = disk.content(FIRST);
  const last = lengths[2]!;
  for (let length = last; length < whole.length; length += 1) {
    disk.overwrite(FIRST, whole.subarray(0, length));
    const { topic, cutBytes } = await open(disk);
    expect(cutBytes, `cut at ${length}`).toEqual(length === last ? [] : [length - last]);
    expect(disk.content(FIRST)).toEqual(whole.subarray(0, last));
    expect(await topic.append(0, batchOf('again'))).toEqual({ baseOffset: 2, endOffset: 3 });
    expect(await readAll(topic)).toEqual(['first', 'second', 'again']);
  }
});

test('cuts a last batch with any byte flipped, or all of it from some byte on zero', async () => {
  const { disk, lengths } = await threeBatches();
  const whole = disk.content(FIRST);
  for (let at = lengths[2]!; at < whole.length; at += 1) {
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 0x10;
    const zeroed = Buffer.from(whole).fill(0, at);
    // Identical when the bytes were zero anyway: then nothing is torn.
    for (const bad of [flipped, zeroed].filter((content) => !content.equals(whole))) {
      disk.overwrite(FIRST, bad);
      const { topic, cutBytes } = await open(disk);
      expect(cutBytes, `byte ${at}`).toEqual([whole.length - lengths[2]!]);
      expect(await readAll(topic)).toEqual(['first', 'second']);
    }
  }
});

test('refuses any flipped byte of an acknowledged batch that others follow, with file and byte, and leaves the file as it is', async () => {
  const { disk, lengths } = await threeBatches();
  const whole = disk.content(FIRST);
  for (let at = 0; at < lengths[2]!; at += 1) {
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 0x01;
    disk.overwrite(FIRST, flipped);
    const position = at < lengths[1]! ? 0 : lengths[1]!;
    await expect(open(disk), `byte ${at}`).rejects.toMatchObject({ code: 'CF-3002', details: { position }, place: { path: FIRST } });
    expect(disk.content(FIRST)).toEqual(flipped);
  }
});

test('cuts a group that a power loss kept in part, even when a later batch of the same group is whole', async () => {
  const disk = new MemoryDisk(seeded(1));
  const { topic } = await open(disk);
  await topic.append(0, batchOf('acknowledged'));
  const before = disk.content(FIRST).length;
  await Promise.all(['a', 'b', 'c'].map((record) => topic.append(0, batchOf(record))));
  const bad = disk.content(FIRST);
  const second = before + HEADER_BYTES + 5;
  bad[second + HEADER_BYTES]! ^= 0xff;
  disk.overwrite(FIRST, bad);
  const again = await open(disk);
  expect(again.cutBytes).toEqual([bad.length - second]);
  expect(await readAll(again.topic)).toEqual(['acknowledged', 'a']);
});

test('does not take bytes of a log inside a record for a batch', async () => {
  const source = await threeBatches();
  const disk = new MemoryDisk(seeded(1));
  const { topic } = await open(disk, { makeId: () => 'another' });
  const embedded = source.disk.content(FIRST);
  await topic.append(0, batchOf(embedded));
  disk.overwrite(FIRST, disk.content(FIRST).subarray(0, -1));
  const again = await open(disk);
  expect(await readAll(again.topic)).toEqual([]);
  expect(again.cutBytes).toEqual([HEADER_BYTES + 4 + embedded.length - 1]);
});

test('after a clean close a bad or shorter tail is damage, not a torn write', async () => {
  for (const spoil of [
    (file: Buffer) => file.subarray(0, -1),
    (file: Buffer) => file.subarray(0, HEADER_BYTES + 4 + 5),
    (file: Buffer) => file.fill(0, file.length - 1),
  ]) {
    const disk = new MemoryDisk(seeded(1));
    const log = await openEmbeddedLog({ directory: '/log', disk: disk.mount() });
    const topic = await log.topic('raw', { partitions: 1 });
    for (const record of ['first', 'second']) await topic.append(0, batchOf(record));
    await log.close();
    const content = disk.content(FIRST);
    disk.overwrite(FIRST, spoil(Buffer.from(content)));
    await expect(open(disk)).rejects.toMatchObject({ code: 'CF-3002' });
    disk.overwrite(FIRST, content);
    expect(await readAll((await open(disk)).topic)).toEqual(['first', 'second']);
  }
});

test('a tail that a consumer has passed is damage, not a torn write', async () => {
  const { disk } = await threeBatches();
  const { topic } = await open(disk);
  await topic.commit('sink', 0, 3);
  disk.overwrite(FIRST, disk.content(FIRST).subarray(0, -1));
  await expect(open(disk)).rejects.toMatchObject({ code: 'CF-3002' });
});

test('refuses a sealed segment that is missing, shorter, or damaged in a header; damage in its payload when it is read', async () => {
  const disk = new MemoryDisk(seeded(1));
  const small = { segmentBytes: 4096 };
  const { topic } = await open(disk, small);
  for (let index = 0; index < 12; index += 1) await topic.append(0, batchOf('s'.repeat(1500)));
  const segments = disk.files().filter((file) => file.endsWith('.log'));
  expect(segments.length).toBeGreaterThan(3);
  const second = segments[1]!;
  const whole = disk.content(second);

  disk.overwrite(second, whole.subarray(0, -1));
  await expect(open(disk, small)).rejects.toMatchObject({ code: 'CF-3002', place: { path: second } });

  disk.overwrite(second, Buffer.from(whole).fill(0, 0, 4));
  await expect(open(disk, small)).rejects.toMatchObject({ code: 'CF-3002', details: { position: 0 } });

  disk.erase(second);
  await expect(open(disk, small)).rejects.toMatchObject({ code: 'CF-3002' });

  disk.overwrite(second, Buffer.from(whole).fill(0, 100, 101));
  const { topic: opened } = await open(disk, small);
  await expect(readAll(opened)).rejects.toMatchObject({ code: 'CF-3002', place: { path: second } });

  disk.overwrite(second, whole);
  expect(await readAll((await open(disk, small)).topic)).toHaveLength(12);
});

test('refuses a topic whose description or segments are gone, and leaves what is there', async () => {
  const { disk } = await threeBatches();
  const meta = disk.content('/log/raw/meta.json');
  const segment = disk.content(FIRST);

  disk.erase('/log/raw/meta.json');
  await expect(open(disk)).rejects.toMatchObject({ code: 'CF-3002' });
  disk.overwrite('/log/raw/meta.json', meta.subarray(0, 10));
  await expect(open(disk)).rejects.toMatchObject({ code: 'CF-3002' });
  disk.overwrite('/log/raw/meta.json', meta);
  disk.erase(FIRST);
  await expect(open(disk)).rejects.toMatchObject({ code: 'CF-3002' });
  disk.overwrite(FIRST, segment);
  expect(await readAll((await open(disk)).topic)).toEqual(['first', 'second', 'third record']);
});

test('refuses the segments of another topic', async () => {
  const { disk } = await threeBatches();
  const foreign = disk.content(FIRST);
  const other = new MemoryDisk(seeded(1));
  const { topic } = await open(other, { makeId: () => 'another' });
  for (const record of ['x', 'y', 'z']) await topic.append(0, batchOf(record));
  await topic.commit('sink', 0, 3);
  other.overwrite(FIRST, foreign);
  await expect(open(other)).rejects.toMatchObject({ code: 'CF-3002' });
});
