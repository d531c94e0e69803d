/**
 * `deletes:` and `truncates:` of one table. Guarantee: without a finding, a row that is kept can be told from a living one, found again by
 * its key, and made alive; the columns that tell it are fed by nothing else.
 */
import type { TableEntry } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import { quoteIdent, quoteTable, type CatalogColumn, type CatalogTable } from '../table.ts';
import type { ColumnContext } from './compile-columns.ts';
import { tableId, type SoftDelete, type SoftFlag, type SoftTime, type TableMapping } from './compiled-mapping.ts';
import type { FilePlace, FindingList } from './finding-list.ts';
import { aliveSql, softDeleteOf } from './kept-rows.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { canonicalOf } from './row-filter.ts';
import { showTable } from './table-pattern.ts';
import { underDomain } from './type-fit.ts';

type Fates = Pick<TableMapping, 'deletes' | 'truncates'>;
type Mapped = Pick<TableMapping, 'sourceKey' | 'targetKey' | 'columns' | 'steps'>;

/** Target columns that tell a deleted row, by the file. */
export function markedColumns({ deletes }: TableEntry): readonly string[] {
  if (deletes?.mode !== 'soft') return [];
  return [deletes.flag?.column, deletes.at].filter((name) => name !== undefined);
}

/** Undefined: reported. */
export function compileDeletes(context: ColumnContext, mapped: Mapped): Fates | undefined {
  const { resolved, list } = context;
  const { entry, source } = resolved;
  const { targetKey, columns } = mapped;
  const truncates = truncatesOf(entry);
  const place = entry.deletes ?? entry;
  const before = list.errorCount;
  if (targetKey.length === 0 && (entry.deletes !== undefined || truncates === 'ignore')) {
    const message = `${showTable(source)} has no key, so a row of it that is kept could not be found again`;
    list.error('CF-4001', message, place, 'Give the table a primary key on both sides, or leave `deletes` and `truncates` as they are.');
  }
  const soft = entry.deletes?.mode === 'soft' ? compileSoft(entry.deletes, context) : undefined;
  for (const name of markedColumns(entry)) {
    const fed = columns.find((column) => column.target === name);
    if (targetKey.includes(name)) {
      list.error('CF-4001', `\`deletes\` marks rows by "${name}" of ${showTable(resolved.to)}, which is a key column`, place);
    } else if (fed !== undefined) {
      const remedy = `Write \`drop: [${fed.source.name}]\`, or mark deleted rows in another column.`;
      list.error(
        'CF-4001',
        `"${name}" of ${showTable(resolved.to)} tells which rows are deleted, and is fed from the source too`,
        place,
        remedy,
      );
    }
  }
  if (soft !== undefined) warnOfUniqueness(context, mapped, soft);
  if (list.errorCount > before) return undefined;
  const deletes = entry.deletes?.mode === 'ignore' ? 'ignore' : soft;
  return { ...(deletes !== undefined && { deletes }), ...(truncates !== undefined && { truncates }) };
}

/** Rows that no delete takes are not to go with a truncate that the file says nothing of. */
function truncatesOf({ deletes, truncates }: TableEntry): TableMapping['truncates'] {
  const said = truncates ?? (deletes?.mode === 'ignore' ? 'ignore' : 'apply');
  return said === 'apply' ? undefined : said;
}

type SoftEntry = Extract<NonNullable<TableEntry['deletes']>, { mode: 'soft' }>;

function compileSoft(entry: SoftEntry, context: ColumnContext): SoftDelete | undefined {
  const flag = entry.flag === undefined ? undefined : compileFlag(entry.flag, entry, context);
  const at = entry.at === undefined ? undefined : compileTime(entry.at, entry, context);
  if (flag === undefined && at === undefined) return undefined;
  return { ...(flag !== undefined && { flag }), ...(at !== undefined && { at }) };
}

function findMark(name: string, place: FilePlace, { resolved: { target }, list }: ColumnContext): CatalogColumn | undefined {
  const column = target.columns.find((one) => one.name === name);
  if (column === undefined) {
    const near = didYouMean(
      name,
      target.columns.map((one) => one.name),
    );
    list.error('CF-1008', `\`deletes\` marks rows by "${name}", which ${showTable(target)} does not have${near}`, place);
  } else if (column.generated !== '' || column.identity !== '') {
    list.error('CF-4001', `\`deletes\` marks rows by "${name}" of ${showTable(target)}, which the target computes itself`, place);
    return undefined;
  }
  return column;
}

function compileFlag(flag: NonNullable<SoftEntry['flag']>, place: FilePlace, context: ColumnContext): SoftFlag | undefined {
  const { list, resolved } = context;
  const column = findMark(flag.column, place, context);
  if (column === undefined) return undefined;
  const about = `"${column.name}" of ${showTable(resolved.target)}`;
  const dead = valueOf(column, flag.value, context);
  const alive = flag.alive === undefined ? otherThan(column, dead) : flag.alive === null ? null : valueOf(column, flag.alive, context);
  if (dead === undefined || alive === undefined) {
    list.error('CF-4001', `${about} is ${column.type}, which does not take the values that \`deletes\` gives it`, place);
    return undefined;
  }
  if (alive === dead) {
    list.error('CF-4001', `${about} would be the same on deleted rows and on others`, place, 'Give `value` and `alive` two values.');
    return undefined;
  }
  if (alive === null && column.notNull) {
    list.error('CF-4001', `${about} is NOT NULL, and \`deletes\` does not say what a living row has there`, place, 'Write `alive: VALUE`.');
    return undefined;
  }
  return { column: column.name, dead, alive, type: column.baseType };
}

