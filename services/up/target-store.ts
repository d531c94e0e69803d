/** The file's target behind its port. Guarantee: an adapter is loaded only where the file names its kind. */
import { postgresStore } from '#connectors/target/postgres/store.ts';
import type { TargetStore } from '#connectors/target/target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Migration } from './read-migration.ts';

interface StoreOptions {
  readonly instance: string;
  /** As in the adapters' options. */
  readonly copied?: ReadonlySet<string>;
  readonly published?: ReadonlySet<string>;
}

export async function openStore(
  { target, settings }: MigrationFile,
  { mapping, targetTables }: Pick<Migration, 'mapping' | 'targetTables'>,
  { instance, ...log }: StoreOptions,
): Promise<TargetStore> {
  if (target.redis !== undefined) {
    const { redisStore } = await import('#connectors/target/redis/store.ts');
    return redisStore({ address: target.redis, mapping, instance, ...log });
  }
  const { synchronousCommit } = settings.sink;
  return postgresStore({ url: target.postgres, mapping, tables: targetTables, synchronousCommit, instance, ...log });
}
