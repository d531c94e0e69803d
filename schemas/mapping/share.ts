/**
 * A target table that several source tables share. Guarantee: without a finding, each of them has rows of its own there, told apart by
 * constants that are part of the target's key, or columns of its own, one of which tells whether its row is there; so nobody's upsert,
 * delete or truncate ever changes what is another one's, and the target is a function of the source tables, in whatever order they come.
 */
import { quoteIdent, quoteLiteral, type CatalogColumn, type CatalogTable } from '../table.ts';
import { isComputed, pairId, tableId, type ColumnMapping, type ShareColumn, type TableMapping } from './compiled-mapping.ts';
import type { FindingList } from './finding-list.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { canonicalOf, filterSql } from './row-filter.ts';
import { showTable } from './table-pattern.ts';
import type { TableSteps } from './steps/table-steps.ts';
import { underDomain } from './type-fit.ts';
import { UnmappableRow } from './unmappable-row.ts';

/** Columns that every row of the table gets the same value in. Null tells nothing apart, nor does a type with several texts for a value. */
function constantsOf(columns: readonly ColumnMapping[], steps: TableSteps | undefined, target: CatalogTable): readonly ShareColumn[] {
  return (steps?.computed ?? []).flatMap(({ column, from, value, steps: own }) => {
    if (from.length > 0 || own.length > 0 || typeof value !== 'string') return [];
    const { target: name, targetBaseType: type } = columns[column]!;
    const found = target.columns.find((one) => one.name === name);
    const text = found && canonicalOf(found)?.(value);
    return text === undefined || isCut(text, found!) ? [] : [{ target: name, type, value: text }];
  });
}

/** A varchar(n) takes a longer text when blanks are all that it loses: what stands there then is not what was written. */
function isCut(text: string, column: CatalogColumn): boolean {
  const { typeName, typmod } = underDomain(column);
  return typeName === 'varchar' && typmod >= 4 && Array.from(text).length > typmod - 4;
}

/** The constants that make a unique key of the target out of these key columns; undefined when none of its keys is made so. */
export function shareOf(
  targetKey: readonly string[],
  { columns, steps }: { readonly columns: readonly ColumnMapping[]; readonly steps: TableSteps | undefined },
  target: CatalogTable,
): readonly ShareColumn[] | undefined {
  const constants = constantsOf(columns, steps, target);
  if (constants.length === 0 || targetKey.length === 0) return undefined;
  const keys = [...(target.primaryKey === undefined ? [] : [target.primaryKey]), ...target.uniqueKeys];
  for (const key of keys.filter(({ inexact }) => inexact !== true)) {
    const share = constants.filter(({ target: name }) => key.columns.includes(name));
    const whole = new Set([...targetKey, ...share.map(({ target: name }) => name)]);
    if (share.length > 0 && whole.size === key.columns.length && key.columns.every((name) => whole.has(name))) return share;
  }
  return undefined;
}

type ColumnSql = (column: string) => string;

/** SQL for "this pair has a row here"; `columnSql` gives a column's quoted (and qualified) name. Undefined: it has every row. */
export function shareSql({ share, merge, scope }: TableMapping, columnSql: ColumnSql = quoteIdent): string | undefined {
  if (merge !== undefined) return `${columnSql(merge.witness)} IS NOT NULL`;
  if (scope !== undefined) return filterSql(scope.rows, columnSql);
  return share?.map(({ target, type, value }) => `${columnSql(target)} = ${quoteLiteral(value)}::${type}`).join(' AND ');
}

/** The same for a pair whose rows are taken away: of merged rows also those that nobody has, which would stay for ever. */
export function ownOrNobodysSql(table: TableMapping, columnSql: ColumnSql = quoteIdent): string | undefined {
  const own = shareSql(table, columnSql);
  if (own === undefined || table.merge === undefined) return own;
  return `(${own} OR ${table.merge.others.map((column) => `${columnSql(column)} IS NULL`).join(' AND ')})`;
}

