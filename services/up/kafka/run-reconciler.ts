/**
 * `crossfade reconciler`: `verify` again and again while the services run. Guarantee: each comparison is one of its own; what could not be
 * compared is told as that, and the last answer is kept for `repair`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunReconcilerOptions } from '#services/cli/service-port.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { LogReach } from '#services/reconciler/log-gap.ts';
import { verifyMigration } from '#services/reconciler/verify.ts';
import { driftOf, storeLastVerify } from '#services/runtime/last-verify.ts';
import { readMigration } from '../read-migration.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import { readLogEnd } from './log-end.ts';
import { retried } from './retried.ts';
import { runServiceProcess } from './service-process.ts';

export async function runReconciler(options: RunReconcilerOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  const { logger, intervalMs } = options;
  let last: VerifyResult | undefined;
  await runServiceProcess(options, {
    readiness: () => (last === undefined ? { ready: false, reason: 'no comparison was made yet' } : { ready: true }),
    registerMetrics: (meter) => {
      meter.gauge({ name: 'drift_rows', help: 'Rows that the last comparison found different.' }, () => driftOf(last));
      meter.gauge({ name: 'inconclusive_tables', help: 'Tables that the last comparison could not judge.' }, () => last?.inconclusive);
    },
    run: async (signal) => {
      for (;;) {
        last = await retried({ signal, logger, what: 'source and target could not be compared' }, () => compare(options, signal));
        const { differences, inconclusive } = last;
        const details = { lsn: last.at.lsn, differences, inconclusive, tables: last.tables.length };
        if (differences > 0) logger.error(details, 'source and target differ: run crossfade repair');
        else if (inconclusive > 0) logger.warn(details, 'no difference was found, but something could not be compared');
        else logger.info(details, 'source and target are equal');
        await delay(intervalMs, undefined, { signal });
      }
    },
  });
}

async function compare({ file, kafka, dataDir, logger }: RunReconcilerOptions, signal: AbortSignal): Promise<VerifyResult> {
  const { mapping } = await readMigration(file);
  const { name } = file;
  const urls = { sourceUrl: file.source.postgres, targetUrl: postgresTarget(file, 'comparing') };
  const logReach = (): Promise<LogReach | undefined> => readLogEnd({ file, kafka, logger });
  const result = await verifyMigration({ ...urls, mapping, name, slot: name, publication: name, logger, signal, logReach });
  await storeLastVerify(dataDir, result);
  return result;
}
