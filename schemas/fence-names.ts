/** What a fence's triggers are known by. Guarantee: all kinds that there are stand here, so whoever takes a fence away finds each of them. */
import type { RowFilter } from './mapping/compiled-mapping.ts';
import { filterSql } from './mapping/row-filter.ts';
import { quoteIdent } from './table.ts';

/** Of statements; of all rows; of some rows (a wave's), by what is done to them; of rows that change their unit. */
const FENCE_TRIGGERS = ['stm', 'row', 'ins', 'upd', 'del', 'new', 'mov'] as const;
export type FenceTrigger = (typeof FENCE_TRIGGERS)[number];

/** Where both sides are in one database those of the target have names of their own. */
export function fenceTriggerName(name: string, kind: FenceTrigger, isOfTarget = false): string {
  return `crossfade_${name}_${isOfTarget ? 't' : ''}${kind}`;
}

/** All that a migration may have. */
export function fenceTriggerNames(name: string): readonly string[] {
  return [false, true].flatMap((isOfTarget) => FENCE_TRIGGERS.map((kind) => fenceTriggerName(name, kind, isOfTarget)));
}

/** Which rows are fenced, as it stands among the arguments of their triggers. */
export function rowsText(rows: RowFilter): string {
  return filterSql(rows, (column) => `row.${quoteIdent(column)}`);
}
