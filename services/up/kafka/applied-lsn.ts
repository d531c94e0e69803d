/** What the target shows, asked by who does not run the sink. Guarantee: undefined before the change-over. */
import { connect } from '#connectors/postgres/session.ts';
import { readProgress } from '#connectors/target/postgres/progress.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Lsn } from '#schemas/lsn.ts';

export async function readAppliedLsn(file: MigrationFile): Promise<Lsn | undefined> {
  const client = await connect(postgresTarget(file, 'the change log on Kafka'), { applicationName: 'crossfade', role: 'target' });
  try {
    return (await readProgress(client, file.name))?.appliedLsn;
  } finally {
    await client.end();
  }
}
