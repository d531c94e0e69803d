/** The mapping as the two servers have it now. Guarantee: sessions are closed before it is handed on. */
import type pg from 'pg';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { Catalogues } from '#schemas/config/catalogue-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { PipelineError } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import { requirePlan } from '#schemas/plan/require-plan.ts';
import type { Catalog } from '#schemas/table.ts';

export interface Catalogs {
  readonly source: Catalog;
  readonly target: Catalog;
}

/** @throws PipelineError CF-2001, CF-5001 */
export async function readCatalogs(urls: { readonly source: string; readonly target: string }): Promise<Catalogs> {
  const [source, target] = await Promise.all([readSourceCatalog(urls.source), read(urls.target, 'target')]);
  return { source, target };
}

/** Those that the mapping is compiled from: of Redis there is none. @throws PipelineError CF-2001, CF-5001 */
export async function readMappingCatalogs(file: MigrationFile): Promise<Catalogues> {
  if (file.target.postgres === undefined) return { source: await readSourceCatalog(file.source.postgres) };
  return readCatalogs({ source: file.source.postgres, target: file.target.postgres });
}

/** @throws PipelineError CF-2001 */
export async function readSourceCatalog(url: string): Promise<Catalog> {
  return read(url, 'source');
}

async function read(url: string, role: 'source' | 'target'): Promise<Catalog> {
  const client: pg.Client = await connect(url, { applicationName: 'crossfade', role });
  try {
    return await readCatalog(client);
  } finally {
    await client.end();
  }
}

export interface MappingFit extends Catalogues {
  readonly mapping: CompiledMapping;
}

/** @throws PipelineError CF-4006; of the first misfit, all of them in `details.findings`. */
export async function readMapping(file: MigrationFile): Promise<CompiledMapping> {
  return (await readFit(file)).mapping;
}

/** The same with what it rests on. @throws as `readMapping` */
export async function readFit(file: MigrationFile): Promise<MappingFit> {
  const catalogs = await readMappingCatalogs(file);
  const { source, target } = catalogs;
  const { mapping, findings } = target === undefined ? compileRedisMapping(file, source) : compileMapping(file, source, target);
  if (mapping !== undefined) {
    const signed = file.signedPlan === undefined ? undefined : ({ hash: file.signedPlan, by: 'option' } as const);
    requirePlan(planHash(file, mapping), signed, file.name);
    return { mapping, ...catalogs };
  }
  const first = findings.find((finding) => finding.severity === 'error');
  if (first === undefined) throw new PipelineError('CF-4001', 'the file gives no mapping');
  const error = errorOf(first);
  throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
}
