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
          : table.merge === undefined
            ? 'it goes on the target too'
            : 'its columns become null or their default on the target, and the row goes with the last table that has it',
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

function describeTruncates({ truncates, share, merge, scope }: TableMapping, marks: boolean): string {
  if (truncates === 'ignore') return 'it changes nothing on the target';
  if (truncates === 'halt') return 'it halts the table';
  if (merge !== undefined) return 'it does the same to all rows';
  if (share !== undefined || scope !== undefined) return 'its rows go from the target table, those of others stay';
  return marks ? 'it marks all rows of the target as deleted' : 'it empties the target table too';
}
