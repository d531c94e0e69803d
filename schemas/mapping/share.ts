/**
 * A target table that several source tables share. Guarantee: without a finding, each of them has rows of its own there, told apart by
 * constants that are part of the target's key; so nobody's upsert, delete or truncate ever meets another one's row.
 */
import { quoteIdent, quoteLiteral, type CatalogTable } from '../table.ts';
import { pairId, tableId, type ColumnMapping, type ShareColumn, type TableMapping } from './compiled-mapping.ts';
import type { FindingList } from './finding-list.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { canonicalOf } from './row-filter.ts';
import { showTable } from './table-pattern.ts';
import type { TableSteps } from './steps/table-steps.ts';

/** Columns that every row of the table gets the same value in. Null tells nothing apart, nor does a type with several texts for a value. */
function constantsOf(columns: readonly ColumnMapping[], steps: TableSteps | undefined, target: CatalogTable): readonly ShareColumn[] {
  return (steps?.computed ?? []).flatMap(({ column, from, value, steps: own }) => {
    if (from.length > 0 || own.length > 0 || typeof value !== 'string') return [];
    const { target: name, targetBaseType: type } = columns[column]!;
    const found = target.columns.find((one) => one.name === name);
    const text = found && canonicalOf(found)?.(value);
    return text === undefined ? [] : [{ target: name, type, value: text }];
  });
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

/** SQL for "is this pair's row"; `columnSql` gives a column's quoted (and qualified) name. Undefined: every row is. */
export function shareSql({ share }: TableMapping, columnSql: (column: string) => string = quoteIdent): string | undefined {
  return share?.map(({ target, type, value }) => `${columnSql(target)} = ${quoteLiteral(value)}::${type}`).join(' AND ');
}

/** Reports source tables that go to one target, and whose rows there cannot be told apart. */
export function checkShares(tables: readonly TableMapping[], resolved: readonly ResolvedTable[], list: FindingList): void {
  for (const group of Map.groupBy(resolved, ({ to }) => tableId(to)).values()) {
    const mappings = group.map((one) => tables.find(({ from, to }) => pairId({ from, to }) === pairId({ from: one.source, to: one.to })));
    for (const [i, one] of group.entries()) {
      const other = group.findIndex((_, j) => j < i && !areApart(mappings[i], mappings[j]));
      // What was not compiled has its own finding.
      if (other < 0 || (list.errorCount > 0 && (mappings[i] === undefined || mappings[other] === undefined))) continue;
      list.error(
        'CF-4001',
        `${showTable(group[other]!.source)} and ${showTable(one.source)} both go to ${showTable(one.to)}`,
        one.entry.toPlace ?? one.entry,
        "Give each source table a target of its own, or a constant of its own in a column of the target's key: `set: { shard: { value: a } }`.",
      );
    }
  }
}

function areApart(one: TableMapping | undefined, other: TableMapping | undefined): boolean {
  if (one?.share === undefined || other?.share === undefined) return false;
  return one.share.some(({ target, value }) => other.share!.some((its) => its.target === target && its.value !== value));
}

/** Not built yet over Kafka: a record's key would have to hold the constants, or two rows would have one key. */
export function refuseShares(tables: readonly TableMapping[], resolved: readonly ResolvedTable[], list: FindingList): void {
  for (const { from, to, share } of tables) {
    if (share === undefined) continue;
    const { entry } = resolved.find((one) => pairId({ from: one.source, to: one.to }) === pairId({ from, to }))!;
    const names = share.map(({ target }) => `"${target}"`).join(', ');
    const message = `the key of ${showTable(to)} has ${names} besides the key of ${showTable(from)}, which a log on Kafka does not carry yet`;
    list.error('CF-4001', message, entry, 'Use the embedded log (`crossfade up` without `log.kafka`), or a target with a key of its own.');
  }
}
