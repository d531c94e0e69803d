import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { appendControl } from '#services/reader/follow.ts';
import { readAll } from '#services/runtime/records.ts';
import { FencedTopic } from '#services/up/kafka/fenced-topic.ts';

async function openTopic(): Promise<Topic> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-fenced-'));
  const log = await openEmbeddedLog({ directory });
  onTestFinished(async () => {
    await log.close();
    await rm(directory, { recursive: true, force: true });
  });
  return log.topic('progress', { partitions: 1 });
}

async function kindsOf(topic: Topic): Promise<string[]> {
  const kinds: string[] = [];
  const fenced = new FencedTopic(topic);
  await readAll(fenced, fenced.start(0), (frame) => kinds.push((JSON.parse(frame.toString('utf8')) as { readonly t: string }).t));
  return kinds;
}

test('a record that a replaced writer appends after its successor began is void, and its place is kept', async () => {
  const topic = await openTopic();
  const old = new FencedTopic(topic, 'old');
  await appendControl(old, { t: 'epoch' });
  await appendControl(old, { t: 'chunk-finished' });
  const next = new FencedTopic(topic, 'next');
  await appendControl(next, { t: 'epoch' });
  await expect(appendControl(old, { t: 'durable' })).rejects.toMatchObject({ code: 'CF-3007' });
  expect(await kindsOf(topic)).toEqual(['epoch', 'chunk-finished', 'epoch', 'void']);
});

test('a writer that was replaced hears of it at its next append, and appends nothing more', async () => {
  const topic = await openTopic();
  const told: string[] = [];
  const old = new FencedTopic(topic, 'old', ({ code }) => void told.push(code));
  await appendControl(old, { t: 'epoch' });
  await appendControl(new FencedTopic(topic, 'next'), { t: 'epoch' });
  await expect(appendControl(old, { t: 'durable' })).rejects.toMatchObject({ code: 'CF-3007' });
  await expect(appendControl(old, { t: 'durable' })).rejects.toMatchObject({ code: 'CF-3007' });
  expect(topic.end(0)).toBe(3);
  expect(told).toEqual(['CF-3007']);
});

test('a zombie that takes the topic over late voids what follows, and whoever wrote last hears of it', async () => {
  const topic = await openTopic();
  const zombie = new FencedTopic(topic, 'zombie');
  const active = new FencedTopic(topic, 'active');
  await appendControl(active, { t: 'epoch' });
  await appendControl(zombie, { t: 'epoch' });
  await expect(appendControl(active, { t: 'durable' })).rejects.toMatchObject({ code: 'CF-3007' });
  expect(await kindsOf(topic)).toEqual(['epoch', 'epoch', 'void']);
});

test('several epochs of one writer void nothing, and its batches pass whole', async () => {
  const topic = await openTopic();
  const writer = new FencedTopic(topic, 'one');
  await appendControl(writer, { t: 'epoch' });
  const payload = Buffer.from(JSON.stringify({ t: 'relation', text: 'ünï"}' }));
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(payload.length);
  await writer.append(0, { count: 2, parts: [prefix, payload, prefix, payload] });
  await appendControl(writer, { t: 'epoch' });
  expect(await kindsOf(topic)).toEqual(['epoch', 'relation', 'relation', 'epoch']);
});

test('a writer that is retired appends nothing more', async () => {
  const topic = await openTopic();
  const writer = new FencedTopic(topic, 'one');
  await appendControl(writer, { t: 'epoch' });
  writer.retire();
  await expect(appendControl(writer, { t: 'durable' })).rejects.toMatchObject({ code: 'CF-3007' });
  expect(topic.end(0)).toBe(1);
});

test('records of one process, which name no writer, pass as they are', async () => {
  const topic = await openTopic();
  await appendControl(topic, { t: 'epoch' });
  await appendControl(topic, { t: 'durable' });
  expect(await kindsOf(topic)).toEqual(['epoch', 'durable']);
});