/** Of a boolean the other one. */
function otherThan(column: CatalogColumn, dead: string | undefined): string | null {
  if (underDomain(column).typeName !== 'bool') return null;
  return dead === 't' ? 'f' : 't';
}

/** In the type's canonical text; undefined for what the type does not take. */
function valueOf(column: CatalogColumn, text: string, { world }: ColumnContext): string | undefined {
  const plain = underDomain(column);
  if (plain.typtype === 'e' && world.target.get(plain.typeOid)?.labels.includes(text) === false) return undefined;
  const canonical = canonicalOf(column)?.(text);
  const max = plain.typeName === 'varchar' && plain.typmod >= 4 ? plain.typmod - 4 : Infinity;
  return canonical !== undefined && Array.from(canonical).length > max ? undefined : canonical;
}

function compileTime(name: string, place: FilePlace, context: ColumnContext): SoftTime | undefined {
  const { list, resolved } = context;
  const column = findMark(name, place, context);
  if (column === undefined) return undefined;
  const about = `"${name}" of ${showTable(resolved.target)}`;
  const { typeName = '' } = underDomain(column);
  if (typeName !== 'timestamptz' && typeName !== 'timestamp') {
    list.error('CF-4001', `${about} is ${column.type}; a deleted row's time needs timestamptz (or timestamp, in UTC)`, place);
    return undefined;
  }
  if (column.notNull) {
    const remedy = `Run on the target: ALTER TABLE ${quoteTable(resolved.target)} ALTER COLUMN ${quoteIdent(name)} DROP NOT NULL;`;
    list.error('CF-4001', `${about} is NOT NULL, and a living row has no time of deletion`, place, remedy);
    return undefined;
  }
  return { column: name, zoned: typeName === 'timestamptz' };
}

/** A value that the source frees with a row stays taken on the target. */
function warnOfUniqueness({ resolved: { target, entry }, list }: ColumnContext, mapped: Mapped, soft: SoftDelete): void {
  const marks = new Set([soft.flag?.column, soft.at?.column]);
  const keys = [
    ...(target.primaryKey === undefined ? [] : [target.primaryKey]),
    ...target.uniqueKeys,
    ...(target.nullableUniqueKeys ?? []),
  ];
  const wanted = mapped.targetKey.toSorted().join('\0');
  for (const { indexName, columns } of keys) {
    if (columns.toSorted().join('\0') === wanted || columns.some((name) => marks.has(name)) || isMadeOfKey(columns, mapped)) continue;
    const message = `the unique index ${quoteIdent(indexName)} of ${showTable(target)} counts softly deleted rows too: a value used again at the source would halt the table`;
    const partial = `CREATE UNIQUE INDEX ON ${quoteTable(target)} (${columns.map(quoteIdent).join(', ')}) WHERE ${aliveSql(soft)};`;
    const remedy = `Put in its place on the target: ${partial}`;
    list.warning('CF-4001', message, entry.deletes ?? entry, remedy);
  }
}

/** Another spelling of the source's key: its values come again with the row itself. */
function isMadeOfKey(index: readonly string[], { sourceKey, columns, steps }: Mapped): boolean {
  const made = index.flatMap((name) => {
    const computed = steps?.computed.find(({ target }) => target === name);
    return computed === undefined
      ? columns.filter(({ target }) => target === name).map(({ source }) => source.name)
      : computed.from.map((i) => steps!.inputs[i]!.name);
  });
  return made.every((name) => sourceKey.includes(name)) && sourceKey.every((name) => made.includes(name));
}

/** Rows that stay may refer to rows that go. */
export function warnOfOrphans(compiled: readonly (readonly [TableMapping, ResolvedTable])[], list: FindingList): void {
  const byTarget = Map.groupBy(compiled, ([table]) => tableId(table.to));
  for (const [table, { target, entry }] of compiled) {
    if (table.deletes === undefined) continue;
    for (const key of (target as CatalogTable).foreignKeys) {
      const parents = byTarget.get(tableId({ schema: key.toSchema, name: key.toTable })) ?? [];
      if (parents.every(([parent]) => parent.deletes !== undefined)) continue;
      const [parent] = parents[0]!;
      const how = softDeleteOf(table) === undefined ? 'whose deletes are ignored' : 'that are softly deleted';
      const message = `rows of ${showTable(table.to)} ${how} may refer (${key.name}) to rows of ${showTable(parent.to)} that are gone`;
      const same = parents.length === 1 ? `Give ${showTable(parent.from)} the same \`deletes\`, or drop` : 'Drop';
      const remedy = `${same} the foreign key on the target.`;
      list.warning('CF-4001', message, entry.deletes ?? entry, remedy);
    }
  }
}
