/** A catalogue with the names that a rename swap gave to tables of a migration. Guarantee: both are of one moment. */
import type pg from 'pg';
import { readRenames } from '#connectors/postgres/renames.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Renames } from '#schemas/mapping/compiled-mapping.ts';
import { sameRenames, swapsNames } from '#schemas/mapping/renames.ts';
import type { Catalog } from '#schemas/table.ts';
import { readCatalog } from './postgres.ts';

export interface NamedCatalog {
  /** As the server has it. */
  readonly catalog: Catalog;
  readonly renames: Renames;
}

/** @param file of the migration, or of its reverse direction */
export async function readNamedCatalog(client: pg.ClientBase, file: Pick<MigrationFile, 'name' | 'cutover'>): Promise<NamedCatalog> {
  if (!swapsNames(file)) return { catalog: await readCatalog(client), renames: [] };
  for (;;) {
    const before = await readRenames(client, file.name);
    const catalog = await readCatalog(client);
    const renames = await readRenames(client, file.name);
    if (sameRenames(before, renames)) return { catalog, renames };
  }
}
