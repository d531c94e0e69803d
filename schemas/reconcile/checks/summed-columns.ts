/** Which columns of a table the file's checks sum. Guarantee: each once, by its place among the mapping's columns, whatever the groups. */
import { pairId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { PlannedCheck } from './planned-check.ts';

export function summedColumns(planned: readonly PlannedCheck[], table: TableMapping): readonly number[] {
  const names = planned.flatMap((check) => {
    if (check.kind !== 'sum') return [];
    return check.views.flatMap(({ pairs, columns }) =>
      pairs.some((pair) => pairId(pair) === pairId(table)) ? columns.slice(check.keys) : [],
    );
  });
  return [...new Set(names)].map((name) => table.columns.findIndex(({ target }) => target === name)).filter((place) => place >= 0);
}
