/**
 * File and catalogues → CompiledMapping. Guarantee: pure and deterministic; either a mapping under which every row of every table
 * matched has one well-defined image on the target, or all reasons why not, each with its place in the file and what mends it.
 */
import { createHash } from 'node:crypto';
import type { MigrationFile, TableEntry } from '../config/migration-file.ts';
import type { Finding } from '../errors.ts';
import { didYouMean } from '../nearest-name.ts';
import { quoteTable, type Catalog, type CatalogTable } from '../table.ts';
import { compileColumns, type ColumnContext, type CompiledColumns } from './compile-columns.ts';
import { compileConflict, refuseSharedConflicts, warnOfUncounted } from './compile-conflict.ts';
import { compileDeletes, warnOfOrphans } from './compile-deletes.ts';
import { childKey, compileExploded } from './compile-explode.ts';
import { compileKey } from './compile-key.ts';
import { pairId, type CompiledMapping, type Explode, type TableMapping } from './compiled-mapping.ts';
import { FindingList } from './finding-list.ts';
import { resolveTables, type ResolvedTable } from './resolve-tables.ts';
import { declaredReverse } from './reverse/declared-reverse.ts';
import { compileFilter } from './row-filter.ts';
import { compileScope } from './row-scope.ts';
import { joinShares, refuseShares } from './share.ts';
import { SurrogateKeys } from './surrogate-keys.ts';
import { showTable } from './table-pattern.ts';
import { typeWorld } from './type-fit.ts';

export interface MappingResult {
  /** Undefined when a finding is an error. */
  readonly mapping?: CompiledMapping;
  readonly findings: readonly Finding[];
}

export function compileMapping(file: MigrationFile, source: Catalog, target: Catalog): MappingResult {
  const list = new FindingList(file.path);
  const world = typeWorld(source, target);
  const resolved = resolveTables(file, source, target, list);
  checkColumnNames(resolved, list);
  const keys = new SurrogateKeys(file.name, resolved, list);
  const compiledTables: (readonly [TableMapping, ResolvedTable])[] = [];
  for (const one of resolved) {
    const isFirst = resolved.find((other) => other.source === one.source) === one;
    if (isFirst && (one.source.unlogged || one.source.leaves.some((leaf) => leaf.unlogged === true))) reportUnlogged(one, list);
    const siblings = resolved.filter((other) => other.source === one.source && other !== one);
    const compiled = compileTable(one, { world, list, siblings, keys, functions: file.functions });
    if (compiled !== undefined) compiledTables.push([compiled, one]);
  }
  warnOfOrphans(compiledTables, list);
  const tables = compiledTables.map(([table]) => table);
  const joined = joinShares(tables, resolved, list);
  refuseSharedKeys(joined, resolved, list);
  refuseSharedConflicts(joined, resolved, list);
  warnOfUncounted(file, joined, list);
  if (file.settings.log.kafka !== undefined) refuseShares(joined, resolved, list);
  if (tables.length === 0 && list.errorCount === 0) list.error('CF-1008', 'the file matches no table', file.tables[0] ?? {});
  const findings = list.findings.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
  if (list.errorCount > 0) return { findings };
  return { mapping: { name: file.name, hash: hashTables(joined), tables: joined }, findings };
}

function compileTable(resolved: ResolvedTable, shared: Omit<ColumnContext, 'resolved'>): TableMapping | undefined {
  const { list } = shared;
  const { source, target, entry, to } = resolved;
  const filter = compileFilter(resolved, shared);
  if (target === undefined) return undefined;
  const context = { ...shared, resolved: { ...resolved, target } };
  const before = list.errorCount;
  const { columns, dropped, steps, explode } = compileRow(context);
  const columnsFit = list.errorCount === before;
  if (columns.length === 0) {
    if (columnsFit) list.error('CF-4001', `no column of ${showTable(source)} goes to ${showTable(to)}`, entry);
    return undefined;
  }
  const key = compileKey({ ...context, columns, steps, filter, columnsFit, isExploded: entry.explode !== undefined });
  if (key === undefined) return undefined;
  const children = explode === undefined || !columnsFit ? undefined : childKey(explode, key.targetKey, context);
  if (entry.explode !== undefined && children === undefined) return undefined;
  const fates =
    children === undefined ? compileDeletes(context, { ...key, columns, ...(steps !== undefined && { steps }) }) : orphansOf(entry);
  if (fates === undefined) return undefined;
  if (entry.onRowError !== undefined && key.targetKey.length === 0) reportUnnamed(resolved, list);
  const fed = new Set(columns.map((column) => column.target));
  const scope = compileScope(context, columns, steps);
  const reverse = declaredReverse(entry, { source, target, functions: shared.functions });
  const table: TableMapping = {
    from: { schema: source.schema, name: source.name },
    to,
    columns,
    ...key,
    overridesIdentity: target.columns.some((column) => column.identity === 'a' && fed.has(column.name)),
    ...(filter !== undefined && { filter }),
    ...(scope !== undefined && { scope }),
    ...(steps !== undefined && { steps }),
    ...(children !== undefined && { explode: children }),
    existing: entry.existing,
    ...fates,
    dropped,
    unmapped: entry.unmapped,
    ...(entry.onRowError !== undefined && { onRowError: entry.onRowError }),
    ...(reverse !== undefined && { reverse }),
  };
  const policy = compileConflict(table, resolved, list);
  return policy && { ...table, ...policy };
}

