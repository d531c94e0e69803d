/**
 * The demo's shop, moved by `crossfade up` in a process of its own: on the older server to a differently named and typed schema on 18. Guarantee: it
 * follows when this resolves, and nothing of it runs once it is disposed of.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { readMapping } from '#services/cli/catalogs.ts';
import { withLookups } from '#services/cli/lookups.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { loadSql, type ShopSize } from '#services/demo/shop/load.ts';
import { execute } from './application.ts';
import { freshDatabase, type PostgresVersion } from './postgres.ts';

export interface ShopWorld extends AsyncDisposable {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  readonly sourceUrl: string;
  readonly targetUrl: string;
}

const SHOP = join(import.meta.dirname, '..', '..', 'services', 'demo', 'shop');
const COPY_MS_MAX = 120_000;

export async function shopWorld(options: { readonly version: PostgresVersion; readonly size: ShopSize }): Promise<ShopWorld> {
  await using stack = new AsyncDisposableStack();
  const { url: sourceUrl } = stack.use(await freshDatabase(options.version));
  const { url: targetUrl } = stack.use(await freshDatabase(18));
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-shop-'));
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const sql = async (name: string): Promise<string> => readFile(join(SHOP, name), 'utf8');
  await execute(sourceUrl, `set timezone = 'Europe/Berlin'; ${await sql('legacy.sql')}; ${loadSql(options.size, 1)}`);
  await execute(targetUrl, await sql('new.sql'));
  const path = join(SHOP, 'migration.yaml');
  const env = { SHOP_SOURCE: sourceUrl, SHOP_TARGET: targetUrl };
  const { file: read, findings } = readMigrationFile({ path, text: await sql('migration.yaml'), env });
  if (read === undefined) throw new Error(findings.map(({ message }) => message).join('; '));
  const file = await withLookups(read, path);
  const pipeline = stack.use(Pipeline.start({ file: path, dataDir: join(directory, 'data'), logFile: join(directory, 'up.log'), env }));
  await pipeline.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: COPY_MS_MAX });
  const mapping = await readMapping(file);
  const kept = stack.move();
  return { file, mapping, sourceUrl, targetUrl, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
}
