/** A transaction in the WAL that no snapshot sees yet: its commit waits for a synchronous standby that does not answer (design §2). */
import { afterEach, describe, expect, test } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';
import { CopyWorld } from '#test/support/copy-world.ts';
import { type PostgresServer, startPostgres } from '#test/support/postgres.ts';

afterEach(() => installTestHooks({}));

interface Outcome {
  readonly replica: readonly string[];
  readonly source: readonly string[];
  readonly reread: number;
}

async function standbyNames(server: PostgresServer, names: string): Promise<void> {
  await using session = await openSession(server.url());
  await session.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
  await session.query('SELECT pg_reload_conf()');
  const wanted = async (): Promise<boolean> =>
    (await session.query('SHOW synchronous_standby_names'))[0]!['synchronous_standby_names'] === names;
  while (!(await wanted()));
}

/** Commits that wait show it; the server needs a moment until new ones do. @returns the commit, still waiting. */
async function writeHidden(url: string, writer: ApplicationSession): Promise<Promise<unknown>[]> {
  await using watcher = await openSession(url);
  const waits = async (): Promise<'waits'> => {
    while ((await watcher.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)).length === 0);
    return 'waits';
  };
  const waiting = waits();
  for (;;) {
    const writing = writer.query(`UPDATE item SET v = 'new' WHERE id = 5`);
    if ((await Promise.race([writing, waiting])) === 'waits') return [writing];
  }
}

/** An update is streamed but invisible while its row's chunk is read; the standby requirement is dropped once `released` says so. */
async function copyWithHiddenCommit(options: { readonly restarts: boolean }): Promise<Outcome> {
  await using server = await startPostgres({ version: 18 });
  const url = await server.createDatabase('hidden');
  await execute(url, 'CREATE TABLE item (id int PRIMARY KEY, v text)', `INSERT INTO item SELECT i, 'old' FROM generate_series(1, 10) i`);
  let world = await CopyWorld.start({ url, paused: true });
  await world.until(() => world.reader.status().connected);
  await standbyNames(server, 'nobody');
  await using writer = await openSession(url);
  const writing = await writeHidden(url, writer);
  await world.until(() => world.replica.table('item').size === 1);
  if (options.restarts) {
    const streamed = world.reader.status().durableEnd;
    await world.until(() => world.reader.status().confirmed >= streamed);
    await world.stop();
    world = await CopyWorld.start({ url, directory: world.directory });
  }
  await world.copier.operator.resume();
  await using _ = world;
  const reread = (): number => world.copier.progress()[0]!.chunksReread;
  await world.until(() => reread() > 2 || world.copier.complete);
  const rereadBefore = reread();
  await standbyNames(server, '');
  await Promise.all(writing);
  await world.settle();
  return { replica: world.replica.dump('item', ['id', 'v']), source: await world.sourceDump('item', ['id', 'v']), reread: rereadBefore };
}

describe('a chunk read while a streamed transaction is still invisible', () => {
  test('is read again until the snapshot sees it', async () => {
    const { replica, source, reread } = await copyWithHiddenCommit({ restarts: false });
    expect(replica).toEqual(source);
    expect(reread).toBeGreaterThan(0);
  });

  test('brings a stale row back without the guard', async () => {
    installTestHooks({ disabledGuards: ['visibility'] });
    const { replica, source } = await copyWithHiddenCommit({ restarts: false });
    expect(replica).not.toEqual(source);
  });

  test('is read again also by a reader that was started after the transaction was streamed', async () => {
    const { replica, source, reread } = await copyWithHiddenCommit({ restarts: true });
    expect(replica).toEqual(source);
    expect(reread).toBeGreaterThan(0);
  });

  test('brings a stale row back when a restarted reader remembers nothing', async () => {
    installTestHooks({ disabledGuards: ['visibility-memory'] });
    const { replica, source } = await copyWithHiddenCommit({ restarts: true });
    expect(replica).not.toEqual(source);
  });
});
