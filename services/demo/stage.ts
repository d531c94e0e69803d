/**
 * The demo's two servers, their databases and the migration file. Guarantee: as durable as in production (fsync on), and gone with
 * `await using`, files included.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { PipelineOptions } from './pipeline/pipeline.ts';
import { makeScratch } from './pipeline/scratch.ts';
import { startPostgres } from './local-postgres/server.ts';
import type { DemoOptions } from './options.ts';
import { loadSql } from './shop/load.ts';

export interface DemoStage extends AsyncDisposable {
  readonly directory: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly pipeline: PipelineOptions;
}

const SHOP = join(import.meta.dirname, 'shop');
/** What the file looks values up in. */
const CURRENCIES = 'currencies.csv';
const SERVER_SETTINGS = { max_wal_size: '2GB', track_commit_timestamp: 'on' };

/** Both servers, empty of the shop. */
export async function openStage(options: DemoOptions): Promise<DemoStage> {
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(makeScratch('crossfade-demo-'));
  const [source, target] = await Promise.all([
    startPostgres({ version: 14, durable: true, settings: SERVER_SETTINGS }),
    startPostgres({ version: 18, durable: true, settings: SERVER_SETTINGS }),
  ]);
  stack.use(source);
  stack.use(target);
  const sourceUrl = await source.createDatabase('legacy');
  const targetUrl = await target.createDatabase('shop');
  const file = join(directory, 'migration.yaml');
  writeFileSync(file, migrationFile(sourceUrl, targetUrl, options.copyRowsPerSecond));
  copyFileSync(join(SHOP, CURRENCIES), join(directory, CURRENCIES));
  const kept = stack.move();
  return {
    directory,
    sourceUrl,
    targetUrl,
    pipeline: { file, dataDir: join(directory, 'data'), logFile: join(directory, 'crossfade.log') },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

/** @returns rows loaded. */
export async function loadShop(stage: DemoStage, options: DemoOptions): Promise<number> {
  await Promise.all([
    execute(stage.targetUrl, readFileSync(join(SHOP, 'new.sql'), 'utf8')),
    execute(stage.sourceUrl, `${readFileSync(join(SHOP, 'legacy.sql'), 'utf8')}; ${loadSql(options.size, options.seed)}`),
  ]);
  await execute(stage.sourceUrl, 'vacuum analyze');
  const rows = await execute(
    stage.sourceUrl,
    `select sum(reltuples)::bigint as n from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
  );
  return Number(rows.at(-1)?.['n'] ?? 0);
}

function migrationFile(sourceUrl: string, targetUrl: string, copyRowsPerSecond: number): string {
  const text = readFileSync(join(SHOP, 'migration.yaml'), 'utf8');
  return text
    .replace('${SHOP_SOURCE}', sourceUrl)
    .replace('${SHOP_TARGET}', targetUrl)
    .replace(/maxRowsPerSecond: \d+/, `maxRowsPerSecond: ${copyRowsPerSecond}`);
}

/** Rows of the last statement that gave any. */
export async function execute(url: string, sql: string): Promise<readonly Readonly<Record<string, string | null>>[]> {
  const client = new pg.Client({ connectionString: url, types: { getTypeParser: () => (value: string | Buffer) => value as string } });
  await client.connect();
  try {
    // The legacy columns hold local time; what the loader computes with now() must be that too.
    await client.query(`set timezone = 'Europe/Berlin'`);
    const results: unknown = await client.query(sql);
    const last = (Array.isArray(results) ? results.at(-1) : results) as pg.QueryResult<Record<string, string | null>>;
    return last.rows;
  } finally {
    await client.end();
  }
}
