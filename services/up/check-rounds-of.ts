/** Rounds of a file's checks, whoever makes them. Guarantee: what does not fit is named once and left out; verdicts are written down on the target. */
import { saveChecks } from '#connectors/target/postgres/reconcile-record.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { CheckRounds, type CheckRoundsOptions } from '#services/reconciler/monitor/check-rounds.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { DeclaredIn } from './declared-in.ts';

export interface RoundsOf {
  readonly file: MigrationFile;
  readonly declared: DeclaredIn;
  readonly targetUrl: string;
  /** Verdicts of all that is planned, in its order. */
  readonly make: CheckRoundsOptions['make'];
  readonly logger: Logger;
}

/** Undefined: the file declares none. */
export function checkRoundsOf({ file, declared, targetUrl, make, logger }: RoundsOf): CheckRounds | undefined {
  const { planned, findings } = declared;
  for (const { message } of findings) logger.warn({ reason: message }, 'a check of the file is not made: crossfade check');
  if (planned.length === 0) return undefined;
  const { checkMinutes, budgetPercent } = file.settings.reconcile;
  return new CheckRounds({
    checks: planned.flatMap((one) => (one.kind === 'shadow' ? [] : [one.name])),
    queries: planned.flatMap((one) => (one.kind === 'shadow' ? [one.name] : [])),
    make,
    record: async (verdicts, seconds) => saveChecks(targetUrl, file.name, verdicts, seconds),
    everyMs: checkMinutes * 60_000,
    budget: budgetPercent / 100,
    logger,
  });
}
