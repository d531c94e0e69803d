/** The one way from a refused value to a row that has no image. Guarantee: column and step are named, the value is not; who holds the row names table and key. */
import { UnmappableRow } from '../unmappable-row.ts';
import type { RowRefusal } from './table-steps.ts';

export function unmappable({ code, column, message }: RowRefusal): UnmappableRow {
  return new UnmappableRow(code, `column "${column}", ${message}`);
}
