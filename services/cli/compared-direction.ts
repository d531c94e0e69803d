/**
 * Which way a command compares, and the comparison. Guarantee: from the side that serves to the other, as the journals of both sides say before and
 * after it: one that a flip fell into is no comparison. Redis and several targets keep no journal, and are compared forward.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { type TableMapping, tableId } from '#schemas/mapping/compiled-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { type JournalRow, whoServes } from '#schemas/migration/recovery.ts';
import type { Side } from '#schemas/migration/transitions.ts';
import { type ComparedDirection, type Direction, servingDirection } from '#schemas/reconcile/serving-direction.ts';
import { turned } from '#schemas/reconcile/turned-result.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { VerifyChecks } from '#services/reconciler/checks/all-checks.ts';
import type { LogReach, RawLog } from '#services/reconciler/log-gap.ts';
import { verifyStore } from '#services/reconciler/redis/verify-store.ts';
import { verifyMigration, type VerifyOptions } from '#services/reconciler/verify.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { MappingFit } from './catalogs.ts';
import type { CommandContext } from './command.ts';
import type { MigrationInput } from './migration-input.ts';
import { selectTables } from './table-option.ts';

export interface CommandDirection extends ComparedDirection {
  readonly serves: Side;
  /** Of the migration: its own file and mapping. */
  readonly forward: Direction;
  /** Its log lies in it. */
  readonly dataDir: string;
}

/** @throws PipelineError CF-8201 when the target serves and nothing goes back; CF-2001, CF-5001 */
export async function comparedDirection(
  { file, dataDir }: Pick<MigrationInput, 'file' | 'dataDir'>,
  fit: MappingFit,
): Promise<CommandDirection> {
  const forward = { file, mapping: fit.mapping };
  const serves = await servingSide(file);
  if (serves === 'source' || fit.target === undefined) {
    return { ...servingDirection(forward, undefined, 'source')!, serves: 'source', forward, dataDir };
  }
  const { file: back, mapping, why } = deriveReverse(file, fit.mapping, { source: fit.source, target: fit.target });
  const direction = servingDirection(forward, back && mapping && { file: back, mapping }, serves);
  if (direction === undefined) {
    throw new PipelineError('CF-8201', `the target of ${file.name} serves, and the source does not follow it: ${why}`, {
      remedy: 'There is nothing to compare: what is written on the target is not on the source.',
    });
  }
  return { ...direction, serves, forward, dataDir: join(dataDir, 'reverse') };
}

/** @throws PipelineError CF-2001, CF-5001 */
export async function servingSide({ name, source, target, targets, targetName }: MigrationFile): Promise<Side> {
  if (target.postgres === undefined || targets !== undefined || targetName !== undefined) return 'source';
  // The target's first: a rollback that is found there has made its cut-over on the source long before.
  const ofTarget = await journalOf(target.postgres, name, 'target');
  return whoServes({ source: await journalOf(source.postgres, name, 'source'), target: ofTarget });
}

async function journalOf(url: string, name: string, role: Side): Promise<JournalRow[]> {
  const client = await connect(url, { applicationName: 'crossfade journal', role, settings: { statement_timeout: '10000' } });
  try {
    return await readJournalRows(client, name);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** `--table`, by a name of either side. Undefined: none was named. @throws PipelineError CF-1008, CF-8201 for one that does not go back */
export function selectCompared(
  typed: readonly string[],
  { forward, mapping, serves, left }: CommandDirection,
): ((table: TableMapping) => boolean) | undefined {
  const chosen = selectTables(typed, forward.mapping);
  if (chosen === undefined || serves === 'source') return chosen;
  const sources = new Set(forward.mapping.tables.filter(chosen).map(({ from }) => tableId(from)));
  if (mapping.tables.some(({ to }) => sources.has(tableId(to)))) return ({ to }) => sources.has(tableId(to));
  throw new PipelineError('CF-8201', `the target serves, and ${typed.join(', ')} does not go back: it cannot be compared`, {
    remedy: `Not compared while the target serves: ${left.join(', ')}.`,
  });
}

/** As the direction has them: its own `from` is where rows come from. */
export function ownTerms(result: VerifyResult, { serves }: CommandDirection): VerifyResult {
  return serves === 'target' ? turned(result) : result;
}

export interface Compare {
  readonly direction: CommandDirection;
  /** Of the direction's mapping. */
  readonly tables?: (table: TableMapping) => boolean;
  /** Absent: rows only. */
  readonly checks?: VerifyChecks;
  /** Differences of a table that are named; of a PostgreSQL target. */
  readonly samples?: number;
}

/** In the words of the migration. @throws PipelineError CF-6002 when another side serves afterwards */
export async function compareNow(context: Pick<CommandContext, 'log' | 'signal'>, compare: Compare): Promise<VerifyResult> {
  const { forward, serves, left } = compare.direction;
  const result = await compareDirection(context, compare);
  if ((await servingSide(forward.file)) !== serves)
    throw new PipelineError('CF-6002', 'who serves has changed meanwhile: nothing was proved either way');
  if (serves === 'source') return result;
  return { ...turned(result), serves, ...(compare.tables === undefined && left.length > 0 && { left }) };
}

async function compareDirection(
  context: Pick<CommandContext, 'log' | 'signal'>,
  { direction, tables, checks, samples }: Compare,
): Promise<VerifyResult> {
  const { file, targetRows, dataDir } = direction;
  const aligned = alignedBy(context, direction);
  if (file.target.redis !== undefined)
    return verifyStore({ ...aligned, address: file.target.redis, tables, log: async () => openRawLog(dataDir) });
  return verifyMigration({
    ...aligned,
    targetUrl: postgresTarget(file, 'verify'),
    targetRows,
    ...(tables !== undefined && { tables }),
    ...(checks !== undefined && { checks }),
    ...(samples !== undefined && { limits: { samples } }),
  });
}

type Aligned = Pick<VerifyOptions, 'sourceUrl' | 'mapping' | 'name' | 'slot' | 'publication' | 'logger' | 'log' | 'logReach'>;

export function alignedBy(
  { log: logger, signal }: Pick<CommandContext, 'log' | 'signal'>,
  { file, dataDir, mapping }: Pick<CommandDirection, 'file' | 'dataDir' | 'mapping'>,
): Aligned & { readonly signal: AbortSignal } {
  const { name } = file;
  const { kafka } = file.settings.log;
  return {
    sourceUrl: file.source.postgres,
    mapping,
    name,
    slot: name,
    publication: name,
    logger,
    signal,
    // Over Kafka the services bring the target forward; what only the log has is waited for, not read here.
    ...(kafka === undefined ? { log: async () => openRawLog(dataDir) } : { logReach: () => askLogReach(file, kafka, logger) }),
  };
}

async function askLogReach(file: MigrationFile, kafka: KafkaSettings, logger: Logger): Promise<LogReach | undefined> {
  const { readLogEnd } = await import('#services/up/kafka/log-end.ts');
  return readLogEnd({ file, kafka, logger });
}

/** Fails while an instance holds the directory: then the instance itself brings the target forward. */
async function openRawLog(dataDir: string): Promise<RawLog> {
  const directory = join(dataDir, 'log');
  if (!existsSync(directory)) throw new PipelineError('CF-3003', `there is no change log in ${directory}`);
  const log = await openEmbeddedLog({ directory });
  return {
    raw: await log.topic('raw', { partitions: 1 }),
    progress: await log.topic('progress', { partitions: 1 }),
    close: () => log.close(),
  };
}
