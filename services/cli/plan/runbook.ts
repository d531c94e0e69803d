/** What `plan --runbook` prints is made of. Guarantee: changes nothing; nothing of it needs a migration that has begun. */
import { readApprovals } from '#connectors/target/postgres/approvals.ts';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { approvalState } from '#schemas/migration/approvals.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { actsOf } from '#schemas/report/acts.ts';
import { describeTrigger } from '#schemas/triggers/describe-trigger.ts';
import { describeBackup, lastBackup } from '#schemas/migration/backup.ts';
import type { Runbook } from '#schemas/runbook/runbook.ts';
import { whyNoReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { swapsNames } from '#schemas/mapping/renames.ts';
import { DEFAULT_FILE } from '../migration-input.ts';

/** @throws PipelineError CF-5001; CF-5010 for Redis */
export async function readRunbook(file: MigrationFile, plan: PlanDocument): Promise<Runbook> {
  const url = postgresTarget(file, 'plan --runbook');
  const [row, audit, approvals] = [await readState(url, file.name), await readAudit(url, file.name), await readApprovals(url, file.name)];
  return {
    file: file.path,
    isDefaultFile: file.path === DEFAULT_FILE,
    target: file.targetName,
    wave: file.wave?.name,
    writtenAt: new Date().toISOString(),
    plan,
    state: row?.state ?? null,
    serves: row?.serves ?? 'source',
    approvals: (file.approvals ?? []).map((required) => approvalState(required, approvals, plan.hash)),
    contacts: Object.entries(file.contacts ?? {}).map(([role, who]) => ({ role, who })),
    acts: actsOf(audit),
    ...noWayBack(file),
    isOnKafka: file.settings.log.kafka !== undefined,
    hasTests: (file.tests?.length ?? 0) > 0,
    hasChecks: (file.checks?.length ?? 0) > 0,
    hasSchemaSteps: (file.schemaSteps?.length ?? 0) > 0,
    swapsNames: swapsNames(file),
    isDualWrite: file.cutover?.strategy === 'dual-write',
    cleanupAfterMs: file.cleanup?.afterMs ?? 0,
    ...(file.observe !== undefined && { observe: file.observe }),
    ...(file.backup !== undefined && { backup: { of: file.backup.of, last: savedBefore(file.backup.of, audit) } }),
    triggers: (file.triggers ?? []).map(describeTrigger),
  };
}

function noWayBack(file: MigrationFile): Pick<Runbook, 'noWayBack'> {
  const why = whyNoReverse(file);
  return why === undefined ? {} : { noWayBack: why };
}

function savedBefore(of: 'source' | 'target', audit: Parameters<typeof lastBackup>[0]): string | null {
  const last = lastBackup(audit, of);
  return last === undefined ? null : describeBackup(of, last);
}
