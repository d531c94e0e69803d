/**
 * The two servers a bench runs on. Guarantee: durable (fsync on), the peers' settings, and a fresh target database for every copy;
 * everything goes with `await using`.
 */
import { startPostgres, type PostgresServer } from '#test/support/postgres.ts';
import type { BenchOptions } from './options.ts';
import { Database } from './database.ts';
import type { UsageGroup } from './usage.ts';
import { BEAT_POLLER, loadSource, SCHEMA } from './workload.ts';

export interface Stage extends AsyncDisposable {
  readonly source: Database;
  readonly sourceUrl: string;
  /** A database with the tables, their keys and indexes, and no rows. */
  freshTarget(name: string): Promise<string>;
  dropTarget(name: string): Promise<void>;
  checkpointTarget(): Promise<void>;
  readonly clusters: readonly UsageGroup[];
  readonly versions: { readonly source: string; readonly target: string };
}

const TEMPLATE = 'empty_shop';

export function serverSettings(options: BenchOptions): Readonly<Record<string, string>> {
  return {
    shared_buffers: options.sharedBuffers,
    max_wal_size: '8GB',
    max_worker_processes: '20',
    max_logical_replication_workers: '16',
    // Not read here; on as in the peers' figures, so that they compare.
    track_commit_timestamp: 'on',
    // The default of 5 s only delays the start of native's apply and sync workers.
    wal_retrieve_retry_interval: '500ms',
    // Vacuum runs between the measurements, on both sides, and not by chance within one.
    autovacuum: 'off',
    timezone: 'UTC',
  };
}

export async function openStage(options: BenchOptions): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const start = async (): Promise<PostgresServer> => await startPostgres({ version: 18, durable: true, settings: serverSettings(options) });
  const sourceServer = stack.use(await start());
  const targetServer = stack.use(await start());
  const sourceUrl = await sourceServer.createDatabase('shop');
  const source = stack.use(await Database.open(sourceUrl));
  await loadSource(source, options);
  {
    await using empty = await Database.open(await targetServer.createDatabase(TEMPLATE));
    await empty.run(SCHEMA + BEAT_POLLER);
  }
  const admin = stack.use(await Database.open(targetServer.url()));
  const versions = { source: await source.text('show server_version'), target: await admin.text('show server_version') };
  const kept = stack.move();
  return {
    source,
    sourceUrl,
    versions,
    freshTarget: async (name) => {
      await admin.run(`create database ${name} template ${TEMPLATE}`);
      return targetServer.url(name);
    },
    dropTarget: async (name) => targetServer.dropDatabase(name),
    checkpointTarget: async () => admin.run('checkpoint'),
    clusters: [clusterGroup('source', sourceServer), clusterGroup('target', targetServer)],
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

function clusterGroup(name: string, server: PostgresServer): UsageGroup {
  return { name, kind: 'cluster', fresh: false, pid: () => server.pid };
}
