/**
 * Foreign keys between tables of the target that the migration fills. Guarantee: those that the target has, and those that the source has
 * where the target has none, in the target's names; each once.
 */
import { isComputed, tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Catalog, CatalogForeignKey } from '#schemas/table.ts';
import type { MappedForeignKey, TableName } from './planned-check.ts';

export function mappedForeignKeys(
  { tables }: Pick<CompiledMapping, 'tables'>,
  { source, target }: { readonly source: Catalog; readonly target: Catalog },
): readonly MappedForeignKey[] {
  const filled = new Set(tables.map(({ to }) => tableId(to)));
  const onTarget = target.tables
    .filter((table) => filled.has(tableId(table)))
    .flatMap((table) =>
      table.foreignKeys
        .filter((key) => filled.has(tableId({ schema: key.toSchema, name: key.toTable })))
        .map((key): MappedForeignKey => ({
          name: key.name,
          child: { schema: table.schema, name: table.name },
          columns: key.columns,
          parent: { schema: key.toSchema, name: key.toTable },
          parentColumns: key.toColumns,
          onTarget: key.definition?.endsWith('NOT VALID') === true ? 'not valid' : 'valid',
          ...extensionMark(target, table, key.columns),
        })),
    );
  const known = new Set(onTarget.map(idOf));
  const bySource = Map.groupBy(tables, ({ from }) => tableId(from));
  const onSource = source.tables.flatMap((table) =>
    (bySource.get(tableId(table)) ?? []).flatMap((child) =>
      table.foreignKeys.flatMap((key) =>
        (bySource.get(tableId({ schema: key.toSchema, name: key.toTable })) ?? []).flatMap((parent) => {
          const one = translated(key, child, parent);
          return one === undefined ? [] : [{ ...one, ...extensionMark(target, one.child, one.columns) }];
        }),
      ),
    ),
  );
  return [...onTarget, ...onSource.filter((key) => !known.has(idOf(key)) && known.add(idOf(key)))];
}

/** Undefined where rows or columns of the source are not rows and columns of the target. */
function translated(key: CatalogForeignKey, child: TableMapping, parent: TableMapping): MappedForeignKey | undefined {
  if ([child, parent].some((one) => one.share !== undefined || one.merge !== undefined || one.explode !== undefined)) return undefined;
  const columns = key.columns.map((name) => targetOf(child, name));
  const parentColumns = key.toColumns.map((name) => targetOf(parent, name));
  if (columns.includes(undefined) || parentColumns.includes(undefined)) return undefined;
  return {
    name: key.name,
    child: child.to,
    columns: columns as string[],
    parent: parent.to,
    parentColumns: parentColumns as string[],
    onTarget: 'absent',
  };
}

function extensionMark({ tables }: Catalog, table: TableName, columns: readonly string[]): { readonly ofExtension?: true } {
  const found = tables.find((one) => tableId(one) === tableId(table));
  const isOwn = found?.columns.every(({ name, extension }) => !columns.includes(name) || extension === undefined) ?? true;
  return isOwn ? {} : { ofExtension: true };
}

/** Target column that a column of the source passes into. */
export function targetOf({ columns, steps }: TableMapping, name: string): string | undefined {
  return columns.find(({ source }, i) => source.name === name && !isComputed(steps, i))?.target;
}

function idOf({ child, columns, parent, parentColumns }: MappedForeignKey): string {
  const pairs = columns.map((column, i) => [column, parentColumns[i]] as const).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([child.schema, child.name, parent.schema, parent.name, pairs]);
}
