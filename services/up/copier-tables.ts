/** What the copier reads. Guarantee: each source table once, with all the targets that it goes to. */
import { bySource } from '#schemas/mapping/compiled-mapping.ts';
import { refersToItself } from '#schemas/mapping/self-reference.ts';
import type { CopierTable } from '#services/reader/copy/copier-options.ts';
import type { Migration } from './read-migration.ts';

/** `ordered`: foreign keys are checked while the target is written. */
export function copierTables(migration: Migration, ordered: boolean): readonly CopierTable[] {
  return copierTablesOf([{ migration, ordered }]);
}

/** Of several targets: the source is read once for all of them. */
export function copierTablesOf(targets: readonly { readonly migration: Migration; readonly ordered: boolean }[]): readonly CopierTable[] {
  const pairs = targets.flatMap(({ migration, ordered }) =>
    migration.mapping.tables.map((mapping) => ({
      from: mapping.from,
      mapping,
      catalog: migration.sourceOf(mapping),
      isWhole: ordered && refersToItself(mapping, migration.targetTables),
    })),
  );
  return Array.from(bySource(pairs).values(), (own) => ({
    mappings: own.map(({ mapping }) => mapping),
    catalog: own[0]!.catalog,
    isWhole: own.some(({ isWhole }) => isWhole),
  }));
}
