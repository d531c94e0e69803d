/** File and catalogues → what the services run on. Guarantee: sessions are closed before it is handed on. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { connect } from '#connectors/postgres/session.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { readPlanRecord } from '#connectors/target/postgres/plan-record.ts';
import { errorOf } from '#schemas/envelope.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import { requirePlan } from '#schemas/plan/require-plan.ts';
import { wholeHash } from '#schemas/plan/whole-hash.ts';
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

/** A target of the file, and what the file means for it. */
export interface TargetMigration {
  /** As this target sees it. */
  readonly file: MigrationFile;
  readonly migration: Migration;
}

/** @throws PipelineError CF-2001, CF-5001, CF-4006; of the first misfit, with all of them in `details.findings` */
export async function readMigration(file: MigrationFile): Promise<Migration> {
  return (await readMigrations(file))[0]!.migration;
}

/** One for each target, all from one look at the source. @throws PipelineError as `readMigration` */
export async function readMigrations(file: MigrationFile): Promise<readonly TargetMigration[]> {
  const views = targetFiles(file);
  const [source, ...targets] = await Promise.all([
    read(file.source.postgres, 'source'),
    ...views.map(async ({ target }) => (target.postgres === undefined ? undefined : read(target.postgres, 'target'))),
  ]);
  const isSigned = file.signedPlan !== undefined;
  const found = views.map((view, i) => ({ file: view, migration: compile(view, { source, target: targets[i], isSigned }) }));
  await requireSigned(file, found);
  return found;
}

interface Found {
  readonly source: Catalog;
  readonly target: Catalog | undefined;
  readonly isSigned: boolean;
}

function compile(file: MigrationFile, { source, target, isSigned }: Found): Migration {
  const { mapping, findings } = target === undefined ? compileRedisMapping(file, source) : compileMapping(file, source, target);
  if (mapping === undefined) {
    const first = findings.find((finding) => finding.severity === 'error');
    invariant(first, 'a file that gives no mapping has an error');
    const error = errorOf(first);
    throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
  }
  const byId = new Map(source.tables.map((table) => [tableId(table), table]));
  const sourceOf = (table: TableMapping): CatalogTable => {
    const found = byId.get(tableId(table.from));
    invariant(found, 'a mapped table is in the catalogue that it was compiled from');
    return found;
  };
  const targets = new Set(mapping.tables.map((table) => tableId(table.to)));
  return {
    mapping,
    plan: { hash: planHash(file, mapping), signed: isSigned },
    sourceTables: [...new Set(mapping.tables.map(sourceOf))],
    targetTables: (target?.tables ?? []).filter((table) => targets.has(tableId(table))),
    database: source.database,
    types: source.types,
    sourceOf,
  };
}

/** What the command names, of all targets together; else what the migration was begun under on each of them. */
async function requireSigned({ name, signedPlan: hash }: MigrationFile, targets: readonly TargetMigration[]): Promise<void> {
  if (hash === undefined) {
    await Promise.all(targets.map(requireRecorded));
    return;
  }
  const plans = targets.map(({ file, migration }) => ({ name: file.targetName ?? name, hash: migration.plan.hash }));
  requirePlan(plans.length === 1 ? plans[0]!.hash : wholeHash(plans), { hash, by: 'option' }, name);
}

/** A Redis target has no record of it. */
async function requireRecorded({ file: { name, target, targetName }, migration }: TargetMigration): Promise<void> {
  if (target.postgres === undefined) return;
  const client = await connect(target.postgres, { applicationName: 'crossfade plan', role: 'target' });
  try {
    const record = await readPlanRecord(client, name);
    if (record?.signed !== true) return;
    const told = targetName === undefined ? name : `${name} to ${targetName}`;
    requirePlan(migration.plan.hash, { hash: record.hash, by: 'record' }, told);
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
