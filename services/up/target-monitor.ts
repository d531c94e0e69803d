/**
 * The reconciler beside a target of a running instance. Guarantee: it only reads source and target (and writes down what it finds, in tables of ours or in the
 * data directory); nothing that it meets ends the instance; and it is silent while the target serves.
 */
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { formatLsn } from '#schemas/lsn.ts';
import type { ReconcileSettings } from '#schemas/config/migration-file.ts';
import { Monitor, type MonitorSettings } from '#services/reconciler/monitor/monitor.ts';
import { TouchedKeys } from '#services/reconciler/monitor/touched-keys.ts';
import type { Reader } from '#services/reader/reader.ts';
import { comparing } from './compared-target.ts';
import type { ServingSide } from './reverse/serving-side.ts';
import type { TargetSide } from './target-side.ts';

export interface TargetMonitor {
  readonly monitor: Pick<Monitor, 'status' | 'repairAsked'>;
  readonly learn: TouchedKeys['learn'];
  /** Until the signal. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

/** Undefined where nothing is to be compared by itself: the file says so. */
export function targetMonitor(
  { file, dataDir, logger }: Pick<RunUpOptions, 'file' | 'dataDir' | 'logger'>,
  side: TargetSide,
  { reader, raw, serving }: { readonly reader: Pick<Reader, 'status'>; readonly raw: Topic; readonly serving: ServingSide },
): TargetMonitor | undefined {
  const { reconcile } = file.settings;
  if (!reconcile.enabled) return undefined;
  const { mapping, sourceTables } = side.migration;
  const compared = comparing({ file: side.file, mapping, declared: side.declared, dataDir, serving, logger });
  if (compared === undefined) return undefined;
  const touched = new TouchedKeys(raw, mapping.tables, logger);
  for (const table of sourceTables) {
    const leaves = table.leaves.map(({ oid }) => oid);
    if (table.kind === 'p') touched.learn(table, leaves);
  }
  const monitor = new Monitor({
    tables: mapping.tables,
    ...compared,
    serves: () => (serving.isForward ? 'source' : 'target'),
    isFollowing: () => side.sink.status().connected && side.sink.applied() !== undefined,
    touched,
    sourceLsn: () => {
      const { currentLsn } = reader.status();
      return currentLsn === undefined ? null : formatLsn(currentLsn);
    },
    settings: monitorSettings(reconcile),
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