/** The same for whoever compares: a row that nobody has is one too many for one of the pairs. */
export function comparedSql(table: TableMapping, columnSql: ColumnSql): string | undefined {
  const { merge } = table;
  const isFirst = merge?.others.every((other) => merge.witness < other) === true;
  return isFirst ? ownOrNobodysSql(table, columnSql) : shareSql(table, columnSql);
}

/**
 * The mappings, with those merged that feed columns of the same rows. Reports source tables that go to one target where their rows can be
 * neither told apart nor put together.
 */
export function joinShares(
  tables: readonly TableMapping[],
  resolved: readonly ResolvedTable[],
  list: FindingList,
): readonly TableMapping[] {
  const joined = new Map<TableMapping, TableMapping>();
  for (const group of Map.groupBy(tables, ({ to }) => tableId(to)).values()) {
    const whole = group.filter((one, i) => group.every((other, j) => i === j || !areApart(one, other)));
    if (whole.length < 2) continue;
    const placed = whole.map((mapping) => ({
      mapping,
      one: resolved.find(({ source, to }) => pairId({ from: source, to }) === pairId(mapping))!,
    }));
    if (placed.some(({ mapping, one }) => reportTwins(mapping, one, list))) continue;
    const clash = placed.find(({ mapping }, i) => placed.some((other, j) => j < i && !areDisjoint(mapping, other.mapping)));
    if (clash !== undefined) reportClash(placed, clash, list);
    else for (const [mapping, merged] of mergeAll(placed, list)) joined.set(mapping, merged);
  }
  const all = tables.map((table) => joined.get(table) ?? table);
  for (const { from, to, share, merge, deletes, truncates } of all) {
    if ((share === undefined && merge === undefined) || (deletes === undefined && truncates === undefined)) continue;
    const { entry } = resolved.find(({ source, to: target }) => pairId({ from: source, to: target }) === pairId({ from, to }))!;
    const message = `${showTable(from)} shares ${showTable(to)} with others, where \`deletes\` and \`truncates\` are not built yet`;
    list.error('CF-4001', message, entry, 'Take them out, or give it a target of its own.');
  }
  return all;
}

/** Halves of a row are found by their keys: 1.0 of one table and 1.00 of the other would be one row that is either's and never both's. */
function reportTwins(mapping: TableMapping, one: ResolvedTable, list: FindingList): boolean {
  if (mapping.share !== undefined) return false;
  const { columns = [], primaryKey, uniqueKeys = [] } = one.target ?? {};
  const loose = [primaryKey, ...uniqueKeys].flatMap((key) => (key?.inexact === true ? key.columns : []));
  const twin = mapping.targetKey.find((name) => {
    const column = columns.find((candidate) => candidate.name === name);
    return column === undefined || canonicalOf(column) === undefined || loose.includes(name);
  });
  if (twin === undefined) return false;
  const message = `"${twin}" of ${showTable(one.to)} has several spellings of one value, so rows of ${showTable(one.source)} and of others cannot be put together by it`;
  const remedy = 'Rows are put together by whole numbers, texts, enums, booleans, dates and UUIDs; give it a target of its own.';
  list.error('CF-4001', message, one.entry.toPlace ?? one.entry, remedy);
  return true;
}

interface Placed {
  readonly mapping: TableMapping;
  readonly one: ResolvedTable;
}

function reportClash(placed: readonly Placed[], { mapping, one }: Placed, list: FindingList): void {
  const other = placed.find((candidate) => candidate.mapping !== mapping && !areDisjoint(mapping, candidate.mapping))!;
  list.error(
    'CF-4001',
    `${showTable(other.one.source)} and ${showTable(one.source)} both go to ${showTable(one.to)}${differentKeys(other.mapping, mapping)}`,
    one.entry.toPlace ?? one.entry,
    "Give each source table a target of its own, or columns of its own, or a constant of its own in a column of the target's key: `set: { shard: { value: a } }`.",
  );
}

function differentKeys({ targetKey: one }: TableMapping, { targetKey: other }: TableMapping): string {
  return one.toSorted().join('\0') === other.toSorted().join('\0')
    ? ''
    : `, by different keys: (${one.join(', ')}) and (${other.join(', ')})`;
}

