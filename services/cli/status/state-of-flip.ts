/**
 * Where the cut-over stands, laid over a status. Guarantee: as the state row on the target says, whether or not an instance runs; where no row is, or
 * it cannot be read from here, the status stays as it was.
 */
import { readState } from '#connectors/target/postgres/migration-state.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { type MigrationRow, phaseOfState } from '#schemas/migration/migration-row.ts';
import type { MigrationPhase, StatusResult } from '#schemas/status/status-result.ts';

/** Of several targets the one that most has to be known of. */
const BY_WEIGHT: readonly MigrationPhase[] = ['cutting-over', 'rolling-back', 'observing'];

export async function withFlip(status: StatusResult, file: MigrationFile): Promise<StatusResult> {
  const views = targetFiles(file);
  const rows = await Promise.all(views.map(rowOf));
  const [only] = rows;
  if (status.targets === undefined) {
    return only === undefined ? status : { ...status, phase: phaseOfState(only.state, status.phase), serves: only.serves };
  }
  const targets = status.targets.map((target) => {
    const row = rows[views.findIndex(({ targetName }) => targetName === target.name)];
    return row === undefined || target.phase === null
      ? target
      : { ...target, phase: phaseOfState(row.state, target.phase), serves: row.serves };
  });
  const phases = targets.flatMap(({ phase }) => phase ?? []);
  const same = phases.every((phase) => phase === phases[0]) ? phases[0] : undefined;
  return { ...status, targets, phase: same ?? BY_WEIGHT.find((phase) => phases.includes(phase)) ?? status.phase };
}

async function rowOf({ target, name }: MigrationFile): Promise<MigrationRow | undefined> {
  return target.postgres === undefined ? undefined : readState(target.postgres, name).catch(() => undefined);
}
