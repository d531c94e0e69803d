/** How tables are shared out to lanes. Guarantee: every table is in exactly one lane, so its changes stay in order. */
import { tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';

/** Tables to lanes: the largest first, each to the lane with the least so far. */
export function shareOut(
  tables: readonly TableMapping[],
  source: readonly CatalogTable[],
  count: number,
): readonly (readonly TableMapping[])[] {
  const bytes = new Map(source.map((table) => [tableId(table), table.bytes]));
  const weight = (table: TableMapping): number => 1 + (bytes.get(tableId(table.from)) ?? 0);
  const lanes = Array.from({ length: count }, () => ({ tables: [] as TableMapping[], weight: 0 }));
  for (const table of tables.toSorted((a, b) => weight(b) - weight(a))) {
    const lightest = lanes.reduce((a, b) => (b.weight < a.weight ? b : a));
    lightest.tables.push(table);
    lightest.weight += weight(table);
  }
  return lanes.map((lane) => lane.tables);
}
