/**
 * `verify`: source and target compared at one state while writes go on. Guarantee: `differences` counts only rows that differ at the
 * LSN named (proof: align.ts), whatever lag, load or crash; a table that could not be aligned is inconclusive, never equal. A new
 * attempt is a new alignment of the tables that were voided; a verdict is never improved by comparing again, but for tables that the application
 * writes on both sides, of which no state can be named (written-ahead.ts).
 */
import { PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping, RowFilter, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { joinRanges, type KeyRange } from '#schemas/reconcile/key-range.ts';
import type { Inconclusive, InconclusiveCause, TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { cutOffBy, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { agreeOnDigest } from '#connectors/probe/postgres/platform.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { knownTypes, typesOf } from '#connectors/probe/postgres/target-state.ts';
import { tableProbe, type TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import type { Logger } from '#services/runtime/service.ts';
import { causeOf } from './inconclusive-cause.ts';
import { serverReason } from './server-reason.ts';
import { allChecks, type VerifyChecks } from './checks/all-checks.ts';
import { align, type Alignment, type AlignOptions } from './align.ts';
import { compareTable, verdictWithout } from './compare-table.ts';
import { DEFAULT_LIMITS, type VerifyLimits } from './limits.ts';
import { ScanSessions } from './scan-sessions.ts';
import type { AskLogReach, OpenRawLog } from './log-gap.ts';
import { Looks, mayBeAhead } from './written-ahead.ts';

export interface VerifyOptions {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly mapping: CompiledMapping;
  readonly name: string;
  readonly slot: string;
  readonly publication: string;
  readonly logger: Logger;
  /** Tables to compare; all when absent. */
  readonly tables?: (table: TableMapping) => boolean;
  /** Ranges of a table's key to compare, of a table that `rangeable` says has them; undefined: the whole table; none: not at all. */
  readonly parts?: (table: TableMapping) => readonly KeyRange[] | undefined;
  /** Rows of a table of the target that count; undefined: all. Of a way back: what the way there leaves out (serving-direction.ts). */
  readonly targetRows?: (table: TableMapping) => RowFilter | undefined;
  /** Opens the embedded log when no instance runs; a running one makes it reject. */
  readonly log?: OpenRawLog;
  /** Where other processes apply the log: how far it reaches. */
  readonly logReach?: AskLogReach;
  /** What is checked besides the rows; absent: nothing. */
  readonly checks?: VerifyChecks;
  readonly limits?: Partial<VerifyLimits>;
  /** Told how long the target, or transactions of the source, were waited for. */
  readonly onWaited?: (milliseconds: number) => void;
  readonly signal?: AbortSignal;
}

/** @throws PipelineError CF-2001, CF-5001 when a server cannot be reached, CF-2004 when the slot is gone. */
export async function verifyMigration(options: VerifyOptions): Promise<VerifyResult> {
  return options.signal === undefined ? verifyNow(options) : cutOffBy(options.signal, async () => verifyNow(options));
}

async function verifyNow(options: VerifyOptions): Promise<VerifyResult> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { probes, ...prepared } = await prepare(options);
  const verdicts = new Map<TableProbe, TableVerdict>();
  const looks = new Map(probes.map((probe) => [probe, new Looks()]));
  let pending: readonly TableProbe[] = probes;
  for (let attempt = 1; attempt <= limits.attempts && pending.length > 0; attempt++) {
    for (const [probe, verdict] of await attemptOnce({ ...options, limits }, prepared, pending))
      verdicts.set(probe, looks.get(probe)!.add(verdict));
    pending = probes.filter((probe) => retryable(verdicts.get(probe)?.inconclusive?.cause) || mayBeAhead(probe, verdicts.get(probe)));
    if (pending.length > 0) options.logger.info({ attempt, tables: pending.length }, 'some tables are compared again');
  }
  for (const [probe, verdict] of verdicts)
    if (mayBeAhead(probe, verdict) && looks.get(probe)!.isSingle) verdicts.set(probe, verdictWithout(probe, ONCE));
  const result = resultOf(probes.map((probe) => verdicts.get(probe)!));
  if (options.checks === undefined) return result;
  const attempt = {
    ...options,
    limits,
    log: options.log,
    logReach: options.logReach,
    signal: options.signal ?? new AbortController().signal,
  };
  const checks = await allChecks(
    { align: attempt, plan: prepared.plan, probes, logger: options.logger, retryable },
    options.checks,
    result.tables,
  );
  return { ...result, checks };
}

const ONCE: Inconclusive = {
  cause: 'changed',
  message:
    'the application writes the table on both sides, and one comparison alone said anything: what it found may be ahead of the stream',
};

/** A new alignment can help where this one met a change or a running transaction. */
export function retryable(cause: InconclusiveCause | undefined): boolean {
  return cause === 'changed' || cause === 'in-flight' || cause === 'volume';
}

export interface Prepared {
  readonly probes: readonly TableProbe[];
  readonly plan: DigestPlan;
  readonly ranges: ReadonlyMap<TableProbe, readonly KeyRange[]>;
}

/** What the scans need to know of the tables chosen. @throws PipelineError CF-2001, CF-5001 when a server cannot be reached. */
export async function prepare(
  options: Pick<VerifyOptions, 'sourceUrl' | 'targetUrl' | 'mapping' | 'tables' | 'parts' | 'targetRows'>,
): Promise<Prepared> {
  const source = await openSession(options.sourceUrl, 'source');
  try {
    const target = await openSession(options.targetUrl, 'target');
    try {
      const chosen = options.mapping.tables.filter((table) => options.tables?.(table) ?? true);
      const parts = new Map(chosen.map((table) => [table, options.parts?.(table)]));
      const tables = chosen.filter((table) => parts.get(table)?.length !== 0);
      const types = [...new Set(tables.flatMap(typesOf))];
      const known = await knownTypes(source, types);
      const plan = await agreeOnDigest(source, target);
      const probes = tables.map((table) => tableProbe(table, (type) => known.has(type), options.targetRows?.(table)));
      const ranges = new Map(
        probes.flatMap((probe) => {
          const asked = parts.get(probe.mapping);
          return asked === undefined ? [] : [[probe, joinRanges(probe.mapping, asked)] as const];
        }),
      );
      return { probes, plan, ranges };
    } finally {
      await target.end().catch(() => undefined);
    }
  } finally {
    await source.end().catch(() => undefined);
  }
}

type Attempt = AlignOptions & { readonly logger: Logger };

async function attemptOnce(
  options: VerifyOptions & { readonly limits: VerifyLimits },
  prepared: Omit<Prepared, 'probes'>,
  probes: readonly TableProbe[],
): Promise<Map<TableProbe, TableVerdict>> {
  const signal = options.signal ?? new AbortController().signal;
  const attempt: Attempt = { ...options, log: options.log, logReach: options.logReach, signal };
  const all = (reason: Inconclusive): Map<TableProbe, TableVerdict> =>
    new Map(probes.map((probe) => [probe, verdictWithout(probe, reason)]));
  let alignment: Alignment;
  try {
    alignment = await align(attempt, probes);
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'CF-6002') return all({ cause: causeOf(error), message: error.message });
    const reason = serverReason(error);
    if (!reason) throw error;
    options.logger.warn({ reason: reason.message }, 'source and target could not be aligned');
    return all(reason);
  }
  await using held = alignment;
  const verdicts = await compareAll(attempt, held, prepared);
  const unsettled = await held.unsettled();
  for (const { probe, source } of held.tables) {
    const why = [source.oid, ...source.leaves].map((oid) => unsettled.get(oid)).find((one) => one !== undefined);
    if (why !== undefined) verdicts.set(probe, verdictWithout(probe, { cause: 'in-flight', message: why }));
  }
  for (const [probe, reason] of held.refused) verdicts.set(probe, verdictWithout(probe, reason));
  // Sessions that were cut off with it look like a server that went away.
  signal.throwIfAborted();
  return verdicts;
}

async function compareAll(
  options: Attempt,
  alignment: Alignment,
  prepared: Omit<Prepared, 'probes'>,
): Promise<Map<TableProbe, TableVerdict>> {
  const verdicts = new Map<TableProbe, TableVerdict>();
  // The largest first: the last one to start should not be the longest.
  const queue = alignment.tables.toSorted((one, other) => other.source.pages - one.source.pages);
  const worker = async (): Promise<void> => {
    await using sessions = new ScanSessions(alignment);
    for (let table = queue.shift(); table; table = queue.shift()) {
      options.signal.throwIfAborted();
      verdicts.set(table.probe, await compareOrExplain(options, { ...prepared, alignment, sessions, limits: options.limits }, table));
    }
  };
  await Promise.all(Array.from({ length: options.limits.parallel }, worker));
  return verdicts;
}

async function compareOrExplain(
  options: Attempt,
  compare: Parameters<typeof compareTable>[1],
  table: Alignment['tables'][number],
): Promise<TableVerdict> {
  try {
    return await compareTable(table, compare);
  } catch (error) {
    const reason = serverReason(error);
    if (!reason) throw error;
    const { from } = table.probe.mapping;
    options.logger.warn({ table: `${from.schema}.${from.name}`, reason: reason.message }, 'the table could not be compared');
    return verdictWithout(table.probe, reason);
  }
}

function resultOf(tables: readonly TableVerdict[]): VerifyResult {
  const lsns = tables.flatMap((table) => (table.lsn === null ? [] : [table.lsn]));
  return {
    at: { lsn: lsns[0] ?? null },
    tables,
    differences: tables.reduce((sum, table) => sum + table.missing + table.extra + table.different, 0),
    inconclusive: tables.filter((table) => table.inconclusive !== undefined).length,
  };
}
