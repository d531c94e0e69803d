/** The row filter on a row whose values may be absent. Guarantee: decides as row-filter.ts does, in SQL and in TypeScript. */
import type { RowFilter } from '#schemas/mapping/compiled-mapping.ts';

/** @param valueOf undefined = absent from the stream. @returns undefined when an absent value would decide. */
export function rowSelected(filter: RowFilter | undefined, valueOf: (column: string) => string | null | undefined): boolean | undefined {
  for (const { column, op, values } of filter?.conditions ?? []) {
    const value = valueOf(column);
    if (value === undefined) return undefined;
    if (values.includes(value) !== (op === 'in')) return false;
  }
  return true;
}
