/**
 * The preflight of `check` and `up`. Guarantee: read-only, all findings at once (a server that cannot be reached does not hide what the
 * other one lacks), and the same answer for the same file and servers.
 */
import type pg from 'pg';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { readSourceFacts, type SourceCheckInput, type SourceFacts } from '#connectors/source/postgres/preflight/source-check.ts';
import { SOURCE_CHECKS } from '#connectors/source/postgres/preflight/source-checks.ts';
import {
  readTargetFacts,
  type TargetCheckInput,
  type TargetFacts,
  type TargetTable,
} from '#connectors/target/postgres/preflight/target-check.ts';
import { TARGET_CHECKS } from '#connectors/target/postgres/preflight/target-checks.ts';
import type { RedisReport } from '#connectors/target/redis/preflight.ts';
import { readProgress, readTableProgress } from '#connectors/target/postgres/progress.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { errorOf, findingOf, toPipelineError } from '#schemas/envelope.ts';
import { catalogue } from '#schemas/error-catalogue.ts';
import { type ErrorCode, type Finding, messageOf, type PipelineError } from '#schemas/errors.ts';
import { bySeverity, errorFinding } from '#schemas/finding.ts';
import { ZERO_LSN } from '#schemas/lsn.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { pairId, type CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { inputLosses } from '#schemas/mapping/input-losses.ts';
import { type ResolvedTable, resolveTables } from '#schemas/mapping/resolve-tables.ts';
import { compileShadow } from '#schemas/reconcile/shadow/compile-shadow.ts';
import { compileChecks } from '#schemas/reconcile/checks/compile-checks.ts';
import { ownOrNobodysSql } from '#schemas/mapping/share.ts';
import type { Catalog } from '#schemas/table.ts';
import { type KeptTarget, readKeptTarget } from '#services/runtime/kept-target.ts';
import { checkBackup } from './backup.ts';
import { checkDataDirectory } from './data-directory.ts';
import { checkKafka } from './kafka.ts';
import { checkSchemaHistory, checkSchemaSteps, type Role } from './schema-history.ts';
import { estimateVolume, type Volume } from './volume.ts';
import { whileTargetServes } from './while-target-serves.ts';

export interface PreflightReport {
  /** Errors first. */
  readonly findings: readonly Finding[];
  /** What decides the exit code when some finding is an error: the one with the smallest. */
  readonly error?: PipelineError;
  readonly mapping?: CompiledMapping;
  readonly source?: Catalog;
  readonly target?: Catalog;
  readonly resolved: readonly ResolvedTable[];
  /** One by one; `target` and `mapping` above are the first one's. */
  readonly targets: readonly {
    readonly file: MigrationFile;
    readonly resolved: readonly ResolvedTable[];
    readonly catalog: Catalog | undefined;
  }[];
  /** The target holds rows of this migration, or a position in its stream. */
  readonly resumed: boolean;
  readonly volume?: Volume;
  /** Names of the checks done, by side. */
  readonly checks: readonly string[];
}

interface Side<Facts> {
  readonly client: pg.Client;
  readonly facts: Facts;
  readonly catalog: Catalog;
}

/** Sessions beyond those of the chunks: the stream, watermarks, health, one to spare. */
const EXTRA_SESSIONS = 4;

type Environment = Readonly<Record<string, string | undefined>>;

