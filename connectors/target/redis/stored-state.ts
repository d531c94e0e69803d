/** What Redis says of a migration, for a process that does not hold it. Guarantee: only reads. */
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { connectRedis } from './connection.ts';
import { ownKeys } from './names.ts';
import { readStoredProgress, type StoredProgress } from './progress.ts';

/** Undefined when the migration has never run against this server. */
export async function readStoredState(address: RedisAddress, name: string): Promise<StoredProgress | undefined> {
  const client = await connectRedis(address, `crossfade ${name} status`);
  try {
    return await readStoredProgress(client, name, ownKeys(name));
  } finally {
    client.disconnect();
  }
}
