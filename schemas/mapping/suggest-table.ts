/** Finds the table that was probably meant: a typo in the name, or the right name in another schema. */
import { nearestName } from '../nearest-name.ts';
import { showTable } from './table-pattern.ts';

interface TableName {
  readonly schema: string;
  readonly name: string;
}

export function nearestTable<T extends TableName>(wanted: TableName, tables: readonly T[]): T | undefined {
  const siblings = tables.filter((table) => table.schema === wanted.schema);
  const name = nearestName(
    wanted.name,
    siblings.map((table) => table.name),
  );
  return (
    siblings.find((table) => table.name === name) ?? tables.find((table) => table.name === wanted.name && table.schema !== wanted.schema)
  );
}

/** `; did you mean "public.orders"?`, or nothing. */
export function didYouMeanTable(wanted: TableName, tables: readonly TableName[]): string {
  const nearest = nearestTable(wanted, tables);
  return nearest === undefined ? '' : `; did you mean "${showTable(nearest)}"?`;
}