/** `dataDir`: absent where no instance is to run here. `environment`: of programs that it asks. */
export async function runPreflight(
  file: MigrationFile,
  dataDir?: string,
  environment: Environment = process.env,
): Promise<PreflightReport> {
  await using stack = new AsyncDisposableStack();
  const views = targetFiles(file);
  // In this order whichever server answered first: the same servers give the same report.
  const [source, ...opened] = await Promise.all([
    openSide(stack, 'source', { url: file.source.postgres, facts: readSourceFacts }),
    ...views.map(async ({ target: { postgres: url } }) =>
      url === undefined ? {} : openSide(stack, 'target', { url, facts: readTargetFacts }),
    ),
  ]);
  const targets: Looked[] = [];
  for (const [i, view] of views.entries()) {
    const kept = dataDir === undefined || view.targetName === undefined ? undefined : readKeptTarget(dataDir, view.targetName);
    targets.push(await lookAt(view, source.side, { ...opened[i]!, ...(kept !== undefined && { kept }) }));
  }
  const isSomeThere = targets.some(({ unreachable }) => unreachable === undefined);
  const resolved = targets.flatMap(({ fit }) => fit.resolved);
  const resumed = targets.some((target) => target.resumed);
  const checks: string[] = [];
  const found = [source.unreachable, ...targets.map((target) => awayFinding(target, isSomeThere))].filter((one) => one !== undefined);
  if (source.side !== undefined) {
    const ofSource = await runSourceChecks({ file, side: source.side, resolved, resumed }, checks);
    found.push(...(await whileTargetServes(file, targets[0]?.side?.client, ofSource)));
  }
  for (const target of targets) found.push(...(await runOwnChecks(target, source.side?.catalog, checks)));
  if (source.side !== undefined) found.push(...(await runSchemaChecks(file, 'source', source.side.client, checks)));
  for (const { file: view, side } of targets)
    if (side !== undefined) found.push(...toldOf(view, await runSchemaChecks(view, 'target', side.client, checks)));
  for (const { file: view, redis } of targets) {
    found.push(...toldOf(view, redis?.findings ?? []));
    checks.push(...(redis?.checks ?? []));
  }
  found.push(...(await runLogChecks(file, dataDir, { targets, source: source.side?.catalog })));
  if (file.backup !== undefined && !resumed) {
    found.push(...(await checkBackup(file, environment, { source: source.side?.catalog, target: targets[0]?.side?.catalog })));
    checks.push('backup');
  }
  const findings = bySeverity(withoutRepeats([...targets.flatMap(({ fit }) => fit.findings), ...found]));
  const error = decidingError(findings);
  const [{ fit, side }] = targets as [Looked];
  return {
    findings,
    resolved,
    targets: targets.map((target) => ({ file: target.file, resolved: target.fit.resolved, catalog: target.side?.catalog })),
    resumed,
    checks,
    ...(error !== undefined && { error }),
    ...(fit.mapping !== undefined && { mapping: fit.mapping }),
    ...(source.side !== undefined && { source: source.side.catalog }),
    ...(side !== undefined && { target: side.catalog }),
    // A table is read once, wherever its columns go.
    ...(resolved.length > 0 && { volume: estimateVolume([...new Set(resolved.map((one) => one.source))], file.settings.copy) }),
  };
}

interface Opened<Facts> {
  readonly side?: Side<Facts>;
  readonly unreachable?: Finding;
}

async function openSide<Facts>(
  stack: AsyncDisposableStack,
  role: Role,
  { url, facts }: { readonly url: string; readonly facts: (client: pg.Client) => Promise<Facts> },
): Promise<Opened<Facts>> {
  try {
    const client = await connect(url, { applicationName: 'crossfade check', role });
    stack.defer(() => client.end());
    return { side: { client, facts: await facts(client), catalog: await readCatalog(client) } };
  } catch (error) {
    return { unreachable: findingOf(toPipelineError(error)) };
  }
}

/** One target, and how it fits the source. */
interface Looked extends Opened<TargetFacts> {
  readonly file: MigrationFile;
  readonly fit: Fit;
  readonly redis: RedisReport | undefined;
  readonly resumed: boolean;
  readonly kept?: KeptTarget;
}

/** Others go on while one that was taken over before is away. */
function awayFinding({ unreachable, kept }: Looked, isSomeThere: boolean): Finding | undefined {
  if (unreachable === undefined || kept === undefined || !isSomeThere || unreachable.code !== 'CF-5001') return unreachable;
  return { ...unreachable, severity: 'warning', message: `${unreachable.message}; what it lacks waits in the log` };
}

