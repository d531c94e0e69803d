/** What the copier reads. Guarantee: each source table once, with all the targets that it goes to. */
import { bySource } from '#schemas/mapping/compiled-mapping.ts';
import { refersToItself } from '#schemas/mapping/self-reference.ts';
import type { CopierTable } from '#services/reader/copy/copier-options.ts';
import type { Migration } from './read-migration.ts';

/** `ordered`: foreign keys are checked while the target is written. */
export function copierTables(migration: Migration, ordered: boolean): readonly CopierTable[] {
  return Array.from(bySource(migration.mapping.tables).values(), (mappings) => ({
    mappings,
    catalog: migration.sourceOf(mappings[0]!),
    isWhole: ordered && mappings.some((one) => refersToItself(one, migration.targetTables)),
  }));
}
