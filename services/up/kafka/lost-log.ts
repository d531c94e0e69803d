/**
 * Whether a log that holds nothing yet may be begun. Guarantee: where the target has applied anything of this migration, it is not: its
 * offsets are those of a log that is lost, and records of the new one would be taken for applied.
 */
import { connect } from '#connectors/postgres/session.ts';
import { readProgress, readTableProgress } from '#connectors/target/postgres/progress.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';

/** To be called before anything is written. @throws PipelineError CF-5006, and what the target answers. */
export async function refuseLostLog(file: MigrationFile): Promise<void> {
  const { name } = file;
  const client = await connect(postgresTarget(file, 'the change log on Kafka'), { applicationName: 'crossfade', role: 'target' });
  try {
    const progress = await readProgress(client, name);
    if (progress === undefined) return;
    const tables = await readTableProgress(client, name);
    const applied = Math.max(progress.logOffset ?? 0, ...tables.map(({ logOffset }) => logOffset));
    if (applied === 0) return;
    throw new PipelineError('CF-5006', `the target has applied the log up to record ${applied}, but its topics are gone`, {
      remedy:
        'Give the brokers that hold the topics of this migration. If they are lost: drop the slot and schema crossfade, empty the target tables, and start anew.',
    });
  } finally {
    await client.end();
  }
}