async function lookAt(
  file: MigrationFile,
  source: Side<SourceFacts> | undefined,
  { side, unreachable, kept }: Opened<TargetFacts> & { readonly kept?: KeptTarget },
): Promise<Looked> {
  const fit = fitOf(file, source?.catalog, side?.catalog ?? kept?.catalog);
  let away = unreachable;
  const redis = await checkRedisTarget(file, fit.mapping).catch((error: unknown) => {
    away = findingOf(toPipelineError(error));
    return undefined;
  });
  const resumed =
    away !== undefined && kept !== undefined
      ? true
      : (redis?.resumed ?? (side !== undefined && (await hasProgress(side.client, file.name))));
  return {
    file,
    fit,
    redis,
    resumed,
    ...(kept !== undefined && { kept }),
    ...(side !== undefined && { side }),
    ...(away !== undefined && { unreachable: toldOf(file, [away])[0]! }),
  };
}

/** Of several targets: whose finding it is. */
function toldOf({ targetName }: MigrationFile, findings: readonly Finding[]): readonly Finding[] {
  return targetName === undefined ? findings : findings.map((finding) => ({ ...finding, message: `${targetName}: ${finding.message}` }));
}

async function runOwnChecks(
  { file, side, fit, resumed }: Looked,
  source: Catalog | undefined,
  checks: string[],
): Promise<readonly Finding[]> {
  if (side === undefined) return [];
  const done: string[] = [];
  const findings = await runTargetChecks({ file, side, ...fit, resumed }, source, done);
  checks.push(...done.filter((check) => !checks.includes(check)));
  return toldOf(file, findings);
}

async function runLogChecks(
  file: MigrationFile,
  dataDir: string | undefined,
  { targets, source }: { readonly targets: readonly Looked[]; readonly source: Catalog | undefined },
): Promise<Finding[]> {
  const { kafka } = file.settings.log;
  const [{ fit }] = targets as [Looked];
  const found = kafka?.input === undefined || fit.mapping === undefined ? [] : [...inputLosses(fit.mapping, source?.tables ?? [])];
  if (dataDir !== undefined && kafka === undefined) found.push(...(await checkDataDirectory(dataDir, file)));
  // A service of its own waits for Kafka; `check` and `up` tell at once.
  if (dataDir !== undefined && kafka !== undefined) found.push(...(await checkKafka(file, kafka, fit.resolved)));
  return found;
}

async function checkRedisTarget({ target, name }: MigrationFile, mapping: CompiledMapping | undefined): Promise<RedisReport | undefined> {
  if (target.redis === undefined) return undefined;
  const { checkRedis } = await import('#connectors/target/redis/preflight.ts');
  return checkRedis(target.redis, name, mapping);
}

interface Fit {
  readonly resolved: readonly ResolvedTable[];
  readonly findings: readonly Finding[];
  readonly mapping?: CompiledMapping;
}

/** Without both catalogues nothing can be said of how they fit. */
function fitOf(file: MigrationFile, source: Catalog | undefined, target: Catalog | undefined): Fit {
  if (file.target.redis !== undefined && source !== undefined) return compileRedisMapping(file, source);
  if (source === undefined || target === undefined) return { resolved: [], findings: [] };
  const { mapping, findings } = compileMapping(file, source, target);
  // What compileMapping reports of the resolution stands in its own findings.
  const resolved = resolveTables(file, source, target, new FindingList(file.path));
  const unfit =
    mapping === undefined ? [] : [...compileChecks(file, mapping, { source, target }).findings, ...compileShadow(file, mapping).findings];
  return { resolved, findings: [...findings, ...unfit], ...(mapping !== undefined && { mapping }) };
}

interface Checked<Facts> {
  readonly file: MigrationFile;
  readonly side: Side<Facts>;
  readonly resolved: readonly ResolvedTable[];
  readonly resumed: boolean;
}

async function runSourceChecks({ file, side, resolved, resumed }: Checked<SourceFacts>, done: string[]): Promise<Finding[]> {
  const { settings } = file;
  const input: SourceCheckInput = {
    client: side.client,
    url: file.source.postgres,
    facts: side.facts,
    catalog: side.catalog,
    tables: [...new Set(resolved.map((one) => one.source))],
    untargeted: resolved.filter((one) => one.target === undefined).map((one) => one.source),
    name: file.name,
    resumed,
    settings: {
      createSlot: settings.slot.create,
      failoverSlot: settings.slot.failover,
      createPublication: settings.publication.create,
      sessions: settings.copy.parallel + EXTRA_SESSIONS,
    },
  };
  const findings: Finding[] = [];
  const isForeign = settings.log.kafka?.input !== undefined;
  for (const check of SOURCE_CHECKS) {
    if (isForeign && check.isOfStream === true) continue;
    findings.push(...(await attempt(`source: ${check.name}`, 'CF-2002', () => check.run(input))));
    done.push(`source: ${check.name}`);
  }
  return findings;
}

