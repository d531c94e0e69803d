/**
 * The reconciler beside a target of a running instance. Guarantee: it only reads source and target (and writes down what it finds, in tables of ours);
 * nothing that it meets ends the instance; and it is silent while the target serves.
 */
import { readOpenFindings, saveRound } from '#connectors/target/postgres/reconcile-record.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { formatLsn } from '#schemas/lsn.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { KeyRange } from '#schemas/reconcile/key-range.ts';
import { chooseRanges } from '#connectors/probe/postgres/choose-ranges.ts';
import { openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import type { ReconcileSettings } from '#schemas/config/migration-file.ts';
import { DEFAULT_LIMITS } from '#services/reconciler/limits.ts';
import { Monitor, type MonitorSettings } from '#services/reconciler/monitor/monitor.ts';
import type { PartOf } from '#services/reconciler/monitor/monitored-tables.ts';
import { TouchedKeys } from '#services/reconciler/monitor/touched-keys.ts';
import { verifyMigration } from '#services/reconciler/verify.ts';
import type { Reader } from '#services/reader/reader.ts';
import type { ServingSide } from './reverse/serving-side.ts';
import type { TargetSide } from './target-side.ts';

/** The source's snapshot is open for as long as the target is waited for. */
const WAIT_MS = 10_000;

export interface TargetMonitor {
  readonly monitor: Pick<Monitor, 'status' | 'repairAsked'>;
  readonly learn: TouchedKeys['learn'];
  /** Until the signal. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

/** Undefined where nothing is to be compared by itself: the file says so, or nobody can (Redis). */
export function targetMonitor(
  { file, logger }: Pick<RunUpOptions, 'file' | 'logger'>,
  side: TargetSide,
  { reader, raw, serving }: { readonly reader: Pick<Reader, 'status'>; readonly raw: Topic; readonly serving: ServingSide },
): TargetMonitor | undefined {
  const { name, settings, source } = file;
  const url = side.file.target.postgres;
  if (!settings.reconcile.enabled || url === undefined) return undefined;
  const { mapping, sourceTables } = side.migration;
  const touched = new TouchedKeys(raw, mapping.tables, logger);
  for (const table of sourceTables) {
    const leaves = table.leaves.map(({ oid }) => oid);
    if (table.kind === 'p') touched.learn(table, leaves);
  }
  const monitor = new Monitor({
    tables: mapping.tables,
    compare: async (parts, signal, onWaited) => {
      const chosen = Map.groupBy(parts, ({ what }) => what.table);
      const result = await verifyMigration({
        sourceUrl: source.postgres,
        targetUrl: url,
        mapping,
        name,
        slot: name,
        publication: name,
        logger,
        signal,
        onWaited,
        limits: { ...DEFAULT_LIMITS, waitMs: WAIT_MS, settleMs: WAIT_MS, attempts: 1 },
        tables: (table) => chosen.has(table),
        parts: (table) => rangesOf(chosen.get(table) ?? []),
      });
      // The target may have begun to serve meanwhile: then it is not what the source is.
      if ((await serving.ask()) === 'target') throw new Error('the target serves');
      return result;
    },
    serves: () => (serving.isForward ? 'source' : 'target'),
    isFollowing: () => side.sink.status().connected && side.sink.applied() !== undefined,
    cut: async (tables) => cutTables(source.postgres, tables),
    touched,
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
  return {
    monitor,
    learn: (table, leaves) => touched.learn(table, leaves),
    run: async (signal) => {
      await Promise.all([touched.run(signal), monitor.run(signal)]);
    },
  };
}

function monitorSettings({ budgetPercent, startAfterSeconds, sweepHours }: ReconcileSettings): MonitorSettings {
  return { budget: budgetPercent / 100, startAfterMs: startAfterSeconds * 1000, sweepMs: sweepHours * 3_600_000 };
}

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
