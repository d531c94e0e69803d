/**
 * Status without a running instance. Guarantee: read from the target's own progress and the source's own slot; what cannot be read is
 * null and lag is then unknown, never zero.
 */
import type pg from 'pg';
import { type PlanRecord, readPlanRecord } from '#connectors/target/postgres/plan-record.ts';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { readSlot } from '#connectors/source/postgres/slot.ts';
import { countBlocked } from '#connectors/target/postgres/dead-letters.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import { readProgress, readTableProgress } from '#connectors/target/postgres/progress.ts';
import type { Progress, TableProgress } from '#connectors/target/target.ts';
import { mergeTargets } from '#schemas/status/merge-targets.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { findingOf, toPipelineError } from '#schemas/envelope.ts';
import type { Finding } from '#schemas/errors.ts';
import { formatLsn, type Lsn, parseLsn } from '#schemas/lsn.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { resolveTables, type ResolvedTable } from '#schemas/mapping/resolve-tables.ts';
import { phaseOfState } from '#schemas/migration/migration-row.ts';
import type { MigrationState } from '#schemas/migration/transitions.ts';
import { type StatusResult, type TableStatus, UNKNOWN_COPY } from '#schemas/status/status-result.ts';
import { lastDrift } from '#services/runtime/last-verify.ts';
import { readNamedCatalogs, readSourceCatalog } from '../catalogs.ts';

export interface StoredStatus {
  readonly status: StatusResult;
  readonly findings: readonly Finding[];
}

interface SourceState {
  readonly lsn: Lsn;
  readonly nowMs: number;
  readonly slot: StatusResult['source']['slot'];
}

interface TargetState {
  readonly progress: Progress;
  readonly tables: readonly TableProgress[];
  readonly stats: Readonly<Record<string, unknown>>;
  readonly deadLetters: number;
  readonly plan?: PlanRecord | undefined;
  /** As a flip left it; undefined: none was ever thought of. */
  readonly state?: MigrationState | undefined;
  /** False: the applied LSN is a floor. */
  readonly isAtomic: boolean;
}

/** @throws PipelineError CF-5001 when the target cannot be reached: without it nothing is known. */
export async function readStoredStatus(file: MigrationFile, dataDir: string): Promise<StoredStatus> {
  const views = targetFiles(file);
  if (views.length === 1 && file.targetName === undefined) return readOne(file, dataDir);
  const read = await Promise.all(views.map(async (view) => ({ view, stored: await readNamed(view, dataDir) })));
  const status = mergeTargets(
    read.map(({ view, stored }) => ({
      name: view.targetName!,
      kind: view.target.redis === undefined ? 'postgres' : 'redis',
      connected: null,
      status: stored.status,
      ...(stored.error !== undefined && { error: stored.error, isUnknown: true }),
    })),
  );
  return { status, findings: withoutRepeats(read.flatMap(({ stored }) => stored.findings)) };
}

/** One of several that cannot be reached does not hide the others. */
async function readNamed(view: MigrationFile, dataDir: string): Promise<StoredStatus & { readonly error?: string }> {
  try {
    return await readOne(view, dataDir);
  } catch (error) {
    const finding = findingOf(toPipelineError(error));
    const { name } = view;
    const findings = [{ ...finding, severity: 'warning' as const, message: `${view.targetName}: ${finding.message}` }];
    return { status: statusOf(name, undefined, undefined), findings, error: finding.message };
  }
}

function withoutRepeats(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [`${finding.code} ${finding.message}`, finding])).values()];
}

async function readOne(file: MigrationFile, dataDir: string): Promise<StoredStatus> {
  const findings: Finding[] = [];
  const target = await readTarget(file);
  const source = await readSource(file).catch((error: unknown) => {
    findings.push({ ...findingOf(toPipelineError(error)), severity: 'warning' });
    return undefined;
  });
  const status = statusOf(file.name, target, source);
  const tables = target === undefined && source !== undefined ? await plannedTables(file) : status.tables;
  return { status: { ...status, tables, drift: lastDrift(dataDir, file.targetName) }, findings };
}

/** Before the first start: what the file matches. A file that does not fit is `check`'s to explain. */
async function plannedTables(file: MigrationFile): Promise<TableStatus[]> {
  return (await resolveFile(file)).map((table) => ({
    from: `${table.source.schema}.${table.source.name}`,
    to: `${table.to.schema}.${table.to.name}`,
    phase: 'waiting',
    rowsCopied: 0,
    rowsEstimated: table.source.rowEstimate,
    changesApplied: 0,
  }));
}

