/** A migration onto Redis with rows of each form, a writer that mixes what is hard, and verify and repair as an operator runs them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { connect } from '#connectors/postgres/session.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import type { Random } from '#test/support/random.ts';
import { newDataDir, startInstance, type RunningInstance } from '#test/support/running-instance.ts';

const SQL = `
CREATE TABLE account (id int PRIMARY KEY, owner text, country text, balance numeric(12,2) NOT NULL, seen timestamptz);
CREATE TABLE orders (id bigint PRIMARY KEY, paid boolean, total numeric, rate float8, note text, details jsonb);
CREATE TABLE pair (a int, b text, v text, PRIMARY KEY (a, b));
ALTER TABLE account REPLICA IDENTITY FULL;
ALTER TABLE orders REPLICA IDENTITY FULL;
ALTER TABLE pair REPLICA IDENTITY FULL;`;

const TABLES = `heartbeatSeconds: 1
tables:
  - from: public.account
    where: { country: { not: XX } }
    redis: { key: "acct:{id}", sets: ["by_country:{country}"] }
  - { from: public.orders, redis: { key: "order:{id}", form: json } }
  - { from: public.pair, redis: { key: "pair:{a}:{b}" } }
`;

const WAIT = { timeout: 60_000, interval: 20 };

export interface Answer {
  readonly exitCode: number;
  readonly result: VerifyResult;
  readonly text: string;
}

export interface ComparedShop extends AsyncDisposable {
  readonly instance: RunningInstance;
  run(...args: string[]): Promise<Answer>;
  stop(): Promise<void>;
}

export interface ShopOptions {
  readonly source: string;
  readonly target: string;
  readonly rows: number;
}

/** Filled, copied and followed when it is returned. */
export async function startShop({ source, target, rows }: ShopOptions): Promise<ComparedShop> {
  await execute(
    source,
    SQL,
    `INSERT INTO account SELECT g, CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'o' || g END, (ARRAY['DE','FR','XX',NULL])[1 + g % 4], g * 1.5, now() FROM generate_series(1, ${rows}) g`,
    `INSERT INTO orders SELECT g, g % 2 = 0, CASE g % 5 WHEN 0 THEN 'NaN' ELSE g * 1.10 END, CASE g % 7 WHEN 0 THEN 'Infinity' ELSE 1e20 * g END,
       E'tab\\t "quote" \\\\ é 💥 ' || g, CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN '"text"' ELSE jsonb_build_object('n', g, 'l', '[1, {"x": "}"}]'::jsonb) END
       FROM generate_series(1, ${rows}) g`,
    `INSERT INTO pair SELECT g % 50, 'b:%' || g || ' ä', 'v' || g FROM generate_series(1, ${rows}) g`,
    'ANALYZE',
  );
  const dataDir = await newDataDir();
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-compared-'));
  const text = `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { redis: "${target}" }\n${TABLES}`;
  await writeFile(join(directory, 'migration.yaml'), text);
  const instance = await startInstance({ source, target, rest: TABLES }, dataDir);
  await vi.waitFor(() => {
    if (instance.status()?.phase !== 'following') throw new Error(`the instance is ${instance.status()?.phase}`);
  }, WAIT);
  return {
    instance,
    run: async (...args) => {
      const ran = await runInProcess([...args, '--data', dataDir, '--json'], { directory, environment: {} });
      return { exitCode: ran.exitCode, result: envelopeOf(ran).result as VerifyResult, text: ran.stdout + ran.stderr };
    },
    stop: () => instance.stop(),
    [Symbol.asyncDispose]: async () => {
      await instance[Symbol.asyncDispose]();
      for (const path of [dataDir, directory]) await rm(path, { recursive: true, force: true });
    },
  };
}

export function tableOf(result: VerifyResult, from: string): TableVerdict {
  const found = result.tables.find((table) => table.from === from);
  if (found === undefined) throw new Error(`no verdict of ${from}`);
  return found;
}

/** Key changes, filter crossings, deletes and inserts anew, moves between sets, whole transactions rolled back. */
function transaction(random: Random, keys: number): string[] {
  const id = (): number => random.between(1, keys);
  const statements = Array.from({ length: random.between(1, 3) }, () => {
    switch (random.between(0, 9)) {
      case 0:
        return `DELETE FROM account WHERE id = ${id()}`;
      case 1:
        return `INSERT INTO account VALUES (${id()}, 'again', 'FR', 1, now()) ON CONFLICT (id) DO UPDATE SET balance = 7`;
      case 2:
        return `UPDATE account SET country = (ARRAY['DE','FR','XX',NULL])[${random.between(1, 4)}] WHERE id = ${id()}`;
      case 3:
        return `UPDATE account SET id = id + 1000000 WHERE id = ${id()} AND NOT EXISTS (SELECT FROM account b WHERE b.id = account.id + 1000000)`;
      case 4:
        return `DELETE FROM orders WHERE id = ${id()}`;
      case 5:
        return `INSERT INTO orders VALUES (${id()}, NULL, 1.0, 0.1, 'n', '{"a": 1}') ON CONFLICT (id) DO UPDATE SET note = 'n' || orders.id`;
      case 6:
        return `UPDATE pair SET b = b || 'x' WHERE a = ${random.between(0, 49)} AND b LIKE '%${random.between(10, 99)} %'`;
      default:
        return `UPDATE account SET balance = balance + 1, seen = clock_timestamp() WHERE id = ${id()}`;
    }
  });
  return random.chance(0.1) ? ['BEGIN', ...statements, 'ROLLBACK'] : ['BEGIN', ...statements, 'COMMIT'];
}

export interface Writing extends AsyncDisposable {
  /** Transactions so far. */
  readonly count: number;
}

/** Sessions that write until it is disposed; `keys`: how many rows they share. */
export function startWriting(
  source: string,
  options: { readonly random: Random; readonly keys: number; readonly sessions: number },
): Writing {
  const { random, keys, sessions } = options;
  const stop = new AbortController();
  let count = 0;
  const write = async (): Promise<void> => {
    const client = await connect(source, { applicationName: 'writer', role: 'source', settings: { search_path: 'public' } });
    try {
      while (!stop.signal.aborted) {
        for (const statement of transaction(random, keys)) {
          await client.query(statement).catch(async (error: unknown) => {
            // Two writers met: the rest of it is void.
            if ((error as { code?: string }).code === undefined) throw error;
          });
        }
        count++;
      }
    } finally {
      await client.end();
    }
  };
  const all = Promise.all(Array.from({ length: sessions }, write));
  all.catch(() => undefined);
  return {
    get count() {
      return count;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await all;
    },
  };
}
