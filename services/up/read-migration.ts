/** File and catalogues → what the services run on. Guarantee: sessions are closed before it is handed on. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { renderCatalogues } from '#schemas/config/catalogue-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { connect } from '#connectors/postgres/session.ts';
import { type NamedCatalog, readNamedCatalog } from '#connectors/catalog/named-catalog.ts';
import { readPlanRecord } from '#connectors/target/postgres/plan-record.ts';
import { errorOf } from '#schemas/envelope.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { tableId, type CompiledMapping, type Renames, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { presented, sameRenames, standing, swapsNames } from '#schemas/mapping/renames.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import { requirePlan } from '#schemas/plan/require-plan.ts';
import { wholeHash } from '#schemas/plan/whole-hash.ts';
import type { Catalog, CatalogTable, CatalogType } from '#schemas/table.ts';
import { type DeclaredIn, declaredIn } from './declared-in.ts';
import type { KeptTarget } from '#services/runtime/kept-target.ts';

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
  readonly declared: DeclaredIn;
  /** Absent: Redis has none. */
  readonly catalog?: Catalog;
  /** It could not be reached: the mapping is of what it was like before. */
  readonly away?: Away;
}

interface Away {
  readonly ordered: boolean;
  /** Resolves once it can be reached. @throws PipelineError CF-5006 when its tables have changed meanwhile, CF-4006, CF-7002 with the signal */
  whenBack(signal: AbortSignal): Promise<void>;
}

/** @throws PipelineError CF-2001, CF-5001, CF-4006; of the first misfit, with all of them in `details.findings` */
export async function readMigration(file: MigrationFile): Promise<Migration> {
  return (await readMigrations(file))[0]!.migration;
}

/** One for each target, all from one look at the source. @throws PipelineError as `readMigration` */
export async function readMigrations(
  file: MigrationFile,
  keptOf: (view: MigrationFile) => KeptTarget | undefined = () => undefined,
): Promise<readonly TargetMigration[]> {
  const views = targetFiles(file);
  const [source, ...targets] = await Promise.all([
    read(file.source.postgres, 'source', file),
    ...views.map(async (view) => (view.target.postgres === undefined ? undefined : readTarget(view, keptOf(view)))),
  ]);
  const isSigned = file.signedPlan !== undefined;
  const found = views.map((view, i): TargetMigration => {
    const { catalog, kept, renames = [] } = targets[i] ?? {};
    if (kept === undefined && targets[i] !== undefined && !sameRenames(source.renames, renames))
      throw new PipelineError('CF-8340', 'names of tables were swapped this very moment');
    const migration = compile(view, { source: source.catalog, target: catalog, renames, isSigned });
    if (catalog === undefined) return { file: view, migration, declared: { planned: [], findings: [] } };
    const declared = declaredIn(view, migration.mapping, {
      source: presented(source.catalog, renames),
      target: presented(catalog, renames),
    });
    const look = { file: view, migration, declared };
    const away = kept === undefined ? undefined : awayTarget(look, kept, { source: source.catalog, catalog });
    return { ...look, catalog, ...(away !== undefined && { away }) };
  });
  await requireSigned(file, found);
  return found;
}

interface TargetLook {
  readonly catalog: Catalog;
  readonly renames: Renames;
  /** It is away: the catalogue is of before. */
  readonly kept?: KeptTarget;
}

async function readTarget(file: MigrationFile, kept: KeptTarget | undefined): Promise<TargetLook> {
  try {
    return await read(file.target.postgres!, 'target', file);
  } catch (error) {
    if (kept?.catalog === undefined || !isUnreachable(error)) throw error;
    return { catalog: kept.catalog, renames: [], kept };
  }
}

const BACK_EVERY_MS = 2_000;

function awayTarget(target: TargetMigration, { ordered }: KeptTarget, before: Record<'source' | 'catalog', Catalog>): Away {
  return {
    ordered,
    whenBack: async (signal) => {
      while (!(await isBack(target, before))) await delay(BACK_EVERY_MS, undefined, { signal });
    },
  };
}

async function isBack(target: TargetMigration, { source, catalog }: Record<'source' | 'catalog', Catalog>): Promise<boolean> {
  const { file, migration } = target;
  try {
    const { catalog: now } = await read(file.target.postgres!, 'target', file);
    if (renderCatalogues(file, { source, target: now }) !== renderCatalogues(file, { source, target: catalog }))
      throw new PipelineError('CF-5006', 'its tables have changed while it was away', { remedy: 'Start crossfade up again.' });
    if (!migration.plan.signed) await requireRecorded(target);
    return true;
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    return false;
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof PipelineError && error.code === 'CF-5001';
}

interface Found {
  readonly source: Catalog;
  readonly target: Catalog | undefined;
  readonly renames: Renames;
  readonly isSigned: boolean;
}

function compile(file: MigrationFile, { source, target, renames, isSigned }: Found): Migration {
  const { mapping: ofFile, findings } =
    target === undefined ? compileRedisMapping(file, source) : compileMapping(file, presented(source, renames), presented(target, renames));
  if (ofFile === undefined) {
    const first = findings.find((finding) => finding.severity === 'error');
    invariant(first, 'a file that gives no mapping has an error');
    const error = errorOf(first);
    throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
  }
  const mapping = standing(ofFile, renames, swapsNames(file));
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
    // One that is away is asked when it is back.
    await Promise.all(targets.filter(({ away }) => away === undefined).map(requireRecorded));
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

async function read(url: string, role: 'source' | 'target', file: MigrationFile): Promise<NamedCatalog> {
  const client = await connect(url, { applicationName: 'crossfade', role });
  try {
    return await readNamedCatalog(client, file);
  } finally {
    await client.end();
  }
}