/** Nothing but the key in common, and each has more than that. */
function areDisjoint(one: TableMapping, other: TableMapping): boolean {
  const key = new Set(one.targetKey);
  if ([one, other].some(({ share, explode }) => share !== undefined || explode !== undefined) || key.size === 0) return false;
  if ([one, other].some(({ columns }) => columns.length === key.size)) return false;
  if (other.targetKey.length !== key.size || !other.targetKey.every((name) => key.has(name))) return false;
  const fed = new Set(one.columns.map(({ target }) => target));
  return other.columns.every(({ target }) => key.has(target) || !fed.has(target));
}

function mergeAll(placed: readonly Placed[], list: FindingList): readonly (readonly [TableMapping, TableMapping])[] {
  const witnesses = placed.map(({ mapping, one }) => {
    const witness = witnessOf(mapping, one);
    if (witness === undefined) {
      const message = `nothing in ${showTable(one.to)} would tell whether ${showTable(one.source)} has the row`;
      const remedy =
        'Send a NOT NULL column of it to a column that may be NULL and has no default, or set such a column to a constant: `set: { has_it: { value: true } }`.';
      list.error('CF-4001', message, one.entry.toPlace ?? one.entry, remedy);
    }
    return witness ?? '';
  });
  return placed.map(({ mapping }, i) => [
    mapping,
    { ...mapping, merge: { witness: witnesses[i]!, others: witnesses.filter((_, j) => j !== i).toSorted() } },
  ]);
}

/** Never null where the row is there, and null where it is not. */
function witnessOf({ columns, targetKey, steps }: TableMapping, { target }: ResolvedTable): string | undefined {
  return columns.find(({ target: name, source, cast }, i) => {
    const column = target?.columns.find((one) => one.name === name);
    // A domain may have a default of its own.
    if (targetKey.includes(name) || column === undefined || column.notNull || column.hasDefault || column.typtype === 'd') return false;
    const computed = steps?.computed.find((one) => one.column === i);
    return computed === undefined
      ? source.notNull && cast === undefined
      : computed.from.length === 0 && typeof computed.value === 'string' && computed.steps.length === 0;
  })?.target;
}

/** The column (index in `columns`) that is the witness; undefined: the table has none, or a constant. */
export function witnessColumn({ merge, columns, steps }: TableMapping): number | undefined {
  if (merge === undefined) return undefined;
  const column = columns.findIndex(({ target }) => target === merge.witness);
  return isComputed(steps, column) ? undefined : column;
}

/** Nothing would tell that the row is there. */
export function withoutWitness({ columns }: TableMapping, witness: number): UnmappableRow {
  return new UnmappableRow('CF-4002', `column "${columns[witness]!.source.name}" tells that the row is there, and is null`, {
    remedy: 'Make the column NOT NULL again on the source, or give the entry a constant that tells: `set: { has_it: { value: true } }`.',
  });
}

function areApart(one: TableMapping, other: TableMapping): boolean {
  const others = other.share ?? [];
  return (one.share ?? []).some(({ target, value }) => others.some((its) => its.target === target && its.value !== value));
}

/** Not built yet over Kafka: a record's key would have to hold the constants, and its value all columns that others feed. */
export function refuseShares(tables: readonly TableMapping[], resolved: readonly ResolvedTable[], list: FindingList): void {
  for (const { from, to, share, merge: merged, explode } of tables) {
    if (share === undefined && merged === undefined && explode === undefined) continue;
    const { entry } = resolved.find(({ source, to: target }) => pairId({ from: source, to: target }) === pairId({ from, to }))!;
    if (explode !== undefined) {
      const about = `"${explode.name}" of ${showTable(from)} becomes rows of ${showTable(to)}, which a log on Kafka does not carry yet`;
      list.error('CF-4001', about, entry.explode ?? entry, 'Use the embedded log (`crossfade up` without `log.kafka`).');
      continue;
    }
    const message = `${showTable(from)} shares ${showTable(to)} with others, which a log on Kafka does not carry yet`;
    list.error('CF-4001', message, entry, 'Use the embedded log (`crossfade up` without `log.kafka`), or a target of its own.');
  }
}
