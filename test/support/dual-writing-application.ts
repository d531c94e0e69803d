/**
 * An application as a process of its own that writes two stores through `crossfade/client`, by the stage that the flags say. Guarantee: what it says it
 * wrote was acknowledged; within one burst no key is written twice, so that nothing of its own is a conflict.
 * Started with an IPC channel (see dual-application.ts); ends when that closes.
 */
import pg from 'pg';
import { type CrossfadeClient, createCrossfadeClient, createDualWriter, type DualStore, type DualWriter } from '#services/client/client.ts';
import { seeded } from './random.ts';

export interface DualRow {
  readonly ver: number;
  readonly body: string;
}

/** By their policies. */
export const DUAL_TABLES = { account: { newerWins: ({ ver }: DualRow) => ver }, note: 'source-wins', setting: 'target-wins' } as const;
export type DualTable = keyof typeof DUAL_TABLES;
const TABLES = Object.keys(DUAL_TABLES) as readonly DualTable[];

export const DUAL_DDL: string = TABLES.map(
  (table) =>
    `CREATE TABLE ${table} (id int PRIMARY KEY, ver int NOT NULL, body text NOT NULL); ALTER TABLE ${table} REPLICA IDENTITY FULL;`,
).join('\n');

export type Request =
  | { readonly kind: 'burst'; readonly writes: number }
  | { readonly kind: 'settle'; readonly table: DualTable; readonly key: string }
  | { readonly kind: 'state' };

export interface Reply {
  readonly failed: readonly string[];
  readonly stage: string;
  /** Of each table: what was acknowledged last under each key. */
  readonly rows: Readonly<Record<DualTable, Readonly<Record<string, DualRow>>>>;
  readonly counts: Readonly<Record<DualTable, DualWriter<DualRow>['counts']>>;
}

const WORKERS = 4;

export class TableStore implements DualStore<DualRow> {
  readonly #pool: pg.Pool;
  readonly #table: string;

  constructor(pool: pg.Pool, table: string) {
    this.#pool = pool;
    this.#table = table;
  }

  async get(key: string): Promise<DualRow | undefined> {
    const { rows } = await this.#pool.query<DualRow>(`SELECT ver, body FROM ${this.#table} WHERE id = $1`, [key]);
    return rows[0];
  }

  async put(key: string, { ver, body }: DualRow, replacing?: { readonly row: DualRow | undefined }): Promise<boolean> {
    const insert = `INSERT INTO ${this.#table} (id, ver, body) VALUES ($1, $2, $3) ON CONFLICT (id)`;
    if (replacing === undefined) return this.#run(`${insert} DO UPDATE SET ver = $2, body = $3`, [key, ver, body]);
    if (replacing.row === undefined) return this.#run(`${insert} DO NOTHING`, [key, ver, body]);
    return this.#run(`UPDATE ${this.#table} SET ver = $2, body = $3 WHERE id = $1 AND ver = $4 AND body = $5`, [
      key,
      ver,
      body,
      replacing.row.ver,
      replacing.row.body,
    ]);
  }

  async remove(key: string, replacing?: { readonly row: DualRow }): Promise<boolean> {
    if (replacing === undefined) return this.#run(`DELETE FROM ${this.#table} WHERE id = $1`, [key]);
    return this.#run(`DELETE FROM ${this.#table} WHERE id = $1 AND ver = $2 AND body = $3`, [key, replacing.row.ver, replacing.row.body]);
  }

  async #run(sql: string, values: readonly unknown[]): Promise<boolean> {
    return (await this.#pool.query(sql, [...values])).rowCount === 1;
  }
}

/** `row` undefined: it goes. */
interface Choice {
  readonly table: DualTable;
  readonly key: string;
  readonly row: DualRow | undefined;
}

class Application {
  readonly #crossfade: CrossfadeClient;
  readonly #writers: Record<DualTable, DualWriter<DualRow>>;
  readonly #rows: Record<DualTable, Map<string, DualRow>> = { account: new Map(), note: new Map(), setting: new Map() };
  readonly #random = seeded(7);
  #next = 1;
  #failed: string[] = [];

  constructor(crossfade: CrossfadeClient, writers: Record<DualTable, DualWriter<DualRow>>) {
    this.#crossfade = crossfade;
    this.#writers = writers;
  }

  async answer(request: Request): Promise<Reply> {
    this.#failed = [];
    if (request.kind === 'burst') await this.#burst(request.writes);
    if (request.kind === 'settle') await this.#writers[request.table].settle(request.key);
    const each = <T>(of: (table: DualTable) => T): Record<DualTable, T> => ({
      account: of('account'),
      note: of('note'),
      setting: of('setting'),
    });
    return {
      failed: this.#failed,
      stage: this.#crossfade.stage(),
      rows: each((table) => Object.fromEntries(this.#rows[table])),
      counts: each((table) => this.#writers[table].counts),
    };
  }

  async #burst(writes: number): Promise<void> {
    const todo = Array.from({ length: writes }, () => this.#choose()).filter(
      ({ table, key }, i, all) => all.findIndex((one) => one.table === table && one.key === key) === i,
    );
    const work = async (): Promise<void> => {
      for (let one = todo.pop(); one !== undefined; one = todo.pop()) await this.#write(one);
    };
    await Promise.all(Array.from({ length: WORKERS }, work));
  }

  #choose(): Choice {
    const table = TABLES[this.#random.between(0, TABLES.length - 1)]!;
    const old = [...this.#rows[table]];
    const [key, row] = old[this.#random.between(0, Math.max(0, old.length - 1))] ?? [];
    if (key === undefined || row === undefined || this.#random.chance(0.5)) {
      const id = String(this.#next++);
      return { table, key: id, row: { ver: 1, body: `${table} ${id}` } };
    }
    return { table, key, row: this.#random.chance(0.2) ? undefined : { ver: row.ver + 1, body: `${row.body}+` } };
  }

  async #write({ table, key, row }: Choice): Promise<void> {
    try {
      if (row === undefined) await this.#writers[table].remove(key);
      else await this.#writers[table].write(key, row);
      if (row === undefined) this.#rows[table].delete(key);
      else this.#rows[table].set(key, row);
      await this.#writers[table].read(key);
    } catch (error) {
      this.#failed.push(String(error));
    }
  }
}

async function main([source = '', target = '', url = '', token = '']: readonly string[]): Promise<void> {
  const pools = [source, target].map(
    (connectionString) => new pg.Pool({ connectionString, max: WORKERS, application_name: 'dual application' }),
  );
  const [old, young] = pools as [pg.Pool, pg.Pool];
  const crossfade = createCrossfadeClient({ name: 'scenario', url, token });
  await crossfade.ready();
  const open = async (table: DualTable): Promise<DualWriter<DualRow>> =>
    createDualWriter<DualRow>({
      stage: () => crossfade.stage(),
      refresh: async () => crossfade.refresh(),
      source: new TableStore(old, table),
      target: new TableStore(young, table),
      policy: DUAL_TABLES[table],
    });
  const application = new Application(crossfade, {
    account: await open('account'),
    note: await open('note'),
    setting: await open('setting'),
  });
  process.on('message', (request) => void application.answer(request as Request).then((reply) => process.send!(reply)));
  process.once('disconnect', () => {
    void crossfade.close().then(async () => Promise.all(pools.map(async (pool) => pool.end())));
  });
  process.send!('ready');
}

if (import.meta.main) await main(process.argv.slice(2));
