/**
 * The reconciler beside a target of a running instance. Guarantee: it only reads source and target (and writes down what it finds, in tables of ours);
 * nothing that it meets ends the instance.
 */
import { readOpenFindings, saveRound } from '#connectors/target/postgres/reconcile-record.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { pairId } from '#schemas/mapping/compiled-mapping.ts';
import type { ReconcileSettings } from '#schemas/config/migration-file.ts';
import { DEFAULT_LIMITS } from '#services/reconciler/limits.ts';
import { Monitor, type MonitorSettings } from '#services/reconciler/monitor/monitor.ts';
import { tableName, type Touched } from '#services/reconciler/monitor/monitored-tables.ts';
import { verifyMigration } from '#services/reconciler/verify.ts';
import type { Reader } from '#services/reader/reader.ts';
import type { TargetSide } from './target-side.ts';

/** The source's snapshot is open for as long as the target is waited for. */
const WAIT_MS = 10_000;

/** Undefined where nothing is to be compared by itself: the file says so, or nobody can (Redis). */
export function targetMonitor(
  { file, logger }: Pick<RunUpOptions, 'file' | 'logger'>,
  side: TargetSide,
  reader: Pick<Reader, 'status'>,
): Monitor | undefined {
  const { name, settings, source } = file;
  const url = side.file.target.postgres;
  if (!settings.reconcile.enabled || url === undefined) return undefined;
  const { mapping } = side.migration;
  return new Monitor({
    tables: mapping.tables,
    compare: async (parts, signal) => {
      const chosen = new Set(parts.map(({ what }) => what.table));
      return verifyMigration({
        sourceUrl: source.postgres,
        targetUrl: url,
        mapping,
        name,
        slot: name,
        publication: name,
        logger,
        signal,
        limits: { ...DEFAULT_LIMITS, waitMs: WAIT_MS, settleMs: WAIT_MS, attempts: 1 },
        tables: (table) => chosen.has(table),
      });
    },
    isFollowing: () => side.sink.status().connected && side.sink.applied() !== undefined,
    touched: changedTables(side),
    sourceLsn: () => {
      const { currentLsn } = reader.status();
      return currentLsn === undefined ? null : formatLsn(currentLsn);
    },
    record: {
      open: async () => readOpenFindings(url, name),
      save: async (findings, comparisons) => saveRound(url, name, { findings, comparisons }),
    },
    settings: monitorSettings(settings.reconcile),
    logger,
  });
}

function monitorSettings({ budgetPercent, startAfterSeconds, sweepHours }: ReconcileSettings): MonitorSettings {
  return { budget: budgetPercent / 100, startAfterMs: startAfterSeconds * 1000, sweepMs: sweepHours * 3_600_000 };
}

/** Tables whose count of applied changes has moved: a hint when to look, which no verdict rests on. */
function changedTables(side: TargetSide): () => ReadonlyMap<string, Touched> {
  const seen = new Map<string, number>();
  return () => {
    const touched = new Map<string, Touched>();
    for (const table of side.sink.status().tables) {
      const count = table.changesApplied + table.rowsCopied;
      const id = pairId(table);
      if (seen.has(id) && seen.get(id) !== count) touched.set(tableName(table.from), 'all');
      seen.set(id, count);
    }
    return touched;
  };
}
