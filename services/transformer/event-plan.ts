/** Where a table's mapped columns stand in events of one shape. Guarantee: made once for each shape; an event that lacks one of them has no fields. */
import { isComputed, sourceColumns, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';

/** In place of a field: no field of the event, but what steps make of some. */
const COMPUTED = -2;

/** Where things stand in events of one shape. */
export interface Plan {
  readonly columns: readonly string[];
  /** Event's field for each mapped column; undefined: one of them is not there. */
  readonly fields: Int32Array | undefined;
  readonly filterFields: Int32Array;
  /** Event's field for each input of the table's steps. */
  readonly inputs: Int32Array;
  /** Fields are the mapped columns as they stand. */
  readonly same: boolean;
}

/** `isForeign`: nobody else finds out that a column was added. */
export function planOf(table: TableMapping, columns: readonly string[], isForeign: boolean): Plan {
  const fields = Int32Array.from(table.columns, ({ source }, i) => (isComputed(table.steps, i) ? COMPUTED : columns.indexOf(source.name)));
  const inputs = Int32Array.from(table.steps?.inputs ?? [], (column) => columns.indexOf(column.name));
  const filterFields = Int32Array.from(table.filter?.conditions ?? [], (condition) => columns.indexOf(condition.column));
  const fits = !fields.includes(-1) && !filterFields.includes(-1) && !inputs.includes(-1) && !(isForeign && hasUnknown(table, columns));
  const same = fields.length === columns.length && fields.every((field, i) => field === i);
  return { columns, fields: fits ? fields : undefined, filterFields, inputs, same };
}

/** A column was added that the file does not know, and does not say to ignore. */
function hasUnknown(table: TableMapping, columns: readonly string[]): boolean {
  if (table.unmapped === 'ignore') return false;
  const known = new Set([...sourceColumns(table).map((column) => column.name), ...table.dropped]);
  return columns.some((column) => !known.has(column));
}
