/**
 * `crossfade reconciler`: `verify` again and again while the services run, and the checks of the file. Guarantee: each comparison is one of its own; what could
 * not be compared is told as that, the last answer is kept for `repair`, and the life of each difference in the target's tables. While the target serves
 * nothing is compared: it is not what the source is any more.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { readTrail } from '#connectors/target/postgres/audit.ts';
import { readOpenFindings, saveRound } from '#connectors/target/postgres/reconcile-record.ts';
import type { RunReconcilerOptions } from '#services/cli/service-port.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { driftByCause, inconclusiveByCause } from '#schemas/reconcile/drift-cause.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { declaredChecks } from '#services/reconciler/checks/declared-checks.ts';
import type { LogReach } from '#services/reconciler/log-gap.ts';
import type { CheckRounds } from '#services/reconciler/monitor/check-rounds.ts';
import { VerifiedFindings } from '#services/reconciler/monitor/verified-findings.ts';
import { verifyMigration, type VerifyOptions } from '#services/reconciler/verify.ts';
import { driftOf, storeLastVerify } from '#services/runtime/last-verify.ts';
import { checkRoundsOf } from '../check-rounds-of.ts';
import { registerCauses } from '../instance-metrics.ts';
import { requireForward, ServingSide, sidesOf } from '../reverse/serving-side.ts';
import { readMigration, readMigrations } from '../read-migration.ts';
import { installTestHooksFrom } from '../test-hook-environment.ts';
import { readLogEnd } from './log-end.ts';
import { retried } from './retried.ts';
import { runServiceProcess } from './service-process.ts';

export async function runReconciler(options: RunReconcilerOptions): Promise<void> {
  installTestHooksFrom(options.environment);
  const { logger, intervalMs, file } = options;
  let last: VerifyResult | undefined;
  let isSilent = false;
  let checks: CheckRounds | undefined;
  const url = postgresTarget(file, 'comparing');
  const findings = new VerifiedFindings(
    {
      open: async () => readOpenFindings(url, file.name),
      trail: async () => (await readTrail(url, file.name)).records,
      save: async (changed, comparisons) => saveRound(url, file.name, { findings: changed, comparisons }),
    },
    logger,
  );
  await runServiceProcess(options, {
    readiness: () => (last === undefined && !isSilent ? { ready: false, reason: 'no comparison was made yet' } : { ready: true }),
    registerMetrics: (meter) => {
      meter.gauge({ name: 'drift_rows', help: 'Rows that the last comparison found different.' }, () => driftOf(last));
      meter.gauge({ name: 'inconclusive_tables', help: 'Tables that the last comparison could not judge.' }, () => last?.inconclusive);
      registerCauses(meter, () =>
        last === undefined
          ? undefined
          : {
              driftByCause: driftByCause(findings.open),
              inconclusiveByCause: inconclusiveByCause(last.tables.flatMap(({ inconclusive }) => inconclusive?.cause ?? [])),
            },
      );
      meter.gauge({ name: 'differing_checks', help: 'Checks and shadow queries of the file that differ.' }, () => differing(checks));
    },
    run: async (signal) => {
      const retrying = { signal, logger, what: 'source and target could not be compared' };
      await using serving = new ServingSide(sidesOf(file));
      checks = await retried(retrying, async () => roundsOf(options, serving));
      for (;;) {
        last = await retried(retrying, async () => findings.during(async () => compare(options, serving, signal)));
        if (last === undefined && !isSilent) logger.info({}, 'the target serves: nothing is compared until the source does again');
        isSilent = last === undefined;
        if (last !== undefined) tell(last, logger);
        if (!isSilent && checks?.isDue(Date.now()) === true) await checks.round(signal);
        await delay(intervalMs, undefined, { signal });
      }
    },
  });
}

function tell({ at, differences, inconclusive, tables }: VerifyResult, logger: RunReconcilerOptions['logger']): void {
  const details = { lsn: at.lsn, differences, inconclusive, tables: tables.length };
  if (differences > 0) logger.error(details, 'source and target differ: run crossfade repair');
  else if (inconclusive > 0) logger.warn(details, 'no difference was found, but something could not be compared');
  else logger.info(details, 'source and target are equal');
}

function differing(rounds: CheckRounds | undefined): number | undefined {
  if (rounds === undefined) return undefined;
  const { checks, queries } = rounds.status();
  return (checks?.differs ?? 0) + (queries?.differs ?? 0);
}

type Aligned = Pick<VerifyOptions, 'sourceUrl' | 'targetUrl' | 'name' | 'slot' | 'publication' | 'logger' | 'logReach'>;

function alignedBy({ file, kafka, logger }: RunReconcilerOptions): Aligned {
  const { name } = file;
  const urls = { sourceUrl: file.source.postgres, targetUrl: postgresTarget(file, 'comparing') };
  const logReach = (): Promise<LogReach | undefined> => readLogEnd({ file, kafka, logger });
  return { ...urls, name, slot: name, publication: name, logger, logReach };
}

/** Undefined: the target serves, or has begun to meanwhile. */
async function compare(options: RunReconcilerOptions, serving: ServingSide, signal: AbortSignal): Promise<VerifyResult | undefined> {
  if ((await serving.ask()) === 'target') return undefined;
  const { mapping } = await readMigration(options.file);
  const result = await verifyMigration({ ...alignedBy(options), mapping, signal });
  if ((await serving.ask()) === 'target') return undefined;
  await storeLastVerify(options.dataDir, { result, isWhole: true });
  return result;
}

/** Undefined: the file declares none. */
async function roundsOf(options: RunReconcilerOptions, serving: ServingSide): Promise<CheckRounds | undefined> {
  const { file, logger } = options;
  if (file.checks === undefined && file.shadow === undefined) return undefined;
  const [target] = await readMigrations(file);
  const { declared, migration } = target!;
  const aligned = alignedBy(options);
  const make = async (signal: AbortSignal): Promise<CheckVerdict[]> => {
    const verdicts = await declaredChecks({ ...aligned, mapping: migration.mapping, planned: declared.planned, signal });
    await requireForward(serving);
    return verdicts;
  };
  return checkRoundsOf({ file, declared, targetUrl: aligned.targetUrl, make, logger });
}
