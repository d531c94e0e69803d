/** The mapping as the two servers have it now. Guarantee: sessions are closed before it is handed on. */
import type pg from 'pg';
import { type NamedCatalog, readNamedCatalog } from '#connectors/catalog/named-catalog.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { Catalogues } from '#schemas/config/catalogue-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { PipelineError } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping, Renames } from '#schemas/mapping/compiled-mapping.ts';
import { presented, sameRenames, standing, swapsNames } from '#schemas/mapping/renames.ts';
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
  return { source, target: target.catalog };
}

export interface NamedCatalogs extends Catalogs {
  readonly renames: Renames;
}

/** Every table where the file has it, whatever a rename swap made of its name. @throws PipelineError CF-2001, CF-5001 */
export async function readNamedCatalogs(file: MigrationFile): Promise<NamedCatalogs> {
  const [ofSource, ofTarget] = await Promise.all([read(file.source.postgres, 'source', file), read(file.target.postgres!, 'target', file)]);
  const { renames } = ofTarget;
  // Both are of one database where there are any.
  if (!sameRenames(ofSource.renames, renames)) throw new PipelineError('CF-8340', 'names of tables were swapped this very moment');
  return { source: presented(ofSource.catalog, renames), target: presented(ofTarget.catalog, renames), renames };
}

/** Those that the mapping is compiled from: of Redis there is none. @throws PipelineError CF-2001, CF-5001 */
export async function readMappingCatalogs(file: MigrationFile): Promise<Catalogues> {
  if (file.target.postgres === undefined) return { source: await readSourceCatalog(file.source.postgres) };
  const { source, target } = await readNamedCatalogs(file);
  return { source, target };
}

/** @throws PipelineError CF-2001 */
export async function readSourceCatalog(url: string): Promise<Catalog> {
  return (await read(url, 'source')).catalog;
}

/** @param file absent: of no migration */
async function read(url: string, role: 'source' | 'target', file?: MigrationFile): Promise<NamedCatalog> {
  const client: pg.Client = await connect(url, { applicationName: 'crossfade', role });
  try {
    return file === undefined ? { catalog: await readCatalog(client), renames: [] } : await readNamedCatalog(client, file);
  } finally {
    await client.end();
  }
}

export interface MappingFit extends Catalogues {
  /** With the tables' names as the servers have them; the catalogues have those of the file. */
  readonly mapping: CompiledMapping;
}

/** @throws PipelineError CF-4006; of the first misfit, all of them in `details.findings`. */
export async function readMapping(file: MigrationFile): Promise<CompiledMapping> {
  return (await readFit(file)).mapping;
}

/** The same with what it rests on. @throws as `readMapping` */
export async function readFit(file: MigrationFile): Promise<MappingFit> {
  const isPostgres = file.target.postgres !== undefined;
  const { renames, ...catalogs }: Catalogues & { readonly renames: Renames } = isPostgres
    ? await readNamedCatalogs(file)
    : { ...(await readMappingCatalogs(file)), renames: [] };
  const { source, target } = catalogs;
  const { mapping, findings } = target === undefined ? compileRedisMapping(file, source) : compileMapping(file, source, target);
  if (mapping !== undefined) {
    const signed = file.signedPlan === undefined ? undefined : ({ hash: file.signedPlan, by: 'option' } as const);
    requirePlan(planHash(file, mapping), signed, file.name);
    return { mapping: standing(mapping, renames, swapsNames(file)), ...catalogs };
  }
  const first = findings.find((finding) => finding.severity === 'error');
  if (first === undefined) throw new PipelineError('CF-4001', 'the file gives no mapping');
  const error = errorOf(first);
  throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
}
