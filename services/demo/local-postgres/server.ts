/**
 * A real PostgreSQL server from npm, for the demo, the bench and the tests. Guarantee: once `startPostgres` resolves the server answers
 * on 127.0.0.1 as superuser `postgres` (password `postgres`, needed only where `hba` asks for it), and it ends with the object or with this
 * process, whichever comes first. Needs no Docker and no root; as root it runs as another user.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '#connectors/postgres/session.ts';
import { type Binaries, findBinaries, type PostgresVersion } from './binaries.ts';
import { type SslFiles, writeAccessRules, writeSslFiles } from './access.ts';
import { isAlive, killCluster, releaseSharedMemory } from './processes.ts';
import { newDirectory, serverUser, type User } from './run-as.ts';
import { type ClusterOptions, newDataDirectory } from './template.ts';
import { clusterIn, unwatch, watch } from './watchdog.ts';

export type { PostgresVersion } from './binaries.ts';

export interface PostgresOptions extends ClusterOptions {
  readonly version: PostgresVersion;
  /** Server settings over our defaults, for example `{ wal_sender_timeout: '2s' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Kept when the server ends; made when it does not exist. Absent: a temporary one, removed at the end. */
  readonly dataDir?: string;
  /** A free one when absent. */
  readonly port?: number;
  /** Lines of pg_hba.conf in place of "trust everybody on 127.0.0.1". */
  readonly hba?: readonly string[];
  readonly ssl?: SslFiles;
  /** True: fsync on, as in production. False (the default): faster, and still safe against SIGKILL, not against power loss. */
  readonly durable?: boolean;
}

export interface PostgresServer extends AsyncDisposable {
  readonly version: PostgresVersion;
  readonly port: number;
  readonly dataDir: string;
  /** The postmaster's, while it runs. */
  readonly pid: number | undefined;
  url(database?: string, user?: string, password?: string): string;
  /** @returns the new database's URL. */
  createDatabase(name?: string): Promise<string>;
  /** Ends every session of the database and drops it, with its replication slots. */
  dropDatabase(name: string): Promise<void>;
  stop(mode?: 'smart' | 'fast' | 'immediate'): Promise<void>;
  /** SIGKILL to the postmaster and all its backends. */
  kill(): Promise<void>;
  /** Starts it again on the same port after stop or kill, with further settings if given. */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
  restart(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** What the server has logged so far. */
  log(): string;
}

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;
const POLL_MS = 10;
const START_ATTEMPTS = 5; // a free port can be taken between the look and the start

const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'logical',
  max_wal_senders: '20',
  max_replication_slots: '20',
  max_connections: '100',
  shared_buffers: '128MB',
  log_line_prefix: '%m [%p] %q%a ',
  dynamic_shared_memory_type: 'mmap', // files in the data directory: they go with it, also after a SIGKILL
};
const FAST_SETTINGS: Readonly<Record<string, string>> = { fsync: 'off', full_page_writes: 'off' };

