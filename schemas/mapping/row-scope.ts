/**
 * Which rows of the target are a mapping's own, by the column that its filter goes by: others of the same table belong to other migrations. Guarantee:
 * a row of the source passes that condition exactly where its row on the target does, because the value arrives as it was.
 */
import type { ColumnContext } from './compile-columns.ts';
import { isComputed, type ColumnMapping, type RowScope } from './compiled-mapping.ts';
import { compileCondition } from './row-filter.ts';
import type { TableSteps } from './steps/table-steps.ts';
import { showTable } from './table-pattern.ts';

/** Undefined where all rows of the target are its own, or it cannot be told (reported). */
export function compileScope(
  { resolved, list }: Pick<ColumnContext, 'resolved' | 'list'>,
  columns: readonly ColumnMapping[],
  steps: TableSteps | undefined,
): RowScope | undefined {
  const { entry, source, target } = resolved;
  const { scope: by } = entry;
  const filter = by === undefined ? undefined : entry.where?.[by];
  if (by === undefined || filter === undefined) return undefined;
  const mapped = columns.find((column, i) => column.source.name === by && !isComputed(steps, i));
  const column = target.columns.find(({ name }) => name === mapped?.target);
  if (mapped === undefined || column === undefined || !passes(mapped)) {
    const message = `"${by}" of ${showTable(source)} tells whose a row is, and does not arrive on the target as it is`;
    list.error('CF-4001', message, entry, 'Let it go to a column of the target, without a cast and without steps.');
    return undefined;
  }
  const condition = compileCondition(column, filter, list);
  return condition && { by, rows: { conditions: [condition] } };
}

const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);

/** A whole number is the same text in each of their types; any other cast may cut or spell anew. */
function passes({ source, targetBaseType, cast, keyMap }: ColumnMapping): boolean {
  return keyMap === undefined && (cast === undefined || (WHOLE.has(source.baseType) && WHOLE.has(targetBaseType)));
}
