import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import type { ChangeLog } from '#connectors/change-log/change-log.ts';
import { topicRegistry } from '#connectors/registry/topic-registry.ts';

async function openLog(): Promise<ChangeLog & AsyncDisposable> {
  const directory = await mkdtemp(path.join(tmpdir(), 'crossfade-registry-'));
  const log = await openEmbeddedLog({ directory });
  return {
    topic: (name, options) => log.topic(name, options),
    close: () => log.close(),
    async [Symbol.asyncDispose]() {
      await log.close();
      await rm(directory, { recursive: true });
    },
  };
}

test('one text has one id, whoever registers it, also at the same time', async () => {
  await using log = await openLog();
  const topic = await log.topic('schemas', { partitions: 1 });
  const registries = [topicRegistry(topic), topicRegistry(topic), topicRegistry(topic)];
  const ids = await Promise.all(
    registries.flatMap((registry, i) => [registry.register('a-value', '"int"'), registry.register(`b${i}-value`, `"${i}"`)]),
  );
  expect(new Set([ids[0], ids[2], ids[4]]).size).toBe(1);
  expect(new Set(ids).size).toBe(4);
  const late = topicRegistry(topic);
  expect(await late.register('a-value', '"int"')).toBe(ids[0]);
  for (const registry of [...registries, late]) {
    expect(await Promise.all(ids.map((id) => registry.schema(id)))).toEqual(['"int"', '"0"', '"int"', '"1"', '"int"', '"2"']);
  }
  const end = topic.end(0);
  await late.register('a-value', '"int"');
  expect(topic.end(0)).toBe(end);
  for (const registry of [...registries, late]) await registry.close();
});

test('an id that the topic does not have is refused after a while', async () => {
  await using log = await openLog();
  const registry = topicRegistry(await log.topic('schemas', { partitions: 1 }), { patienceMs: 20 });
  await expect(registry.schema(7)).rejects.toMatchObject({ code: 'CF-3006' });
  expect(await registry.register('a-value', '"int"')).toBe(0);
  await registry.close();
});