async function resolveFile(file: MigrationFile): Promise<readonly ResolvedTable[]> {
  if (file.target.postgres === undefined) return compileRedisMapping(file, await readSourceCatalog(file.source.postgres)).resolved;
  const { source, target } = await readNamedCatalogs(file);
  return resolveTables(file, source, target, new FindingList(file.path));
}

async function readTarget(file: MigrationFile): Promise<TargetState | undefined> {
  if (file.target.redis !== undefined) {
    const { readStoredState } = await import('#connectors/target/redis/stored-state.ts');
    const stored = await readStoredState(file.target.redis, file.name);
    return stored && { progress: stored.progress, tables: stored.tables, stats: {}, deadLetters: 0, isAtomic: false };
  }
  const client = await connect(file.target.postgres, { applicationName: 'crossfade status', role: 'target' });
  try {
    // One snapshot: the tables' rows belong to the progress row's state.
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const progress = await readProgress(client, file.name);
    if (progress === undefined) return undefined;
    const deadLetters = await countBlocked(client, file.name);
    const plan = await readPlanRecord(client, file.name);
    const state = (await readStateRow(client, file.name))?.state;
    const [tables, stats] = [await readTableProgress(client, file.name), await readStats(client, file.name)];
    return { progress, tables, stats, deadLetters, plan, state, isAtomic: true };
  } finally {
    await client.end();
  }
}

async function readStats(client: pg.Client, name: string): Promise<Record<string, unknown>> {
  const row = await queryRow(client, 'SELECT stats::text AS stats FROM crossfade.progress WHERE name = $1', [name]);
  return JSON.parse(row?.['stats'] ?? '{}') as Record<string, unknown>;
}

async function readSource(file: MigrationFile): Promise<SourceState> {
  const client = await connect(file.source.postgres, { applicationName: 'crossfade status', role: 'source' });
  try {
    const row = await queryRow(
      client,
      `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS lsn,
              (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint AS now`,
    );
    const slot = await readSlot(client, file.name);
    return {
      lsn: parseLsn(row?.['lsn'] ?? '0/0'),
      nowMs: Number(row?.['now']),
      slot: { retainedBytes: slot === undefined ? null : Math.max(0, slot.retainedBytes), status: slot?.walStatus ?? null },
    };
  } finally {
    await client.end();
  }
}

function statusOf(name: string, target: TargetState | undefined, source: SourceState | undefined): StatusResult {
  const applied = target?.progress.appliedLsn;
  const held = target?.tables.some((table) => table.state === 'held') ?? false;
  return {
    name,
    phase: phaseOf(target),
    tables: target?.tables.map(tableStatus) ?? [],
    lag: lagOf(target?.progress, source),
    source: { lsn: source === undefined ? null : formatLsn(source.lsn), slot: source?.slot ?? { retainedBytes: null, status: null } },
    applied: {
      lsn: applied === undefined ? null : formatLsn(applied),
      exact: applied !== undefined && target?.isAtomic === true && !held && target.deadLetters === 0,
    },
    copy: UNKNOWN_COPY,
    restarts: countOf(target?.stats['restarts']) ?? 0,
    deadLetters: target?.deadLetters ?? 0,
    drift: null,
    plan: target?.plan === undefined ? null : { ...target.plan, changed: null },
  };
}

function phaseOf(target: TargetState | undefined): StatusResult['phase'] {
  if (target === undefined) return 'planned';
  const copied = target.progress.mode === 'consistent' ? 'following' : 'copying';
  return target.state === undefined ? copied : phaseOfState(target.state, copied);
}

/** The time is the age of the state that the target shows, by the source's clock on both ends. */
function lagOf(progress: Progress | undefined, source: SourceState | undefined): StatusResult['lag'] {
  if (progress?.appliedLsn === undefined || source === undefined) return { bytes: null, seconds: null, known: false };
  const bytes = Math.max(0, Number(source.lsn - progress.appliedLsn));
  const age = progress.commitTimeMs === undefined ? null : Math.max(0, (source.nowMs - progress.commitTimeMs) / 1000);
  return { bytes, seconds: bytes === 0 ? 0 : age, known: true };
}

function tableStatus(table: TableProgress): TableStatus {
  return {
    from: `${table.from.schema}.${table.from.name}`,
    to: `${table.to.schema}.${table.to.name}`,
    phase: table.state,
    rowsCopied: table.rowsCopied,
    rowsEstimated: Math.max(0, table.rowsEstimated ?? 0),
    changesApplied: table.changesApplied,
    ...(table.conflicts !== undefined && Object.keys(table.conflicts).length > 0 && { conflicts: table.conflicts }),
    ...(table.error !== undefined && { error: table.heldKey === undefined ? table.error : `${table.error} (key ${table.heldKey})` }),
  };
}

function countOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : null;
}
