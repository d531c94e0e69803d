/**
 * What a report is made of. Guarantee: changes nothing; needs the target only. What else cannot be read (a source that is switched off, a catalogue that a role may
 * not see) is named in the report instead of ending it.
 */
import { readRenames } from '#connectors/postgres/renames.ts';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { readRemnants } from '#connectors/remnants/postgres/read-remnants.ts';
import { readApprovals } from '#connectors/target/postgres/approvals.ts';
import { readTrail } from '#connectors/target/postgres/audit.ts';
import { countBlocked } from '#connectors/target/postgres/dead-letters.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import { readPlanHistory } from '#connectors/target/postgres/plan-record.ts';
import { readTableProgress } from '#connectors/target/postgres/progress.ts';
import { readLastChecks, readLastComparisons, readLastFindings } from '#connectors/target/postgres/reconcile-record.ts';
import type { TableProgress } from '#connectors/target/target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { messageOf } from '#schemas/errors.ts';
import { addressOf, serverOf } from '#schemas/plan/build-plan.ts';
import type { PlanPlace } from '#schemas/plan/plan-document.ts';
import { buildReport, type TableFacts } from '#schemas/report/build-report.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import type { ReportDocument } from '#schemas/report/report-document.ts';
import { type Renames, tableId, type TableName } from '#schemas/mapping/compiled-mapping.ts';
import { retiredSchema, swapsNames } from '#schemas/mapping/renames.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import { readLastVerify } from '#services/runtime/last-verify.ts';
import { VERSION } from '../version.ts';
import { otherWaves } from '../cleanup/other-waves.ts';
import { readLocalRemnants } from './local-remnants.ts';
import { readRedisTarget, redisPlace, redisRemnant } from './read-redis-target.ts';
import type { TargetFacts } from './target-facts.ts';
import { readTableSizes, type SizedTable, sizeOf, type TableSizes } from './table-sizes.ts';

const FINDINGS_MAX = 10_000;
const PLANS_MAX = 100;

export interface ReportOptions {
  readonly dataDir: string;
  /** Read every table of both sides. */
  readonly count: boolean;
}

/** @throws PipelineError CF-5001 */
export async function readReport(file: MigrationFile, { dataDir, count }: ReportOptions): Promise<ReportDocument> {
  const unread: string[] = [];
  const optional = async <T>(what: string, read: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await read();
    } catch (error) {
      unread.push(`${what}: ${messageOf(error)}`);
      return otherwise;
    }
  };
  const { postgres: url, redis } = file.target;
  const target =
    redis === undefined
      ? await readTarget(url, file.name)
      : await readRedisTarget(redis, { name: file.name, targetName: file.targetName, dataDir });
  const from = target.tables.map((table) => table.from);
  const to = target.tables.map((table) => table.to);
  const here = await optional('the source', async () => readSide(file.source.postgres, { side: 'source', tables: from, count }), undefined);
  const there =
    redis === undefined ? await readSide(url, { side: 'target', tables: to, count }) : { place: redisPlace(redis), sizes: undefined };
  return buildReport({
    name: file.name,
    target: file.targetName,
    writtenAt: new Date().toISOString(),
    crossfade: VERSION,
    source: here?.place ?? { server: 'PostgreSQL (not reached)', address: addressOf(file.source.postgres) },
    targetPlace: there.place,
    ...target,
    tables: target.tables.map((table) => ({ ...tableFacts(table, here?.sizes, there.sizes), ...otherNames(file, target.renames, table) })),
    verify: readLastVerify(dataDir, file.targetName),
    required: file.approvals ?? [],
    remnants: await remnantsOf(file, { dataDir, optional }),
    unread,
  });
}

async function readTarget(url: string, name: string): Promise<TargetFacts> {
  const own = await readOwn(url, name);
  const [audit, row] = [await readTrail(url, name), await readState(url, name)];
  const [comparisons, checks, findings] = await Promise.all([
    readLastComparisons(url, name),
    readLastChecks(url, name),
    readLastFindings(url, name, FINDINGS_MAX),
  ]);
  return { ...own, row, audit, comparisons, checks, findings, approvals: await readApprovals(url, name) };
}

async function readOwn(url: string, name: string): Promise<Pick<TargetFacts, 'plans' | 'tables' | 'setAside' | 'renames'>> {
  const client = await connect(url, { applicationName: 'crossfade report', role: 'target' });
  try {
    const plans = await readPlanHistory(client, name, PLANS_MAX);
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.table_progress') IS NOT NULL`)).rowCount === 0)
      return { plans, tables: [], setAside: null, renames: [] };
    const renames = await readRenames(client, name);
    return { plans, renames, tables: await readTableProgress(client, name), setAside: await countBlocked(client, name) };
  } finally {
    await client.end().catch(() => undefined);
  }
}

interface SideFacts {
  readonly place: PlanPlace;
  readonly sizes: TableSizes;
}

async function readSide(
  url: string,
  { side, tables, count }: { readonly side: 'source' | 'target'; readonly tables: readonly SizedTable[]; readonly count: boolean },
): Promise<SideFacts> {
  const client = await connect(url, { applicationName: 'crossfade report', role: side });
  try {
    const row = await queryRow(client, `SELECT current_setting('server_version_num') AS version`);
    const place = { server: serverOf({ serverVersion: Number(row!['version']) }), address: addressOf(url) };
    return { place, sizes: await readTableSizes(client, tables, count) };
  } finally {
    await client.end().catch(() => undefined);
  }
}

function tableFacts(table: TableProgress, source: TableSizes | undefined, target: TableSizes | undefined): TableFacts {
  const { from, to, state, error, rowsCopied, changesApplied, conflicts } = table;
  return {
    from: `${from.schema}.${from.name}`,
    to: `${to.schema}.${to.name}`,
    phase: state,
    error: error ?? null,
    rowsCopied,
    changesApplied,
    conflicts: { ...conflicts },
    now: { source: sizeOf(source, from), target: sizeOf(target, to) },
  };
}

/** A flip counts before it swaps. */
function otherNames(file: MigrationFile, renames: Renames, { from, to }: TableProgress): Pick<TableFacts, 'otherNames'> {
  if (!swapsNames(file)) return {};
  const named = (table: TableName): TableName => renames.find(({ now }) => tableId(now) === tableId(table))?.named ?? table;
  const other =
    renames.length === 0
      ? { from: { schema: retiredSchema(from.schema), name: from.name }, to: from }
      : { from: named(from), to: named(to) };
  return { otherNames: { from: showTable(other.from), to: showTable(other.to) } };
}

type Optional = <T>(what: string, read: () => Promise<T>, otherwise: T) => Promise<T>;

/** Of both servers, and of this machine. */
export async function remnantsOf(
  file: MigrationFile,
  { dataDir, optional }: { readonly dataDir: string; readonly optional: Optional },
): Promise<Remnant[]> {
  const { name } = file;
  const place = file.targetName === undefined ? 'target' : `target ${file.targetName}`;
  const waves = await otherWaves(file);
  const source = { url: file.source.postgres, name, side: 'source', place: 'source', waves } as const;
  const { postgres: url, redis } = file.target;
  return [
    // Of one database it is all the target's.
    ...(swapsNames(file) ? [] : await optional('what is left on the source', async () => readRemnants(source), [])),
    ...(redis === undefined ? await readRemnants({ url, name, side: 'target', place, waves }) : [redisRemnant(name, place)]),
    ...(await readLocalRemnants(file, dataDir)),
  ];
}