/** Not built yet: rows of several tables under one id, ids beside constants, and children of rows that have ids. */
function refuseSharedKeys(tables: readonly TableMapping[], resolved: readonly ResolvedTable[], list: FindingList): void {
  for (const { from, to, columns, share, merge, explode } of tables) {
    const mapped = columns.find(({ keyMap }) => keyMap !== undefined);
    if (mapped === undefined || (share === undefined && merge === undefined && explode === undefined)) continue;
    const { entry } = resolved.find((one) => pairId({ from: one.source, to: one.to }) === pairId({ from, to }))!;
    const about = `"${mapped.target}" of ${showTable(to)} holds ids of ${mapped.keyMap!.domain}, and`;
    const place = entry.key ?? entry.explode ?? entry;
    if (explode === undefined)
      list.error(
        'CF-4001',
        `${about} ${showTable(from)} shares that table with others, which is not built yet`,
        place,
        'Give it a target of its own, or keep its keys.',
      );
    else
      list.error(
        'CF-4001',
        `${about} its rows are made of the array "${explode.name}", which is not built yet`,
        place,
        `Keep the keys of ${mapped.keyMap!.domain}, or leave its array as it is.`,
      );
  }
}

function compileRow(context: ColumnContext): CompiledColumns & { readonly explode?: Explode | undefined } {
  const { explode } = context.resolved.entry;
  return explode === undefined ? compileColumns(context) : compileExploded(context, explode);
}

/** Children that stay are rows whose deletes are ignored. */
function orphansOf({ explode }: TableEntry): Pick<TableMapping, 'deletes' | 'truncates'> {
  return explode?.orphans === 'keep' ? { deletes: 'ignore', truncates: 'ignore' } : {};
}

/** A column under a glob must exist in at least one of its tables. */
function checkColumnNames(resolved: readonly ResolvedTable[], list: FindingList): void {
  const byEntry = Map.groupBy(resolved, (one) => one.written);
  for (const [entry, group] of byEntry) {
    const sources = group.map((one) => one.source);
    const names = new Set(sources.flatMap((table) => table.columns.map((column) => column.name)));
    for (const [name, column] of Object.entries(entry.columns)) {
      if (!names.has(name)) list.error('CF-1008', `${whose(entry, sources)} no column "${name}"${didYouMean(name, names)}`, column);
    }
    checkSetNames(entry, group, list);
  }
}

/** A computed column under a glob must exist in at least one of its target tables. */
function checkSetNames(entry: TableEntry, group: readonly ResolvedTable[], list: FindingList): void {
  const targets = group.flatMap((one) => (one.target === undefined ? [] : [one.target]));
  const names = new Set(targets.flatMap((table) => table.columns.map((column) => column.name)));
  if (targets.length === 0) return;
  const whoseColumns =
    targets.length === 1 ? `${showTable(targets[0]!)} of the target has` : `the ${targets.length} target tables of ${entry.from} have`;
  for (const [name, set] of Object.entries(entry.set ?? {})) {
    if (!names.has(name)) list.error('CF-1008', `${whoseColumns} no column "${name}"${didYouMean(name, names)}`, set);
  }
}

function whose(entry: TableEntry, sources: readonly CatalogTable[]): string {
  return sources.length === 1
    ? `${showTable(sources[0]!)} of the source has`
    : `the ${sources.length} tables that ${entry.from} matches have`;
}

function reportUnlogged({ source, entry }: ResolvedTable, list: FindingList): void {
  const remedy = `Exclude it, or run on the source: ALTER TABLE ${quoteTable(source)} SET LOGGED;`;
  list.error('CF-2008', `${showTable(source)} is unlogged: its changes are not in the stream`, entry, remedy);
}

function reportUnnamed({ source, entry }: ResolvedTable, list: FindingList): void {
  const remedy = 'Nothing is to be done, or give the table a primary key on both sides.';
  list.warning('CF-4003', `${showTable(source)} has no key: a row that the target refuses halts it all the same`, entry, remedy);
}

/** Only what changes a row's target form: a comment or the order of entries in the file changes nothing. */
export function hashTables(tables: readonly TableMapping[]): string {
  const relevant = tables
    .toSorted((a, b) => (pairId(a) < pairId(b) ? -1 : 1))
    .map(({ from, to, columns, sourceKey, targetKey, filter, redis, share, merge, steps, deletes, truncates, explode }) => [
      [from.schema, from.name],
      [to.schema, to.name],
      columns.map((column) => [
        column.source.name,
        column.source.type,
        column.target,
        column.targetType,
        column.cast?.fromType ?? '',
        column.cast?.sql ?? '',
      ]),
      sourceKey,
      targetKey,
      filter?.conditions.map(({ column, op, values }) => [column, op, values.toSorted(byText)]).toSorted(byText) ?? [],
      ...(redis === undefined ? [] : [[redis.key.text, redis.form, redis.sets.map(({ text }) => text)]]),
      ...(steps === undefined ? [] : [steps.digest]),
      ...(deletes === undefined && truncates === undefined ? [] : [{ deletes, truncates }]),
      ...(share === undefined ? [] : [share.map(({ target }) => target)]),
      ...(explode === undefined ? [] : [relevantOf(explode)]),
      ...(merge === undefined ? [] : [[merge.witness, merge.others]]),
    ]);
  return createHash('sha256').update(JSON.stringify(relevant)).digest('hex');
}

function relevantOf({ array, name, parts, ordinal, key }: Explode): unknown {
  const made = parts.map(({ target, targetType, path, source, cast }) => [target, targetType, path ?? null, source.type, cast?.sql ?? '']);
  return { array, name, made, ordinal: ordinal?.target, key };
}

function byText(a: unknown, b: unknown): number {
  return String(a) < String(b) ? -1 : 1;
}
