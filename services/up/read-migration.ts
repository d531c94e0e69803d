/** File and catalogues → what the services run on. Guarantee: sessions are closed before it is handed on. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { connect } from '#connectors/postgres/session.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { readPlanRecord } from '#connectors/target/postgres/plan-record.ts';
import { errorOf } from '#schemas/envelope.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import { requirePlan, type SignedPlan } from '#schemas/plan/require-plan.ts';
import type { Catalog, CatalogTable, CatalogType } from '#schemas/table.ts';

export interface Migration {
  readonly mapping: CompiledMapping;
  readonly plan: { readonly hash: string; readonly signed: boolean };
  /** The mapped ones only. */
  readonly sourceTables: readonly CatalogTable[];
  /** None where the target has no catalogue. */
  readonly targetTables: readonly CatalogTable[];
  /** The source's database and user types, as events name them. */
  readonly database: string;
  readonly types: readonly CatalogType[];
  sourceOf(mapping: TableMapping): CatalogTable;
}

/** @throws PipelineError CF-2001, CF-5001, CF-4006; of the first misfit, with all of them in `details.findings` */
export async function readMigration(file: MigrationFile): Promise<Migration> {
  const [source, target] = await Promise.all([
    read(file.source.postgres, 'source'),
    file.target.postgres === undefined ? undefined : read(file.target.postgres, 'target'),
  ]);
  const { mapping, findings } = target === undefined ? compileRedisMapping(file, source) : compileMapping(file, source, target);
  if (mapping === undefined) {
    const first = findings.find((finding) => finding.severity === 'error');
    invariant(first, 'a file that gives no mapping has an error');
    const error = errorOf(first);
    throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
  }
  const plan = { hash: planHash(file, mapping), signed: file.signedPlan !== undefined };
  requirePlan(plan.hash, await signedPlan(file), file.name);
  const byId = new Map(source.tables.map((table) => [tableId(table), table]));
  const sourceOf = (table: TableMapping): CatalogTable => {
    const found = byId.get(tableId(table.from));
    invariant(found, 'a mapped table is in the catalogue that it was compiled from');
    return found;
  };
  const targets = new Set(mapping.tables.map((table) => tableId(table.to)));
  return {
    mapping,
    plan,
    sourceTables: [...new Set(mapping.tables.map(sourceOf))],
    targetTables: (target?.tables ?? []).filter((table) => targets.has(tableId(table))),
    database: source.database,
    types: source.types,
    sourceOf,
  };
}

/** What the command names, else what the migration was begun under. A Redis target has no record of it. */
async function signedPlan({ name, target, signedPlan: named }: MigrationFile): Promise<SignedPlan | undefined> {
  if (named !== undefined) return { hash: named, by: 'option' };
  if (target.postgres === undefined) return undefined;
  const client = await connect(target.postgres, { applicationName: 'crossfade plan', role: 'target' });
  try {
    const record = await readPlanRecord(client, name);
    return record?.signed === true ? { hash: record.hash, by: 'record' } : undefined;
  } finally {
    await client.end();
  }
}

async function read(url: string, role: 'source' | 'target'): Promise<Catalog> {
  const client = await connect(url, { applicationName: 'crossfade', role });
  try {
    return await readCatalog(client);
  } finally {
    await client.end();
  }
}
