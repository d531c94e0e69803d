/** Real processes on a real directory: killed writers, and the lock. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { readAll } from '#test/support/log-records.ts';
import { recordOf, SEGMENT_BYTES } from '#test/support/log-writer.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const WRITER = path.resolve(import.meta.dirname, '../../../support/log-writer.ts');
const KILLS = 12;

async function temporaryDirectory(): Promise<AsyncDisposable & { readonly directory: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'crossfade-log-'));
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

function startWriter(directory: string): ChildProcessByStdio<null, Readable, null> {
  return spawn(process.execPath, [WRITER, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Kills the writer at its `lines`-th line; the highest offset that it has acknowledged. */
async function killAfter(child: ChildProcessByStdio<null, Readable, null>, lines: number): Promise<number> {
  const exited = once(child, 'exit');
  let acknowledged = 0;
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line !== 'ready') acknowledged = Number(line);
    count += 1;
    if (count === lines) child.kill('SIGKILL');
  }
  await exited;
  return acknowledged;
}

test('everything that a killed writer had acknowledged is there, intact', async () => {
  await using temporary = await temporaryDirectory();
  const { directory } = temporary;
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  let checked = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const acknowledged = await killAfter(startWriter(directory), random.between(1, 120));
    const log = await openEmbeddedLog({ directory, segmentBytes: SEGMENT_BYTES });
    const topic = await log.topic('raw', { partitions: 1 });
    const note = `CROSSFADE_SEED=${seed}, kill ${kill}`;
    expect(topic.end(0), note).toBeGreaterThanOrEqual(acknowledged);
    const shown = await readAll(topic, 0, checked);
    expect(shown, note).toEqual(Array.from({ length: topic.end(0) - checked }, (_, index) => recordOf(checked + index)));
    checked = topic.end(0);
    await log.close();
  }
  expect(checked).toBeGreaterThan(KILLS);
});

test('a second process is refused with the holder named, and the first goes on; a dead holder is no hindrance', async () => {
  await using temporary = await temporaryDirectory();
  const { directory } = temporary;
  const child = startWriter(directory);
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  await expect(openEmbeddedLog({ directory })).rejects.toMatchObject({ code: 'CF-3004', exitCode: 3, details: { pid: child.pid } });
  const before = Number((await lines.next()).value);
  expect(Number((await lines.next()).value)).toBeGreaterThan(before);
  child.kill('SIGKILL');
  await exited;
  const log = await openEmbeddedLog({ directory, segmentBytes: SEGMENT_BYTES });
  await log.close();
});

test('one process cannot open a directory twice, and can after closing it', async () => {
  await using temporary = await temporaryDirectory();
  const { directory } = temporary;
  const first = await openEmbeddedLog({ directory });
  await expect(openEmbeddedLog({ directory })).rejects.toMatchObject({ code: 'CF-3004', details: { pid: process.pid } });
  await first.close();
  await (await openEmbeddedLog({ directory })).close();
});
