/**
 * Real PostgreSQL servers for tests. Guarantee: `startPostgres` gives a server of its own, `freshDatabase` an empty database on a
 * server that this test file's process shares; both end with `await using`, and at the latest with the process.
 */
import { type PostgresServer, type PostgresVersion, startPostgres } from '#services/demo/local-postgres/server.ts';

export { type PostgresOptions, type PostgresServer, type PostgresVersion, startPostgres } from '#services/demo/local-postgres/server.ts';

const shared = new Map<PostgresVersion, Promise<PostgresServer>>();

/** Both versions. Plain `npm test` takes the one that is named: there are files enough for either, and all runs of CI take both in each. */
export function versions(inShort: PostgresVersion): readonly PostgresVersion[] {
  return process.env['CROSSFADE_TESTS'] === 'short' ? [inShort] : [14, 18];
}

/** One server per version and process (vitest gives each test file its own). For tests that need no settings and no restart. */
export async function sharedServer(version: PostgresVersion): Promise<PostgresServer> {
  let server = shared.get(version);
  if (server === undefined) shared.set(version, (server = startPostgres({ version, settings: { max_prepared_transactions: '5' } })));
  return server;
}

export interface FreshDatabase extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  readonly server: PostgresServer;
}

let databases = 0;

export async function freshDatabase(version: PostgresVersion = 18): Promise<FreshDatabase> {
  const server = await sharedServer(version);
  const name = `test${++databases}`;
  const url = await server.createDatabase(name);
  return { name, url, server, [Symbol.asyncDispose]: async () => server.dropDatabase(name) };
}
