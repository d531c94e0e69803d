/** No instance runs, and the slot is ahead of the target: what lies between is only in the raw log. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { decodeRelation, TAG } from '#schemas/pgoutput/message.ts';
import type { RawLog } from '#services/reconciler/log-gap.ts';
import { batchOf } from '#test/support/log-records.ts';
import { play, type Played } from './played-pipeline.ts';

const SQL = `CREATE TABLE item (id int4 PRIMARY KEY, v text, n int4 NOT NULL DEFAULT 0); CREATE TABLE other (id int4 PRIMARY KEY, v text);`;
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'verify-log-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function openLog(): Promise<RawLog> {
  const log = await openEmbeddedLog({ directory });
  return {
    raw: await log.topic('raw', { partitions: 1 }),
    progress: await log.topic('progress', { partitions: 1 }),
    close: () => log.close(),
  };
}

/** As the reader does: durable in the log, then told to the slot. @param before Frames to put in front. */
async function readIntoLog(pipeline: Played, before: readonly Buffer[] = []): Promise<void> {
  const { rows } = await pipeline.source.query<{ data: string }>(
    `SELECT data FROM pg_logical_slot_get_binary_changes('played', NULL, NULL, 'proto_version', '1', 'publication_names', 'played', 'messages', 'true')`,
  );
  const frames = rows.map(({ data }) => Buffer.from(data.slice(2), 'hex'));
  const log = await openLog();
  const relations = frames.flatMap((frame) =>
    frame[0] === TAG.relation ? [{ t: 'relation', offset: 0, oid: decodeRelation(frame).oid, frame: frame.toString('base64') }] : [],
  );
  if (relations.length > 0) await log.progress.append(0, batchOf(...relations.map((record) => JSON.stringify(record))));
  if (frames.length + before.length > 0)
    await log.raw.append(0, batchOf(...before, ...frames.filter((frame) => frame[0] !== TAG.relation)));
  await log.close();
}

async function stopped(): Promise<Played> {
  const pipeline = await play({ sourceSql: SQL });
  await pipeline.source.query(
    `INSERT INTO item SELECT g, 'v' || g FROM generate_series(1, 100) g; INSERT INTO other SELECT g, 'o' FROM generate_series(1, 10) g`,
  );
  await pipeline.follow();
  expect(await pipeline.verify()).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.stopFollowing();
  return pipeline;
}

test('changes that only the log holds are laid over the target', async () => {
  await using pipeline = await stopped();
  await pipeline.source.query(`UPDATE item SET n = 5 WHERE id < 10; DELETE FROM item WHERE id = 10; INSERT INTO item VALUES (500, 'new')`);
  await readIntoLog(pipeline);
  await pipeline.source.query(`UPDATE item SET n = 6 WHERE id < 5`); // this one the slot still has
  expect(await pipeline.verify({ log: openLog })).toMatchObject({ differences: 0, inconclusive: 0 });
  await pipeline.target.query(`UPDATE item SET v = 'wrong' WHERE id = 60`);
  expect(await pipeline.verify({ log: openLog })).toMatchObject({ differences: 1, inconclusive: 0 });
});

test('a slot that moved past an idle stretch is not a gap', async () => {
  await using pipeline = await stopped();
  await readIntoLog(pipeline);
  await pipeline.source.query(`CREATE TABLE elsewhere (n int4); INSERT INTO elsewhere VALUES (1)`);
  await pipeline.source.query(`SELECT pg_replication_slot_advance('played', pg_current_wal_lsn())`);
  expect(await pipeline.verify({ log: openLog })).toMatchObject({ differences: 0, inconclusive: 0 });
});

test('without the log, or with one that another process holds, the tables are inconclusive', async () => {
  await using pipeline = await stopped();
  await pipeline.source.query('UPDATE item SET n = 5');
  await readIntoLog(pipeline);
  const found = await pipeline.verify();
  expect(found).toMatchObject({ differences: 0, inconclusive: 2, at: { lsn: null } });
  expect(found.tables[0]?.inconclusive).toMatchObject({ cause: 'lag', message: expect.stringContaining('crossfade up') });
  const held = await openLog();
  expect(await pipeline.verify({ log: openLog })).toMatchObject({ differences: 0, inconclusive: 2 });
  await held.close();
});

test('a transaction that a crash cut off is left out, and rows copied again are not judged before they are applied', async () => {
  await using pipeline = await stopped();
  await pipeline.source.query('UPDATE item SET n = 5 WHERE id = 1');
  const { rows } = await pipeline.source.query<{ data: string }>(
    `SELECT data FROM pg_logical_slot_peek_binary_changes('played', NULL, NULL, 'proto_version', '1', 'publication_names', 'played')`,
  );
  const torn = rows
    .map(({ data }) => Buffer.from(data.slice(2), 'hex'))
    .filter((frame) => frame[0] === TAG.begin || frame[0] === TAG.update);
  const epoch = encodeJsonFrame(FRAME.epoch, { epoch: 7, systemId: '1', timeline: 1 });
  const state = encodeJsonFrame(FRAME.tableState, { schema: 'public', table: 'other', state: 'copying' });
  await readIntoLog(pipeline, [...torn.slice(-2), epoch, state]);
  const found = await pipeline.verify({ log: openLog });
  expect(found).toMatchObject({ differences: 0, inconclusive: 1 });
  expect(found.tables[1]?.inconclusive?.cause).toBe('copying');
});
