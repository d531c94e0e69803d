/** What a file asks of a target besides its rows. Guarantee: what does not fit is told, and the rest planned. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileChecks } from '#schemas/reconcile/checks/compile-checks.ts';
import type { PlannedCheck } from '#schemas/reconcile/checks/planned-check.ts';
import { compileShadow } from '#schemas/reconcile/shadow/compile-shadow.ts';
import type { Catalog } from '#schemas/table.ts';

export interface DeclaredIn {
  /** Checks, then shadow queries, as the file has them; none of the built-in ones. */
  readonly planned: readonly PlannedCheck[];
  readonly findings: readonly Finding[];
}

export function declaredIn(
  file: MigrationFile,
  mapping: CompiledMapping,
  catalogs: { readonly source: Catalog; readonly target: Catalog },
): DeclaredIn {
  const { checks = [], shadow = [] } = file;
  if (checks.length === 0 && shadow.length === 0) return { planned: [], findings: [] };
  const compiled = compileChecks(file, mapping, catalogs);
  const { queries, findings } = compileShadow(file, mapping);
  const own = compiled.checks.filter(({ kind }) => kind !== 'orphans');
  return { planned: [...own, ...queries], findings: [...compiled.findings, ...findings] };
}