export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const user = serverUser();
  const home = options.dataDir === undefined ? newDirectory('crossfade-postgres-', user) : undefined;
  if (home !== undefined) watch({ directory: home });
  const dataDir = resolve(options.dataDir ?? clusterIn(home ?? ''));
  const server = new LocalServer(options, { user, home, dataDir, binaries: findBinaries(options.version, user) });
  try {
    await server.create();
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

interface Place {
  readonly user: User | undefined;
  /** Temporary directory that holds the data directory; undefined when the caller named its own. */
  readonly home: string | undefined;
  readonly dataDir: string;
  readonly binaries: Binaries;
}

class LocalServer implements PostgresServer {
  readonly #options: PostgresOptions;
  readonly #place: Place;
  #settings: Readonly<Record<string, string>>;
  #port: number;
  #process: ChildProcess | undefined;
  #databases = 0;

  constructor(options: PostgresOptions, place: Place) {
    this.#options = options;
    this.#place = place;
    this.#settings = { ...DEFAULT_SETTINGS, ...(options.durable === true ? {} : FAST_SETTINGS), ...options.settings };
    this.#port = options.port ?? 0;
  }

  get version(): PostgresVersion {
    return this.#options.version;
  }

  get port(): number {
    return this.#port;
  }

  get dataDir(): string {
    return this.#place.dataDir;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get #logFile(): string {
    return `${this.dataDir}.log`;
  }

  url(database = 'postgres', user = 'postgres', password = user === 'postgres' ? 'postgres' : undefined): string {
    const credentials = [user, ...(password === undefined ? [] : [password])].map(encodeURIComponent).join(':');
    return `postgres://${credentials}@127.0.0.1:${this.#port}/${encodeURIComponent(database)}`;
  }

  async create(): Promise<void> {
    if (existsSync(join(this.dataDir, 'PG_VERSION'))) return;
    mkdirSync(dirname(this.dataDir), { recursive: true });
    await newDataDirectory(this.dataDir, this.#place.binaries, this.#place.user, this.#options);
    writeAccessRules(this.dataDir, this.#options.hba);
  }

  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.#process !== undefined) throw new Error('this server is running already');
    const ssl = this.#options.ssl === undefined ? {} : writeSslFiles(this.dataDir, this.#options.ssl, this.#place.user);
    this.#settings = { ...this.#settings, ...ssl, ...settings };
    const mayMove = this.#port === 0;
    for (let attempt = 1; ; attempt++) {
      if (mayMove) this.#port = await findFreePort();
      if (await this.#tryStart()) return;
      const tail = this.log().slice(-2000);
      // After a crash the old backends' shared memory lives until the last of them is gone.
      const passing = (mayMove && tail.includes('could not bind')) || tail.includes('still in use');
      if (!passing || attempt === START_ATTEMPTS) throw new Error(`PostgreSQL ${this.version} did not start:\n${tail}`);
      await delay(100 * attempt);
    }
  }

  async #tryStart(): Promise<boolean> {
    const { binaries, user } = this.#place;
    const flags = Object.entries(this.#settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const log = openSync(this.#logFile, 'a');
    const child = spawn(binaries.postgres, ['-D', this.dataDir, '-p', String(this.#port), ...flags], {
      ...user,
      cwd: '/',
      detached: true, // Ctrl-C in a terminal is for us: we stop the server when we are done with it
      stdio: ['ignore', log, log],
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
    });
    closeSync(log);
    const spawned = new Promise<void>((done, failed) => child.once('spawn', done).once('error', failed));
    await spawned;
    this.#process = child;
    child.once('exit', () => {
      if (child.pid !== undefined) unwatch({ pid: child.pid });
      if (this.#process === child) this.#process = undefined;
    });
    if (child.pid !== undefined) watch({ pid: child.pid });
    const ready = await this.#untilReady(child);
    child.unref(); // a forgotten server must not keep this process alive
    return ready;
  }

  /** False when the server ended instead. The postmaster writes its state into the last line of postmaster.pid. */
  async #untilReady(child: ChildProcess): Promise<boolean> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    const file = join(this.dataDir, 'postmaster.pid');
    while (child.exitCode === null && child.signalCode === null) {
      const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
      if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return true;
      if (Date.now() > deadline)
        throw new Error(`PostgreSQL ${this.version} was not ready in ${START_TIMEOUT_MS} ms:\n${this.log().slice(-2000)}`);
      await delay(POLL_MS);
    }
    return false;
  }

  async stop(mode: 'smart' | 'fast' | 'immediate' = 'fast'): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const exit = untilExit(child);
    child.kill(({ smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const)[mode]);
    const timer = setTimeout(() => child.pid !== undefined && killCluster(child.pid), STOP_TIMEOUT_MS);
    await exit;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined) return;
    const exit = untilExit(child);
    const killed = killCluster(child.pid);
    await exit;
    while (killed.some(isAlive)) await delay(POLL_MS);
  }

  async restart(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.stop();
    await this.start(settings);
  }

  async createDatabase(name = `db${++this.#databases}`): Promise<string> {
    await this.#execute(`CREATE DATABASE ${quote(name)}`);
    return this.url(name);
  }

  async dropDatabase(name: string): Promise<void> {
    const literal = `'${name.replaceAll("'", "''")}'`;
    await this.#execute(
      `SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE database = ${literal} AND active`,
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ${literal}`,
      `DROP DATABASE IF EXISTS ${quote(name)} WITH (FORCE)`,
    );
  }

  /** As the superuser, one statement after the other: DROP DATABASE cannot run inside a transaction. */
  async #execute(...statements: readonly string[]): Promise<void> {
    const client = await connect(this.url(), { applicationName: 'local-postgres', role: 'target' });
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  }

  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { home } = this.#place;
    await (home === undefined ? this.stop('fast') : this.stop('immediate')); // nobody will read a temporary cluster again
    if (home === undefined) return;
    releaseSharedMemory(this.dataDir); // it may have been killed
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
    unwatch({ directory: home });
  }
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

async function untilExit(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  await once(child, 'exit');
}

/** Below the ephemeral range, where any outgoing connection could take the port while the server is restarted. */
async function findFreePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    const free = await new Promise<boolean>((done) => probe.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
    if (!free) continue;
    await new Promise((done) => probe.close(done));
    return port;
  }
}
