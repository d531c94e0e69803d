import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { connect } from '#connectors/postgres/session.ts';
import { createSlot, slotWaitsFor } from '#connectors/source/postgres/slot.ts';
import { PipelineError } from '#schemas/errors.ts';
import { parseLsn } from '#schemas/lsn.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { Reader } from '#services/reader/reader.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { fileOf } from '#test/support/compile.ts';
import { execute, openSession } from '#test/support/application.ts';
import { NO_COPY } from '#test/support/no-copy.ts';
import { startPostgres } from '#test/support/postgres.ts';

afterEach(() => installTestHooks({}));

/** Lets a change arrive whose append never becomes durable; tells what the server was then told, and where the change committed. */
async function toldOfWhatIsNotDurable(): Promise<{ readonly flushed: bigint; readonly committed: bigint }> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres({ version: 18 }));
  const url = await server.createDatabase();
  await execute(url, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-slot-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const log = await openEmbeddedLog({ directory });
  stack.defer(() => log.close());
  const raw = await log.topic('raw', { partitions: 1 });
  let held = false;
  const refused = Promise.withResolvers<never>();
  refused.promise.catch(() => undefined);
  const holding: Topic = new Proxy(raw, {
    get: (topic, name) => {
      const value: unknown = Reflect.get(topic, name, topic);
      if (name === 'append' && held) return () => refused.promise;
      return typeof value === 'function' ? (value.bind(topic) as unknown) : value;
    },
  });
  const client = await connect(url, { applicationName: 'test', role: 'source' });
  stack.defer(() => client.end());
  const { tables } = await readCatalog(client);
  const started = Promise.withResolvers<void>();
  const stop = new AbortController();
  const reader = new Reader({
    name: 'slot_test',
    url,
    raw: holding,
    progress: await log.topic('progress', { partitions: 1 }),
    tables,
    settings: fileOf('  - from: public.*\n').settings,
    copy: NO_COPY,
    appliedLsn: () => undefined,
    recopy: async () => undefined,
    onStarted: started.resolve,
    logger: silentLogger,
  });
  const run = reader.run(stop.signal);
  stack.defer(async () => {
    stop.abort();
    refused.reject(new PipelineError('CF-3001', 'the disk is full'));
    await run;
  });
  await started.promise;
  held = true;
  await execute(url, `INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 2000) g`);
  const [row] = await execute(url, 'SELECT pg_current_wal_lsn() AS lsn');
  const committed = parseLsn(row!['lsn']!);
  let told: Record<string, string | null> | undefined;
  const times = new Set<string>();
  // Three answers of ours after all of it was sent: the slot had its chance to move.
  await vi.waitFor(
    async () => {
      [told] = await execute(url, `SELECT flush_lsn, reply_time FROM pg_stat_replication WHERE sent_lsn >= '${row!['lsn']}'`);
      if (told) times.add(told['reply_time']!);
      expect(times.size).toBeGreaterThan(2);
    },
    { timeout: 30_000, interval: 50 },
  );
  return { flushed: parseLsn(told!['flush_lsn']!), committed };
}

describe('the slot', () => {
  test('is not told of a change that was received but is not durable', async () => {
    const { flushed, committed } = await toldOfWhatIsNotDurable();
    expect(flushed).toBeLessThan(committed);
  });

  test('would be told of it without the guard, so the test above can see it', async () => {
    installTestHooks({ disabledGuards: ['early-ack'] });
    const { flushed, committed } = await toldOfWhatIsNotDurable();
    expect(flushed).toBeGreaterThanOrEqual(committed);
  });
});

test('who keeps a slot from being made is named, a prepared transaction too', async () => {
  await using server = await startPostgres({ version: 18, settings: { max_prepared_transactions: '2' } });
  const url = server.url();
  await execute(url, 'CREATE TABLE t (id int)', `BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'left over'`);
  await using making = await openSession(url);
  await using looking = await openSession(url);
  const made = createSlot(making.client, 'held_up', false);
  await vi.waitFor(
    async () =>
      expect(await slotWaitsFor(looking.client, 'held_up')).toEqual([expect.stringMatching(/^prepared transaction left over for 00:/)]),
    { timeout: 30_000, interval: 20 },
  );
  await execute(url, `ROLLBACK PREPARED 'left over'`);
  await made;
  expect(await slotWaitsFor(looking.client, 'held_up')).toEqual([]);
});
