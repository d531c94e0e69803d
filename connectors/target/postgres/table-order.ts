/** The order of tables by their foreign keys. Guarantee: a table comes after those it refers to, but in a cycle, where file order decides. */
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';

export interface TableRanks {
  readonly rank: (table: TableMapping) => number;
  readonly hasForeignKeys: boolean;
}

export function rankTables(mapping: CompiledMapping, catalog: readonly CatalogTable[]): TableRanks {
  const byId = new Map(catalog.map((table) => [tableId(table), table]));
  const ranks = new Map<string, number>();
  const visiting = new Set<string>();
  let hasForeignKeys = false;
  const visit = (id: string): void => {
    if (ranks.has(id) || visiting.has(id)) return;
    visiting.add(id);
    for (const key of byId.get(id)?.foreignKeys ?? []) {
      hasForeignKeys = true;
      visit(tableId({ schema: key.toSchema, name: key.toTable }));
    }
    ranks.set(id, ranks.size);
  };
  for (const table of mapping.tables) visit(tableId(table.to));
  return { rank: (table) => ranks.get(tableId(table.to)) ?? 0, hasForeignKeys };
}
