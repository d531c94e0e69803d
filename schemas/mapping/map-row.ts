/**
 * One source row → its target rows, without a server. Guarantee: the filter and the computed columns are those of the pipeline (the same
 * functions); a column that a server casts is there only where its cast is known to give this value.
 */
import { compileRowPredicate } from './row-filter.ts';
import { isComputed, type TableMapping } from './compiled-mapping.ts';
import { explodeRow } from './explode-row.ts';
import { rowFunction, type Field } from './steps/table-steps.ts';
import { castText, targetText } from './value-text.ts';

/** Of a column that is cast by the server, and whose outcome only the server knows. */
export const SERVER_ONLY: unique symbol = Symbol('known to the server only');

export type MappedValue = string | null | typeof SERVER_ONLY;

export interface MappedRow {
  readonly to: TableMapping['to'];
  /** By target column, as the target prints it. */
  readonly values: ReadonlyMap<string, MappedValue>;
}

export type RowOutcome =
  /** None: the filter leaves the row out. */
  | { readonly kind: 'rows'; readonly rows: readonly MappedRow[] }
  | { readonly kind: 'refused'; readonly code: 'CF-4002'; readonly message: string };

/** By source column. */
export type SourceRow = ReadonlyMap<string, string | null>;

/** `tables`: all that the source table goes to. One that refuses the row refuses it for all. */
export function mapRow(tables: readonly TableMapping[], row: SourceRow): RowOutcome {
  const rows: MappedRow[] = [];
  for (const table of tables) {
    const outcome = mapTo(table, row);
    if (outcome.kind === 'refused') return outcome;
    rows.push(...outcome.rows);
  }
  return { kind: 'rows', rows };
}

function mapTo(table: TableMapping, row: SourceRow): RowOutcome {
  const valueOf = (name: string): string | null => row.get(name) ?? null;
  const { filter, steps } = table;
  if (filter !== undefined && !compileRowPredicate(filter)(filter.conditions.map(({ column }) => valueOf(column))))
    return { kind: 'rows', rows: [] };
  const computed: Field[] = [];
  if (steps !== undefined) {
    const refusal = rowFunction(steps).compute(
      steps.inputs.map(({ name }) => valueOf(name)),
      computed,
    );
    if (refusal !== undefined) return { kind: 'refused', code: refusal.code, message: `column "${refusal.column}", ${refusal.message}` };
  }
  const first = steps?.computed[0]?.column ?? 0;
  const values = new Map(
    table.columns.map((column, i): [string, MappedValue] => {
      const text = isComputed(steps, i) ? (computed[i - first] ?? null) : valueOf(column.source.name);
      if (text === null) return [column.target, null];
      return [column.target, isComputed(steps, i) ? targetText(column, text) : (castText(column, text) ?? SERVER_ONLY)];
    }),
  );
  if (table.explode !== undefined) return explodeTo(table, values, valueOf(table.explode.name));
  // What tells deleted rows from this one.
  const { flag, at } = typeof table.deletes === 'object' ? table.deletes : {};
  if (flag !== undefined) values.set(flag.column, flag.alive);
  if (at !== undefined) values.set(at.column, null);
  return { kind: 'rows', rows: [{ to: table.to, values }] };
}

/** `parent` has the columns of the key, which each child gets. */
function explodeTo({ to, explode, targetKey }: TableMapping, parent: ReadonlyMap<string, MappedValue>, array: string | null): RowOutcome {
  const exploded = explodeRow(explode!, array);
  if (exploded.kind === 'refused') return { kind: 'refused', code: 'CF-4002', message: exploded.message };
  const key = targetKey.map((name) => [name, parent.get(name)!] as const);
  const rows = exploded.children.map((child) => ({
    to,
    values: new Map<string, MappedValue>([
      ...key,
      ...[...child].map(([name, value]) => [name, value === undefined ? SERVER_ONLY : value] as const),
    ]),
  }));
  return { kind: 'rows', rows };
}
