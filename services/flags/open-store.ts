/** The store of a migration's flags. Guarantee: the rules' salt is as hard to guess as a key, so nobody chooses a bucket by choosing a name. */
import { randomBytes } from 'node:crypto';
import type { FlagStore } from '#connectors/flags/flags.ts';
import { FlagRecord } from '#connectors/target/postgres/flag-record.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';

export function openFlagStore(url: string, name: string): FlagStore {
  const record = new FlagRecord(url, name);
  return {
    read: async () => record.read(),
    change: async (change, { actor, reason }, ifVersion) =>
      record.change({
        change,
        actor,
        freshSalt: randomBytes(12).toString('base64url'),
        ...(reason !== undefined && { reason }),
        ...(ifVersion !== undefined && { ifVersion }),
      }),
    close: async () => record.close(),
  };
}

/** Undefined: nothing keeps them. */
export function flagsUrl(file: MigrationFile): string | undefined {
  return file.targets !== undefined && file.targets.length > 1 ? undefined : file.target.postgres;
}
