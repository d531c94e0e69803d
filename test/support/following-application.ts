/**
 * An application as a process of its own: writes at a rate to the store that takes them, follows SQLSTATE 25006 to the other one, and reads from both
 * all the while. Guarantee: a line stands in its journal for every write whose COMMIT was answered, none for any other; what fails otherwise is a
 * line, too. `node following-application.ts SOURCE TARGET JOURNAL RATE [TENANT]`: with a tenant it keeps to that one's rows. SIGTERM ends it when the writes under way are answered.
 */
import { createWriteStream } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

export const APPLICATION_DDL = `CREATE TABLE app_order (id bigserial PRIMARY KEY, token text NOT NULL UNIQUE, amount int NOT NULL DEFAULT 0);
  CREATE TABLE app_line (order_id bigint NOT NULL, line int NOT NULL, note text, PRIMARY KEY (order_id, line))`;

/** The same of several tenants, who count up one sequence. */
export const TENANTS_DDL = `CREATE TABLE app_order (tenant_id text NOT NULL, id bigserial, token text NOT NULL, amount int NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, token));
  CREATE TABLE app_line (tenant_id text NOT NULL, order_id bigint NOT NULL, line int NOT NULL, note text,
    PRIMARY KEY (tenant_id, order_id, line)) PARTITION BY HASH (order_id);
  CREATE TABLE app_line_0 PARTITION OF app_line FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE TABLE app_line_1 PARTITION OF app_line FOR VALUES WITH (MODULUS 2, REMAINDER 1);
  ALTER TABLE app_order REPLICA IDENTITY FULL; ALTER TABLE app_line_0 REPLICA IDENTITY FULL; ALTER TABLE app_line_1 REPLICA IDENTITY FULL`;

export type JournalLine =
  /** Acknowledged. `ms`: from the first try to the answer. */
  | {
      readonly kind: 'write';
      readonly at: number;
      readonly token: string;
      readonly side: Side;
      readonly ms: number;
      readonly bounced: number;
    }
  | { readonly kind: 'failed-write' | 'failed-read'; readonly at: number; readonly side: Side; readonly error: string };

type Side = 'source' | 'target';

const WORKERS = 8;
/** Several tenants' applications share the servers. */
const TENANT_WORKERS = 2;
const READ_EVERY_MS = 25;
const BOUNCE_MS = 5;

interface Application {
  readonly urls: Readonly<Record<Side, string>>;
  readonly rate: number;
  readonly tell: (line: JournalLine) => void;
  readonly stop: AbortSignal;
  readonly tenant: string | undefined;
  readonly workers: number;
  /** Where the last write went. */
  side: Side;
}

class Connections {
  readonly #urls: Application['urls'];
  readonly #clients = new Map<Side, pg.Client>();

  constructor(urls: Application['urls']) {
    this.#urls = urls;
  }

  async get(side: Side): Promise<pg.Client> {
    const open = this.#clients.get(side);
    if (open !== undefined) return open;
    const client = new pg.Client({ connectionString: this.#urls[side], application_name: 'following application' });
    client.on('error', () => this.#clients.delete(side));
    await client.connect();
    this.#clients.set(side, client);
    return client;
  }

  async end(): Promise<void> {
    await Promise.allSettled([...this.#clients.values()].map(async (client) => client.end()));
  }
}

const WHOLE = {
  order: 'INSERT INTO app_order (token) VALUES ($1) RETURNING id',
  lines: 'INSERT INTO app_line (order_id, line, note) VALUES ($1, 1, $2), ($1, 2, $2)',
  amount: 'UPDATE app_order SET amount = amount + 1 WHERE id IN ($1::bigint, $1::bigint - 7)',
} as const;
const OF_TENANT: Readonly<Record<keyof typeof WHOLE, string>> = {
  order: 'INSERT INTO app_order (token, tenant_id) VALUES ($1, $2) RETURNING id',
  lines: 'INSERT INTO app_line (order_id, line, note, tenant_id) VALUES ($1, 1, $2, $3), ($1, 2, $2, $3)',
  amount: `${WHOLE.amount} AND tenant_id = $2`,
};

/** One transaction of three statements, as applications have them. */
async function write(client: pg.Client, token: string, tenant: string | undefined): Promise<void> {
  const { order, lines, amount } = tenant === undefined ? WHOLE : OF_TENANT;
  const own = tenant === undefined ? [] : [tenant];
  try {
    await client.query('BEGIN');
    const made = await client.query<{ id: string }>(order, [token, ...own]);
    const { id } = made.rows[0]!;
    await client.query(lines, [id, token, ...own]);
    await client.query(amount, [id, ...own]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

async function writer(app: Application, worker: number): Promise<void> {
  const connections = new Connections(app.urls);
  const everyMs = (app.workers * 1000) / app.rate;
  let due = performance.now() + (everyMs * worker) / app.workers;
  for (let i = 0; !app.stop.aborted; i++) {
    await delay(Math.max(0, due - performance.now()));
    // What was missed while writers waited is not made up for: users do not either.
    due = Math.max(due + everyMs, performance.now());
    await writeOne(app, connections, `${process.pid}-${worker}-${i}`);
  }
  await connections.end();
}

async function writeOne(app: Application, connections: Connections, token: string): Promise<void> {
  const began = performance.now();
  for (let bounced = 0; ; bounced++) {
    const { side } = app;
    try {
      await write(await connections.get(side), token, app.tenant);
      app.tell({ kind: 'write', at: Date.now(), token, side, ms: Math.round(performance.now() - began), bounced });
      return;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== '25006') return app.tell({ kind: 'failed-write', at: Date.now(), side, error: `${code ?? ''} ${String(error)}` });
      // Somebody else may have found out meanwhile.
      if (app.side === side) app.side = side === 'source' ? 'target' : 'source';
      if (bounced > 0) await delay(BOUNCE_MS);
      if (app.stop.aborted) return;
    }
  }
}

async function reader(app: Application, side: Side): Promise<void> {
  const connections = new Connections(app.urls);
  while (!app.stop.aborted) {
    try {
      const client = await connections.get(side);
      await client.query('SELECT count(*) FROM (SELECT id FROM app_order ORDER BY id DESC LIMIT 50) AS newest');
    } catch (error) {
      app.tell({ kind: 'failed-read', at: Date.now(), side, error: String(error) });
    }
    await delay(READ_EVERY_MS);
  }
  await connections.end();
}

async function main([source = '', target = '', journal = '', rate = '100', tenant]: readonly string[]): Promise<void> {
  const out = createWriteStream(journal, { flags: 'a' });
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  const app: Application = {
    urls: { source, target },
    rate: Number(rate),
    tell: (line) => void out.write(`${JSON.stringify(line)}\n`),
    stop: stop.signal,
    tenant,
    workers: tenant === undefined ? WORKERS : TENANT_WORKERS,
    side: 'source',
  };
  const writers = Array.from({ length: app.workers }, async (_, worker) => writer(app, worker));
  await Promise.all([...writers, reader(app, 'source'), reader(app, 'target')]);
  out.end();
}

if (import.meta.main) await main(process.argv.slice(2));
