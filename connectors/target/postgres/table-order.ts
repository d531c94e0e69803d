/** The order of tables by their foreign keys. Guarantee: a table comes after those it refers to, but in a cycle, where file order decides. */
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';

export interface TableRanks {
  readonly rank: (table: TableMapping) => number;
  readonly hasForeignKeys: boolean;
  /** Tables that refer to this one or that it refers to. */
  readonly related: (table: TableMapping) => readonly TableMapping[];
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
  const refers = (from: TableMapping, to: TableMapping): boolean =>
    (byId.get(tableId(from.to))?.foreignKeys ?? []).some((key) => key.toSchema === to.to.schema && key.toTable === to.to.name);
  const related = (table: TableMapping): readonly TableMapping[] =>
    mapping.tables.filter((other) => refers(table, other) || refers(other, table));
  return { related, rank: (table) => ranks.get(tableId(table.to)) ?? 0, hasForeignKeys };
}
