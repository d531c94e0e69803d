/** The triggers of a running instance, on the target's own state, audit trail and findings. Guarantee: a session for each look, none held in between. */
import { setTimeout as delay } from 'node:timers/promises';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { noteAudit, readState } from '#connectors/target/postgres/migration-state.ts';
import { readOpenFindings } from '#connectors/target/postgres/reconcile-record.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { lastProof } from '#schemas/migration/last-proof.ts';
import { situationOf } from '#schemas/triggers/situation.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { ReportedMinute } from '#services/triggers/feeds.ts';
import { type TriggerPorts, TriggerWatch } from '#services/triggers/trigger-watch.ts';

export interface TriggersOptions {
  readonly file: MigrationFile;
  /** Who writes the records of the audit trail. */
  readonly actor: string;
  readonly logger: Logger;
  /** What applications have reported; empty where nobody reports to this process. */
  reports(): readonly ReportedMinute[] | Promise<readonly ReportedMinute[]>;
  /** Begins a rollback, or finds it begun. */
  startRollback(reason: string): Promise<void>;
}

export function triggerPorts({ file, actor, reports, startRollback }: Omit<TriggersOptions, 'logger'>): TriggerPorts {
  const { name } = file;
  const url = postgresTarget(file, 'triggers');
  return {
    nowMs: () => Date.now(),
    delay: async (ms, signal) => delay(ms, undefined, { signal }),
    situation: async () => situationOf(await readState(url, name), await readAudit(url, name), await aheadMs(url)),
    note: async (event, details) => noteAudit(url, name, { actor, event, details }),
    reports,
    startRollback,
    differingRows: async () => {
      const open = (await readOpenFindings(url, name)).filter(({ state }) => state !== 'suspected');
      // While the target serves, the running comparison is silent, and the whole one of `observe:` tells.
      const found = lastProof(await readAudit(url, name))?.differences ?? 0;
      return open.reduce((sum, { rows }) => sum + rows, 0) + found;
    },
    targetAnswers: async () => {
      const client = await connect(url, { applicationName: 'crossfade triggers', role: 'target', connectTimeoutMs: 5_000 });
      await client.end().catch(() => undefined);
      return true;
    },
    fetch,
  };
}

/** Of the target's clock before ours: minutes of reports are dated by ours, and by the other one those before the flip would count as behind it, or none would. */
async function aheadMs(url: string): Promise<number> {
  const client = await connect(url, { applicationName: 'crossfade triggers', role: 'target' });
  try {
    const began = Date.now();
    const row = await queryRow(client, 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::text AS now');
    return Number(row!['now']) - (began + Date.now()) / 2;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Undefined: the file has none, or its target keeps no state. Several targets have none: no one of them serves. */
export function openTriggers(
  options: Omit<TriggersOptions, 'startRollback'> & Partial<Pick<TriggersOptions, 'startRollback'>>,
): TriggerWatch | undefined {
  const { file, logger } = options;
  if (file.triggers === undefined || file.target.postgres === undefined || file.targets !== undefined) return undefined;
  const ask = async (reason: string): Promise<void> =>
    Promise.resolve(logger.error({ reason }, 'A rollback is due: run crossfade rollback'));
  return new TriggerWatch(file.triggers, triggerPorts({ startRollback: ask, ...options }), logger);
}
