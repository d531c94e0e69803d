import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { ControlJournal } from '#services/reader/copy/control-journal.ts';
import { decodeCopyRecord, type CopyRecord } from '#services/reader/copy/control-record.ts';
import { OperatorControl } from '#services/reader/copy/operator-control.ts';
import { Throttle } from '#services/reader/copy/throttle.ts';
import { readAll } from '#services/runtime/records.ts';
import { silentLogger } from '#services/runtime/service.ts';

async function openProgress(): Promise<Topic> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-operator-'));
  const log = await openEmbeddedLog({ directory });
  onTestFinished(async () => {
    await log.close();
    await rm(directory, { recursive: true, force: true });
  });
  return log.topic('progress', { partitions: 1 });
}

/** A reader that begins with what the topic holds. */
async function begin(progress: Topic): Promise<{ readonly operator: OperatorControl; readonly throttle: Throttle }> {
  const records: CopyRecord[] = [];
  await readAll(progress, 0, (payload) => {
    const record = decodeCopyRecord(payload);
    if (record !== undefined) records.push(record);
  });
  const throttle = new Throttle({}, () => 0);
  const journal = new ControlJournal(progress, silentLogger);
  return { throttle, operator: new OperatorControl({ maxBytesPerSecond: 1_000 }, { throttle, journal, records }) };
}

test('a pause and limits hold for the reader that takes over, from its beginning', async () => {
  const progress = await openProgress();
  const first = await begin(progress);
  expect(first.throttle.limits).toEqual({ rowsPerSecond: undefined, bytesPerSecond: 1_000 });
  await first.operator.throttle({ maxRowsPerSecond: 100 });
  await first.operator.pause();
  const second = await begin(progress);
  expect(second.throttle.pausedBy).toEqual(['operator']);
  expect(second.throttle.limits).toEqual({ rowsPerSecond: 100, bytesPerSecond: 1_000 });
  expect(second.operator.status()).toEqual({ paused: true, maxRowsPerSecond: 100, maxBytesPerSecond: 1_000, refused: [] });
  await second.operator.resume();
  expect(await second.operator.throttle({ maxRowsPerSecond: null, maxBytesPerSecond: null })).toEqual({
    maxRowsPerSecond: null,
    maxBytesPerSecond: null,
  });
  const third = await begin(progress);
  expect(third.throttle.pausedBy).toEqual([]);
  expect(third.throttle.limits).toEqual({ rowsPerSecond: undefined, bytesPerSecond: undefined });
});

test('the last refused requests are told, each once, also after a restart', async () => {
  const progress = await openProgress();
  const first = await begin(progress);
  for (const id of ['1', '2', '3', '3', '4', '5', '6']) await first.operator.refuse({ id, table: 'public.item', error: `no ${id}` });
  const second = await begin(progress);
  expect(second.operator.status().refused.map(({ error }) => error)).toEqual(['no 2', 'no 3', 'no 4', 'no 5', 'no 6']);
});
