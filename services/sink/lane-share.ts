/** How tables are shared out to lanes. Guarantee: every table is in exactly one lane, so its changes stay in order. */
import { pairId, tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';

/** Tables to lanes: the largest first, each to the lane with the least so far; those that feed the same rows together. */
export function shareOut(
  tables: readonly TableMapping[],
  source: readonly CatalogTable[],
  count: number,
): readonly (readonly TableMapping[])[] {
  const bytes = new Map(source.map((table) => [tableId(table), table.bytes]));
  const weight = (table: TableMapping): number => 1 + (bytes.get(tableId(table.from)) ?? 0);
  const lanes = Array.from({ length: count }, () => ({ tables: [] as TableMapping[], weight: 0 }));
  const groups = Map.groupBy(tables, ({ merge, from, to }) => (merge === undefined ? pairId({ from, to }) : tableId(to)));
  const weighed = Array.from(groups.values(), (group) => ({ group, weight: group.reduce((sum, table) => sum + weight(table), 0) }));
  for (const { group, weight: more } of weighed.toSorted((a, b) => b.weight - a.weight)) {
    const lightest = lanes.reduce((a, b) => (b.weight < a.weight ? b : a));
    lightest.tables.push(...group);
    lightest.weight += more;
  }
  return lanes.map((lane) => lane.tables);
}
