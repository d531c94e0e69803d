/**
 * Whether a re-copy can be made, where it is asked for. Guarantee: a request that the source says cannot be met is refused to whoever asks;
 * while the source or the target cannot be asked nothing is refused, because the reader looks again.
 */
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { copyKeyOf } from '#services/reader/copy/copy-table.ts';
import { checkRecopy } from '#services/reader/copy/recopy-check.ts';
import { readMigration } from '../read-migration.ts';

/** @throws PipelineError CF-1008, CF-1009 */
export async function checkRecopyHere(file: MigrationFile, request: RecopyRequest): Promise<void> {
  const migration = await readMigration(file).catch(() => undefined);
  if (migration === undefined) return;
  const { schema, table: name } = request;
  const table = migration.sourceTables.find((candidate) => tableId(candidate) === tableId({ schema, name }));
  if (table === undefined) throw new PipelineError('CF-1008', `table ${schema}.${name} is not part of this migration`);
  const source = createCopySource({ url: file.source.postgres, applicationName: `crossfade ${file.name} control` });
  try {
    await checkRecopy(source, { schema, name, key: copyKeyOf(table) }, request);
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'CF-1009') throw error;
  } finally {
    await source.close();
  }
}
