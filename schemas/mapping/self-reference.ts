/** Tables whose rows refer to rows of the same table, as the target's foreign keys say. */
import type { CatalogTable } from '../table.ts';
import { tableId, type TableMapping } from './compiled-mapping.ts';

/** True when a foreign key of the mapping's target table points at that table itself. */
export function refersToItself({ to }: TableMapping, targets: readonly CatalogTable[]): boolean {
  const target = targets.find((table) => tableId(table) === tableId(to));
  return target?.foreignKeys.some((key) => key.toSchema === to.schema && key.toTable === to.name) ?? false;
}
