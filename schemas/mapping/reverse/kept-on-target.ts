/**
 * What the target has got of its own: in tables that go back columns that the source has nothing for, and beside them whole tables, be it that the target had them from the start or that
 * somebody added them while it served. Guarantee: pure; a column that the migration writes, or that the way back reads, is none of them, nor is a table of the file.
 */
import type { Catalog } from '#schemas/table.ts';
import { tableId, type CompiledMapping, type TableMapping } from '../compiled-mapping.ts';
import { showTable } from '../table-pattern.ts';
import type { ReverseDerivation } from './derive-reverse.ts';

/** `public.orders.note`. `mapping`: the forward one, with the tables' names as the file has them. */
export function keptOnTarget(
  { tables }: Pick<CompiledMapping, 'tables'>,
  { file }: Pick<ReverseDerivation, 'file'>,
  target: Catalog,
): string[] {
  const entries = new Map((file?.tables ?? []).map((entry) => [entry.from, entry]));
  return target.tables.flatMap((table) => {
    const entry = entries.get(showTable(table));
    if (entry === undefined) return [];
    const known = new Set([
      ...tables.filter(({ to }) => tableId(to) === tableId(table)).flatMap(writtenBy),
      ...Object.entries(entry.columns).flatMap(([name, { drop }]) => (drop ? [] : [name])),
      ...Object.values(entry.set ?? {}).flatMap(({ from }) => from),
      ...Object.keys(entry.where ?? {}),
    ]);
    return table.columns.flatMap(({ name, generated }) => (generated !== '' || known.has(name) ? [] : [`${showTable(table)}.${name}`]));
  });
}

function writtenBy({ columns, share = [], deletes, merge }: TableMapping): string[] {
  const soft = deletes === undefined || deletes === 'ignore' ? [] : [deletes.flag?.column, deletes.at?.column];
  return [...columns, ...share]
    .map(({ target }) => target)
    .concat(
      soft.filter((name) => name !== undefined),
      merge === undefined ? [] : [merge.witness, ...merge.others],
    );
}

export interface BothCatalogs {
  readonly source: Catalog;
  readonly target: Catalog;
}

/** `public.notes`: in the schemas that the migration moves to. One that the source has, too, under its name was left out by the file, and everybody knows. */
export function tablesOfTargetAlone({ tables }: Pick<CompiledMapping, 'tables'>, { source, target }: BothCatalogs): string[] {
  const moved = new Set(tables.map(({ to }) => tableId(to)));
  const known = new Set(source.tables.map(tableId));
  return target.tables
    .filter((table) => {
      const from = new Set(tables.filter(({ to }) => to.schema === table.schema).map((one) => one.from.schema));
      // An extension keeps its own tables.
      return (
        from.size > 0 &&
        table.extension === undefined &&
        !moved.has(tableId(table)) &&
        ![...from].some((schema) => known.has(tableId({ schema, name: table.name })))
      );
    })
    .map(showTable);
}
