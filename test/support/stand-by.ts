/**
 * A physical stand-by of a server, fed by streaming replication, and its fail-over. Guarantee: what the server commits after `cut` has resolved the stand-by never gets; once `promote` has
 * resolved it takes writes where nobody knows it yet, and the server is dead; after `takeOver` everybody meets it on the port that was the server's.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execute } from './application.ts';
import { until } from './flip-stage.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';

export interface StandBy extends AsyncDisposable {
  /** Of the stand-by itself. */
  url(database: string): string;
  /** It lags from here on. */
  cut(): Promise<void>;
  /** @returns the database's URL there */
  promote(database: string): Promise<string>;
  takeOver(): Promise<void>;
}

const ASYNCHRONOUS = { synchronous_standby_names: '' };

const SLOT = 'stand_by';
/** Both from PostgreSQL 17 on. */
const KEEPS_SLOTS = ['hot_standby_feedback = on', `primary_slot_name = '${SLOT}'`, 'sync_replication_slots = on'];

/** The server is restarted for it: it has to be at rest. `keepsSlots`: as docs/cutover.md has it. */
export async function standBy(primary: PostgresServer, { keepsSlots = false } = {}): Promise<StandBy> {
  const { version } = primary;
  const dataDir = join(dirname(primary.dataDir), 'stand-by');
  await primary.stop();
  execFileSync('cp', ['-a', primary.dataDir, dataDir]);
  await primary.start(ASYNCHRONOUS);
  const configure = (line: string): void => appendFileSync(join(dataDir, 'postgresql.auto.conf'), `${line}\n`);
  configure(`primary_conninfo = 'host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres'`);
  if (keepsSlots) {
    await execute(primary.url(), `SELECT pg_create_physical_replication_slot('${SLOT}')`);
    await execute(primary.url(), `ALTER SYSTEM SET synchronized_standby_slots = '${SLOT}'`, 'SELECT pg_reload_conf()');
    KEEPS_SLOTS.forEach(configure);
  }
  execFileSync('cp', [join(dataDir, 'PG_VERSION'), join(dataDir, 'standby.signal')]);
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres({ version, dataDir }));
  const received = async (): Promise<number> => (await execute(server.url(), 'SELECT FROM pg_stat_wal_receiver')).length;
  await until(async () => (await received()) === 1, 'the stand-by to follow');
  const kept = stack.move();
  return {
    url: (database) => server.url(database),
    cut: async () => {
      const [at] = await execute(primary.url(), 'SELECT pg_current_wal_flush_lsn() AS lsn');
      const has = `SELECT pg_last_wal_replay_lsn() >= '${at!['lsn']!}' AS has`;
      await until(async () => (await execute(server.url(), has))[0]!['has'] === 't', 'the stand-by to have what there was');
      configure(`primary_conninfo = ''`);
      await execute(server.url(), 'SELECT pg_reload_conf()');
      await until(async () => (await received()) === 0, 'the stand-by to lag');
    },
    promote: async (database) => {
      await primary.kill();
      await execute(server.url(), 'SELECT pg_promote(true)');
      return server.url(database);
    },
    takeOver: async () => {
      await server.stop();
      kept.use(await startPostgres({ version, dataDir, port: primary.port }));
    },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}
