import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import type { ChangeLog } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { connect } from '#connectors/postgres/session.ts';
import { lockReader } from '#connectors/source/postgres/reader-lock.ts';
import { decodeInsertText, rowsOf } from '#test/support/log-rows.ts';
import { Reader } from '#services/reader/reader.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { execute } from '#test/support/application.ts';
import { fileOf } from '#test/support/compile.ts';
import { NO_COPY } from '#test/support/no-copy.ts';
import { startPostgres } from '#test/support/postgres.ts';
import { sharedLog } from '#test/support/shared-log.ts';

const NAME = 'take_over';
const WAIT = { timeout: 30_000, interval: 50 };
interface Stage extends AsyncDisposable {
  readonly url: string;
  readonly log: ChangeLog;
  /** Runs until the stage ends, or the function given back is called. */
  read(onBegin?: (epoch: number) => Promise<void>): Promise<{ readonly started: Promise<void>; stop(): Promise<void> }>;
  slot(): Promise<Record<string, string | null>>;
  ids(): Promise<number[]>;
}

async function openStage(settings: Readonly<Record<string, string>> = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres({ version: 18, settings }));
  const url = await server.createDatabase();
  await execute(url, 'CREATE TABLE t (id int PRIMARY KEY)');
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-take-over-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const log = await openEmbeddedLog({ directory });
  stack.defer(() => log.close());
  const client = await connect(url, { applicationName: 'test', role: 'source' });
  const { tables } = await readCatalog(client);
  await client.end();
  const raw = await log.topic('raw', { partitions: 1 });
  const progress = await log.topic('progress', { partitions: 1 });
  const kept = stack.move();
  const read: Stage['read'] = async (onBegin) => {
    const stop = new AbortController();
    const started = Promise.withResolvers<void>();
    const reader = new Reader({
      name: NAME,
      url,
      raw: sharedLog(raw, onBegin),
      progress,
      tables,
      settings: fileOf('  - from: public.*\n').settings,
      copy: async () => NO_COPY,
      appliedLsn: () => undefined,
      recopy: async () => undefined,
      onStarted: started.resolve,
      logger: silentLogger,
    });
    const run = reader.run(stop.signal);
    const end = async (): Promise<void> => {
      stop.abort();
      await run;
    };
    kept.defer(end);
    return { started: started.promise, stop: end };
  };
  return {
    url,
    log,
    read,
    slot: async () =>
      (await execute(url, `SELECT active, confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '${NAME}'`))[0] ?? {},
    ids: async () => (await rowsOf(raw)).map((frame) => Number(decodeInsertText(frame)[0])),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** wal_sender_timeout. */
const DROPPED_MS = 3_000;

test('the epoch is given to the log only while the slot is held, and the slot stands still until the log was read', async () => {
  await using stage = await openStage({ wal_sender_timeout: `${DROPPED_MS}ms` });
  const first = await stage.read();
  await first.started;
  await execute(stage.url, 'INSERT INTO t VALUES (1)');
  await vi.waitFor(async () => expect(await stage.ids()).toEqual([1]), WAIT);
  await first.stop();
  // What the first one said last the server may hear after it has gone.
  await vi.waitFor(async () => expect(await stage.slot()).toMatchObject({ active: 'f' }), WAIT);
  await execute(stage.url, 'INSERT INTO t SELECT generate_series(2, 400)');
  const before = await stage.slot();
  const begun = Promise.withResolvers<Record<string, string | null>>();
  const second = await stage.read(async () => {
    const pids = new Set<string>();
    const heard: number[] = [];
    // Longer than it takes the server to drop a stream that says nothing.
    await vi.waitFor(async () => {
      const [row] = await execute(stage.url, 'SELECT pid, reply_time FROM pg_stat_replication');
      if (row?.['pid']) pids.add(row['pid']);
      if (row?.['reply_time']) heard.push(Date.parse(row['reply_time']));
      expect(heard.at(-1)! - heard[0]!).toBeGreaterThan(1.5 * DROPPED_MS);
    }, WAIT);
    expect(pids.size).toBe(1);
    begun.resolve(await stage.slot());
  });
  expect(await begun.promise).toEqual({ active: 't', confirmed_flush_lsn: before['confirmed_flush_lsn'] });
  await second.started;
  await vi.waitFor(async () => expect(await stage.ids()).toHaveLength(400), WAIT);
  expect(new Set(await stage.ids()).size).toBe(400);
});

test('a reader waits until the slot is free, and goes on without a gap or a repeat', async () => {
  await using stage = await openStage();
  const first = await stage.read();
  await first.started;
  let begun = false;
  const second = await stage.read(async () => void (begun = true));
  await execute(stage.url, 'INSERT INTO t SELECT generate_series(1, 100)');
  await vi.waitFor(async () => expect(await stage.ids()).toHaveLength(100), WAIT);
  expect(begun).toBe(false);
  await first.stop();
  await second.started;
  await execute(stage.url, 'INSERT INTO t SELECT generate_series(101, 200)');
  await vi.waitFor(async () => expect(await stage.ids()).toHaveLength(200), WAIT);
  expect(new Set(await stage.ids()).size).toBe(200);
});

test('of two readers one gets the lock; the other one gets it when the session of the first has ended, and the first hears of it', async () => {
  await using stage = await openStage();
  const never = new AbortController().signal;
  const first = await lockReader({ url: stage.url, name: NAME, onWaiting: () => undefined }, never);
  const holders: string[] = [];
  const waiting = lockReader({ url: stage.url, name: NAME, onWaiting: (holder) => void holders.push(holder) }, never);
  await vi.waitFor(() => expect(holders).toHaveLength(1), WAIT);
  await execute(stage.url, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted`);
  await vi.waitFor(() => expect(first.lost.aborted).toBe(true), WAIT);
  const second = await waiting;
  expect(second.lost.aborted).toBe(false);
  await second.release();
});

test('a holder of the lock that shows no sign of life is ended by who waits', async () => {
  await using stage = await openStage();
  const silent = await connect(stage.url, { applicationName: 'test', role: 'source' });
  await silent.query(`SELECT pg_advisory_lock(hashtextextended('crossfade reader ' || $1, 0))`, [NAME]);
  const lock = await lockReader({ url: stage.url, name: NAME, onWaiting: () => undefined, silentMs: 1_500 }, AbortSignal.timeout(30_000));
  await lock.release();
});
