/**
 * How the monitor compares a target, and where it writes down what it finds. Guarantee: what was compared while the target began to serve is thrown
 * away; PostgreSQL targets keep the record themselves, Redis targets in the data directory.
 */
import { chooseRanges } from '#connectors/probe/postgres/choose-ranges.ts';
import { cutOffBy, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { readOpenFindings, saveRound } from '#connectors/target/postgres/reconcile-record.ts';
import type { MigrationFile, RedisAddress } from '#schemas/config/migration-file.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { KeyRange } from '#schemas/reconcile/key-range.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { declaredChecks } from '#services/reconciler/checks/declared-checks.ts';
import { DEFAULT_LIMITS, type VerifyLimits } from '#services/reconciler/limits.ts';
import type { MonitorOptions } from '#services/reconciler/monitor/monitor.ts';
import type { PartOf } from '#services/reconciler/monitor/monitored-tables.ts';
import { verifyStore } from '#services/reconciler/redis/verify-store.ts';
import { verifyMigration } from '#services/reconciler/verify.ts';
import { keepFindings, openKeptFindings } from '#services/runtime/kept-findings.ts';
import type { Logger } from '#services/runtime/service.ts';
import { checkRoundsOf } from './check-rounds-of.ts';
import type { DeclaredIn } from './declared-in.ts';
import { requireForward, type ServingSide } from './reverse/serving-side.ts';

/** The source's snapshot is open for as long as the target is waited for. */
const WAIT_MS = 10_000;
const LIMITS = { ...DEFAULT_LIMITS, waitMs: WAIT_MS, settleMs: WAIT_MS, attempts: 1 };

/** What could not be compared has another turn; a table that is written on both sides is to be looked at several times for a difference to be one. */
export function roundLimits(tables: Iterable<Pick<TableMapping, 'conflict'>>): VerifyLimits {
  const attempts = [...tables].some(({ conflict }) => conflict !== undefined) ? DEFAULT_LIMITS.attempts : LIMITS.attempts;
  return { ...LIMITS, attempts };
}

export interface Compared {
  /** Of the target. */
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  readonly declared: DeclaredIn;
  readonly dataDir: string;
  readonly serving: ServingSide;
  readonly logger: Logger;
}

export type Comparing = Pick<MonitorOptions, 'compare' | 'cut' | 'record' | 'checks'>;

export function comparing(compared: Compared): Comparing | undefined {
  const { postgres, redis } = compared.file.target;
  if (postgres !== undefined) return comparingPostgres(compared, postgres);
  return redis === undefined ? undefined : comparingRedis(compared, redis);
}

function comparingPostgres(compared: Compared, targetUrl: string): Comparing {
  const { file, mapping, declared, serving, logger } = compared;
  const { name, source } = file;
  const aligned = { sourceUrl: source.postgres, targetUrl, mapping, name, slot: name, publication: name, logger, limits: LIMITS };
  const make = async (signal: AbortSignal): Promise<CheckVerdict[]> => {
    const verdicts = await declaredChecks({ ...aligned, planned: declared.planned, signal });
    await requireForward(serving);
    return verdicts;
  };
  const checks = checkRoundsOf({ file, declared, targetUrl, make, logger });
  return {
    compare: async (parts, signal, onWaited) => {
      const chosen = Map.groupBy(parts, ({ what }) => what.table);
      const result = await verifyMigration({
        ...aligned,
        limits: roundLimits(chosen.keys()),
        signal,
        onWaited,
        tables: (table) => chosen.has(table),
        parts: (table) => rangesOf(chosen.get(table) ?? []),
      });
      await requireForward(serving);
      return result;
    },
    cut: async (tables) => cutTables(source.postgres, tables),
    record: {
      open: async () => readOpenFindings(targetUrl, name),
      save: async (findings, comparisons) => saveRound(targetUrl, name, { findings, comparisons }),
    },
    ...(checks !== undefined && { checks }),
  };
}

/** Redis is read key by key, so there are no ranges of it, and it never serves. */
function comparingRedis({ file, mapping, dataDir, logger }: Compared, address: RedisAddress): Comparing {
  const { name, source, targetName } = file;
  return {
    compare: async (parts, signal, onWaited) => {
      const chosen = new Set(parts.map(({ what }) => what.table));
      const tables = (table: TableMapping): boolean => chosen.has(table);
      const aligned = { sourceUrl: source.postgres, address, name, slot: name, publication: name, onWaited };
      return cutOffBy(signal, async () => verifyStore({ ...aligned, mapping, logger, signal, limits: LOOKS, tables }));
    },
    cut: async () => new Map(),
    record: {
      open: async () => openKeptFindings(dataDir, targetName),
      save: async (findings) => keepFindings(dataDir, findings, targetName),
    },
  };
}

const LOOKS = { waitMs: WAIT_MS, settleMs: WAIT_MS, attempts: 1 };

/** Undefined: the whole table. */
function rangesOf(parts: readonly PartOf[]): readonly KeyRange[] | undefined {
  const ranges = parts.flatMap(({ what }) => what.range ?? []);
  return ranges.length === 0 ? undefined : ranges;
}

const RANGES_MAX = 16_384;

async function cutTables(url: string, tables: readonly TableMapping[]): Promise<Map<TableMapping, readonly KeyRange[]>> {
  const client = await openSession(url, 'source');
  try {
    const cut = new Map<TableMapping, readonly KeyRange[]>();
    for (const table of tables) {
      const ranges = await chooseRanges(client, table);
      if (ranges !== undefined && ranges.length > 1 && ranges.length <= RANGES_MAX) cut.set(table, ranges);
    }
    return cut;
  } finally {
    await client.end().catch(() => undefined);
  }
}
