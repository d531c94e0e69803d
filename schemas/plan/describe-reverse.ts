/** What the file declares of a table's way back, in words. Guarantee: nothing of what follows from the mapping by itself, and nothing that came out of the environment. */
import type { ResolvedTable } from '../mapping/resolve-tables.ts';
import type { CatalogTable } from '../table.ts';
import { conversionWords } from './describe-column.ts';
import type { PlanTable } from './plan-document.ts';

export function describeReverse({ entry: { reverse }, source, target }: ResolvedTable): Pick<PlanTable, 'reverse'> {
  if (reverse === undefined) return {};
  if (reverse.mode === 'none') return { reverse: 'none' };
  const made = Object.entries(reverse.set).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return {
    reverse: made.map(([column, set]) => ({
      column,
      type: typeOf(source, column),
      from: set.from.map((name) => ({ column: name, type: typeOf(target, name) })),
      conversion: conversionWords(set),
    })),
  };
}

/** A glob's entry may name columns that only some of its tables have: `check` tells. */
function typeOf(table: CatalogTable | undefined, name: string): string {
  return table?.columns.find((column) => column.name === name)?.type ?? 'no such column';
}
