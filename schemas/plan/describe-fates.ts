/** What becomes of rows that the source deletes or truncates, in words. Guarantee: what the file says of each table, and nothing of another. */
import type { SoftDelete, SoftFlag, TableMapping } from '../mapping/compiled-mapping.ts';
import { softDeleteOf } from '../mapping/kept-rows.ts';

export interface Fates {
  readonly deletes: string;
  readonly truncates: string;
}

export function describeFates(table: TableMapping): Fates {
  const soft = softDeleteOf(table);
  return {
    deletes:
      soft !== undefined
        ? describeSoft(soft)
        : table.deletes === 'ignore'
          ? table.explode === undefined
            ? 'it stays on the target as it is'
            : 'its children stay on the target, as do those whose element is gone'
          : 'it goes on the target too',
    truncates: describeTruncates(table, soft !== undefined),
  };
}

function describeSoft({ flag, at }: SoftDelete): string {
  const parts =
    flag === undefined ? [] : [`with ${shown(flag.dead, flag)} in "${flag.column}" (${shown(flag.alive, flag)} on every other row)`];
  if (at !== undefined) parts.push(`with the time of the delete in "${at.column}"`);
  return `it stays on the target, ${parts.join(' and ')}`;
}

function shown(value: string | null, { type }: SoftFlag): string {
  if (value === null) return 'null';
  return type === 'boolean' ? String(value === 't') : value;
}

function describeTruncates({ truncates }: TableMapping, marks: boolean): string {
  if (truncates === 'ignore') return 'it changes nothing on the target';
  if (truncates === 'halt') return 'it halts the table';
  return marks ? 'it marks all rows of the target as deleted' : 'it empties the target table too';
}
