/** What the file means for the two databases as they are now. Guarantee: changes nothing; a file that does not fit them has no plan. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { inputLosses } from '#schemas/mapping/input-losses.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { type ResolvedTable, resolveTables } from '#schemas/mapping/resolve-tables.ts';
import { buildPlan } from '#schemas/plan/build-plan.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import type { Catalog } from '#schemas/table.ts';
import { readNamedCatalogs, readSourceCatalog } from '../catalogs.ts';
import { VERSION } from '../version.ts';

export interface CurrentPlan {
  readonly plan: PlanDocument;
  readonly findings: readonly Finding[];
}

/** @throws PipelineError of the first misfit, all of them in `details.findings`. */
export async function currentPlan(file: MigrationFile): Promise<CurrentPlan> {
  return planOf(file, await readBoth(file));
}

interface Both {
  readonly source: Catalog;
  /** Undefined: Redis has no catalogue. */
  readonly target: Catalog | undefined;
}

async function readBoth(file: MigrationFile): Promise<Both> {
  if (file.target.postgres === undefined) return { source: await readSourceCatalog(file.source.postgres), target: undefined };
  const { source, target } = await readNamedCatalogs(file);
  return { source, target };
}

interface Fitted {
  readonly mapping?: CompiledMapping;
  readonly findings: readonly Finding[];
  readonly resolved: readonly ResolvedTable[];
  readonly catalog: Catalog;
}

function planOf(file: MigrationFile, { source, target }: Both): CurrentPlan {
  const { mapping, resolved, catalog, findings: misfits } = fit(file, source, target);
  const losses = file.settings.log.kafka?.input === undefined || mapping === undefined ? [] : inputLosses(mapping, source.tables);
  const findings = [...misfits, ...losses];
  const first = findings.find(({ severity }) => severity === 'error');
  if (mapping === undefined || first !== undefined) {
    const error = first === undefined ? new PipelineError('CF-4001', 'the file gives no mapping') : errorOf(first);
    throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
  }
  const versions = { crossfade: VERSION, timeZones: process.versions['tz'] ?? 'unknown' };
  return { plan: buildPlan({ file, mapping, resolved, source, target: catalog, findings, versions }), findings };
}

function fit(file: MigrationFile, source: Catalog, target: Catalog | undefined): Fitted {
  if (target === undefined) return compileRedisMapping(file, source);
  const resolved = resolveTables(file, source, target, new FindingList(file.path));
  return { ...compileMapping(file, source, target), resolved, catalog: target };
}
