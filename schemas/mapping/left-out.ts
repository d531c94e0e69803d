/**
 * Which values an update may leave out of the stream (unchanged TOAST). Guarantee: a column that is said to be always there has no value
 * that PostgreSQL would ever store outside of its row.
 */
import type { CatalogColumn } from '../table.ts';
import { underDomain } from './type-fit.ts';
import { numericSize } from './type-modifier.ts';

/** No shorter value is moved out of its row: a pointer to it would take as much. */
const MOVED_BYTES_MIN = 25;
const HEADER_BYTES = 4;
const NUMERIC_HEADER_BYTES = 4;
/** Of any server encoding. */
const CHARACTER_BYTES_MAX = 4;

export function mayBeLeftOut(column: CatalogColumn): boolean {
  return column.typeLength === -1 && bytesMax(underDomain(column)) >= MOVED_BYTES_MIN;
}

function bytesMax({ builtin, elementOid, typeName, typmod }: CatalogColumn): number {
  if (!builtin || elementOid !== 0 || typmod < 4) return Infinity;
  if (typeName === 'varchar' || typeName === 'bpchar') return HEADER_BYTES + CHARACTER_BYTES_MAX * (typmod - 4);
  const size = typeName === 'numeric' ? numericSize(typmod) : undefined;
  if (size === undefined) return Infinity;
  // Two bytes hold four digits, on either side of the point.
  const groups = Math.ceil(Math.max(size.precision - size.scale, 0) / 4) + Math.ceil(Math.max(size.scale, 0) / 4);
  return HEADER_BYTES + NUMERIC_HEADER_BYTES + 2 * groups;
}
