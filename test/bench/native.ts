/** Native logical replication as a contender: CREATE SUBSCRIPTION with the server's own defaults, two sync workers. */
import type { Contender, CopyOptions } from './contender.ts';
import { Database, waitUntil } from './database.ts';
import type { UsageGroup } from './usage.ts';

const PATIENCE_MS = 600_000;

export class Native implements Contender {
  readonly name = 'native';
  readonly ordered = true;
  readonly setting: string;
  readonly #with: string;
  #source: Database | undefined;
  #target: Database | undefined;
  #label = '';
  #targetUrl = '';

  /** @param options of CREATE SUBSCRIPTION's WITH clause; empty = server defaults (18: streaming = parallel, binary = off). */
  constructor(options: string) {
    this.#with = options === '' ? '' : ` with (${options})`;
    this.setting = `CREATE SUBSCRIPTION${this.#with || ', server defaults'}`;
  }

  get targetUrl(): string {
    return this.#targetUrl;
  }

  async copy({ sourceUrl, targetUrl, tables, label }: CopyOptions): Promise<number> {
    this.#source = await Database.open(sourceUrl);
    this.#target = await Database.open(targetUrl);
    this.#label = label;
    this.#targetUrl = targetUrl;
    await this.#source.run(`create publication ${label} for table ${tables.join(', ')}`);
    const connection = connectionString(sourceUrl);
    await this.#target.run(`create subscription ${label} connection '${connection}' publication ${label}${this.#with}`);
    await waitUntil(async () => (await this.#on('target').value(`select bool_and(srsubstate = 'r') from pg_subscription_rel`)) === 't', {
      what: 'native initial copy',
      timeoutMs: PATIENCE_MS,
      everyMs: 20,
    });
    return Date.now();
  }

  async pause(): Promise<void> {
    await this.#on('target').run(`alter subscription ${this.#label} disable`);
    await this.#untilSlotIs('f');
  }

  async resume(): Promise<void> {
    await this.#on('target').run(`alter subscription ${this.#label} enable`);
  }

  async streamingSince(): Promise<number | undefined> {
    const at = await this.#on('source').value(
      `select extract(epoch from backend_start) * 1000 from pg_stat_replication where application_name = '${this.#label}'`,
    );
    return at === undefined ? undefined : Number(at);
  }

  processes(): readonly UsageGroup[] {
    return [];
  }

  profile(): undefined {
    return undefined;
  }

  async remove(): Promise<void> {
    await this.#target?.run(`drop subscription if exists ${this.#label}`);
    await this.#source?.run(`drop publication if exists ${this.#label}`);
    await this.#target?.close();
    await this.#source?.close();
  }

  async #untilSlotIs(active: 't' | 'f'): Promise<void> {
    await waitUntil(
      async () => (await this.#on('source').value(`select active from pg_replication_slots where slot_name = '${this.#label}'`)) === active,
      {
        what: 'native subscription stopped',
        timeoutMs: 60_000,
        everyMs: 20,
      },
    );
  }

  #on(side: 'source' | 'target'): Database {
    const database = side === 'source' ? this.#source : this.#target;
    if (database === undefined) throw new Error('the native contender has not copied yet');
    return database;
  }
}

function connectionString(url: string): string {
  const { hostname, port, username, password, pathname } = new URL(url);
  return `host=${hostname} port=${port} user=${username} password=${password} dbname=${pathname.slice(1)}`;
}