async function runTargetChecks(
  { file, side, resolved, resumed, mapping }: Checked<TargetFacts> & Pick<Fit, 'mapping'>,
  source: Catalog | undefined,
  done: string[],
): Promise<Finding[]> {
  const mapped = new Map(mapping?.tables.map((table) => [pairId(table), table]));
  const input: TargetCheckInput = {
    client: side.client,
    facts: side.facts,
    sourceCatalog: source,
    tables: resolved.flatMap((one): TargetTable[] => {
      if (one.target === undefined) return [];
      const pair = { from: one.source, to: one.to };
      const compiled = mapped.get(pairId(pair));
      return [
        {
          table: one.target,
          pair,
          own: compiled && ownOrNobodysSql(compiled),
          isMerged: compiled?.merge !== undefined,
          existing: one.entry.existing,
          ...(one.entry.key !== undefined && { surrogate: one.entry.key.surrogate }),
          rowsExpected: one.source.rowEstimate,
          place: { path: file.path, line: one.entry.line, column: one.entry.column },
        },
      ];
    }),
    chunkRows: file.settings.copy.chunkRows,
    sessions: file.settings.sink.parallel + EXTRA_SESSIONS,
    known: resumed ? await readTableProgress(side.client, file.name) : [],
  };
  const findings: Finding[] = [];
  for (const check of TARGET_CHECKS) {
    findings.push(...(await attempt(`target: ${check.name}`, 'CF-5008', () => check.run(input))));
    done.push(`target: ${check.name}`);
  }
  return findings;
}

// oxlint-disable-next-line max-params -- as the other checks
async function runSchemaChecks(file: MigrationFile, role: Role, client: pg.Client, done: string[]): Promise<Finding[]> {
  const findings = [...(await attempt(`${role}: schema migrations`, 'CF-7008', () => checkSchemaHistory(client, role, file)))];
  done.push(`${role}: schema migrations`);
  if (role === 'target' && file.schemaSteps !== undefined) {
    findings.push(...(await attempt('target: schema steps', 'CF-7008', () => checkSchemaSteps(client, file))));
    done.push('target: schema steps');
  }
  return findings;
}

/** A check that cannot be made (a view that a managed service hides) is told, and does not stop the others. */
async function attempt(name: string, code: ErrorCode, run: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await run();
  } catch (error) {
    return [
      errorFinding(
        code,
        `the check "${name}" could not be made: ${messageOf(error)}`,
        'Mend the cause named, or report it as a fault of crossfade.',
      ),
    ];
  }
}

async function hasProgress(client: pg.Client, name: string): Promise<boolean> {
  try {
    const progress = await readProgress(client, name);
    if (progress === undefined || progress.appliedLsn !== undefined) return progress !== undefined;
    // A first start that ended before its slot was made, or a sink that waits for its reader, leaves rows that speak of nothing yet.
    return (await readTableProgress(client, name)).some((table) => (table.lsn ?? ZERO_LSN) > ZERO_LSN);
  } catch (error) {
    // Schema crossfade belongs to somebody else: its own check says so.
    if ((error as { code?: string }).code === '42501') return false;
    throw error;
  }
}

function withoutRepeats(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter((finding) => {
    const id = `${finding.code} ${finding.message}`;
    return !seen.has(id) && seen.add(id);
  });
}

/** The file's faults (2) before the environment's (3): they are mended first. */
export function decidingError(findings: readonly Finding[]): PipelineError | undefined {
  const errors = findings.filter((finding) => finding.severity === 'error');
  const first = errors.toSorted((a, b) => catalogue[a.code].exit - catalogue[b.code].exit)[0];
  return first === undefined ? undefined : errorOf(first);
}
