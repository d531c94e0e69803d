/**
 * Nobody begins a migration anew that is over. Guarantee: where a target's state says that it was given up or cleaned up, what would run is refused; a target whose
 * schema was taken away, too, remembers nothing.
 */
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { PipelineError } from '#schemas/errors.ts';

/** CF-8504, if it is over. @throws PipelineError CF-5001 */
export async function overError(file: MigrationFile): Promise<PipelineError | undefined> {
  const rows = await Promise.all(targetFiles(file).map(async ({ target, name }) => target.postgres && readState(target.postgres, name)));
  for (const row of rows) {
    if (!row || (row.state !== 'aborted' && row.state !== 'cleaned-up')) continue;
    const what = row.state === 'aborted' ? 'was given up, and is being cleaned up' : 'was cleaned up';
    return new PipelineError('CF-8504', `migration ${row.name} ${what}: it is not begun again`, { details: { state: row.state } });
  }
  return undefined;
}
