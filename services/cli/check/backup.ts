/** The backup that the file asks for, before anything is begun. Guarantee: read-only; pg_dump is asked for its version and nothing else. */
import { readAudit } from '#connectors/target/postgres/audit.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { errorFinding, infoFinding } from '#schemas/finding.ts';
import { backupGate, whyNotDumped } from '#schemas/migration/backup.ts';
import type { Catalog } from '#schemas/table.ts';
import { askDump } from '../backup/take-backup.ts';

const SOON_MS = 15_000;

/** A pg_dump that could not save that server is told before anybody needs it. */
export async function checkBackup(
  { backup }: MigrationFile,
  environment: Readonly<Record<string, string | undefined>>,
  catalogs: { readonly source: Pick<Catalog, 'serverVersion'> | undefined; readonly target: Pick<Catalog, 'serverVersion'> | undefined },
): Promise<Finding[]> {
  const server = backup && catalogs[backup.of];
  if (backup === undefined || backup.command !== undefined || server === undefined) return [];
  try {
    const why = whyNotDumped(await askDump(environment, AbortSignal.timeout(SOON_MS)), server.serverVersion);
    return why === undefined ? [] : [errorFinding('CF-8603', why)];
  } catch (error) {
    if (error instanceof PipelineError) return [errorFinding('CF-8603', error.message)];
    throw error;
  }
}

/** Whether there is one already. `crossfade up` refuses to begin without it. */
export async function backupStanding({ backup, target, name }: MigrationFile): Promise<Finding[]> {
  if (backup === undefined || target.postgres === undefined) return [];
  const { isOpen, evidence } = backupGate(backup, await readAudit(target.postgres, name));
  if (isOpen) return [infoFinding('CF-8602', evidence, 'Nothing is to be done.')];
  return [infoFinding('CF-8602', `${evidence}: crossfade up waits for it`, 'Run crossfade backup before crossfade up.')];
}

/** Before the first row is written. @throws PipelineError CF-8602 */
export async function requireBackup({ backup, target, name }: MigrationFile): Promise<void> {
  if (backup === undefined || target.postgres === undefined) return;
  const { isOpen, evidence, remedy } = backupGate(backup, await readAudit(target.postgres, name));
  if (!isOpen) throw new PipelineError('CF-8602', `nothing was begun: ${evidence}`, { remedy });
}
