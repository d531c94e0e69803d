/**
 * Compiled mapping and catalogues → plan. Guarantee: pure; every table that is moved, every column that is not, and every table that is left
 * out stands in it.
 */
import type { FilterEntry, MigrationFile, SchemaStepEntry } from '../config/migration-file.ts';
import type { ShadowEntry } from '../config/shadow-entry.ts';
import type { Finding } from '../errors.ts';
import { markedColumns } from '../mapping/compile-deletes.ts';
import { tableId, type CompiledMapping, type TableMapping } from '../mapping/compiled-mapping.ts';
import { likelyPersonal } from '../mapping/personal-kind.ts';
import { swapsNames } from '../mapping/renames.ts';
import type { ResolvedTable } from '../mapping/resolve-tables.ts';
import { showTable } from '../mapping/table-pattern.ts';
import { typeWorld, type TypeWorld } from '../mapping/type-fit.ts';
import type { Catalog, CatalogOddity, CatalogTable } from '../table.ts';
import { describeColumns } from './describe-column.ts';
import { describeChildren } from './describe-exploded.ts';
import { describeFates } from './describe-fates.ts';
import { describeReverse } from './describe-reverse.ts';
import { companyOf, describeElsewhere, describeSharing, describeUnfed, type Company } from './describe-sharing.ts';
import type { PlanDocument, PlanDrop, PlanPlace, PlanSchemaStep, PlanScope, PlanShadow, PlanTable, PlanVersions } from './plan-document.ts';
import { planHash } from './plan-hash.ts';
import { LIMITS, METHOD } from './plan-terms.ts';

export interface PlanInput {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  readonly resolved: readonly ResolvedTable[];
  readonly source: Catalog;
  /** Of a Redis target the one that its mapping was compiled against. */
  readonly target: Catalog;
  readonly findings: readonly Finding[];
  readonly versions: Omit<PlanVersions, 'grammar'>;
}

export function buildPlan({ file, mapping, resolved, source, target, findings, versions }: PlanInput): PlanDocument {
  const byPair = new Map(resolved.map((one) => [pairOf(one.source, one.to), one]));
  const world = typeWorld(source, target);
  const tables = mapping.tables
    .map((table) =>
      describeTable(table, { resolved: byPair.get(pairOf(table.from, table.to))!, world, company: companyOf(table, mapping.tables) }),
    )
    .toSorted((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1));
  return {
    name: file.name,
    hash: planHash(file, mapping),
    mappingHash: mapping.hash,
    versions: { ...versions, grammar: 1 },
    source: { server: serverOf(source), address: addressOf(file.source.postgres) },
    target: targetOf(file, target),
    log: logOf(file),
    slot: { budgetBytes: file.settings.slot.budgetBytes ?? null, onBudget: file.settings.slot.onBudget },
    schemaSteps: (file.schemaSteps ?? []).map(describeSchemaStep),
    ...(file.shadow !== undefined && { shadow: file.shadow.map(describeShadow) }),
    ...(file.reverse !== undefined && { reverse: file.reverse }),
    scope: scopeOf(tables, source, { mapping, isOneDatabase: swapsNames(file) }),
    tables,
    warnings: findings.filter(({ severity }) => severity === 'warning').map(({ code, message, remedy }) => ({ code, message, remedy })),
    method: METHOD[file.target.redis === undefined ? 'postgres' : 'redis'],
    limits: LIMITS,
  };
}

type TableName = Parameters<typeof tableId>[0];

function pairOf(from: TableName, to: TableName): string {
  return JSON.stringify([tableId(from), tableId(to)]);
}

export function serverOf({ serverVersion }: Pick<Catalog, 'serverVersion'>): string {
  return `PostgreSQL ${Math.floor(serverVersion / 10_000)}.${serverVersion % 10_000}`;
}

/** Host, port and database: neither user nor password, nor what settings may hold. */
export function addressOf(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

function targetOf({ target }: MigrationFile, catalog: Catalog): PlanPlace {
  if (target.redis === undefined) return { server: serverOf(catalog), address: addressOf(target.postgres) };
  return { server: target.redis.cluster ? 'Redis Cluster' : 'Redis', address: addressOf(target.redis.url) };
}

function logOf({ settings }: MigrationFile): string {
  const { kafka } = settings.log;
  if (kafka === undefined) return 'embedded, in the data directory';
  return `Kafka, values as ${kafka.format}${kafka.input === undefined ? '' : ', rows from the topics of a Debezium connector'}`;
}

function describeSchemaStep({ name, up, down, verify, fromEnvironment }: SchemaStepEntry): PlanSchemaStep {
  const show = (sql: string): string => (fromEnvironment === true ? 'from the environment' : sql);
  return { name, up: show(up), down: show(down), verify: show(verify) };
}

function describeShadow({ name, sql, fromEnvironment, ...entry }: ShadowEntry): PlanShadow {
  const show = (text: string): string => (fromEnvironment === true ? 'from the environment' : text.trim());
  const { amount, unit } = entry.tolerance;
  const rules = [
    entry.ordered ? 'in the same order' : 'in any order',
    ...(entry.ignore.length > 0 ? [`without ${entry.ignore.join(', ')}`] : []),
    ...(Number(amount) > 0 ? [`numbers within ${amount}${unit === 'percent' ? ' %' : ''}`] : []),
    ...(entry.parameters.length > 1 ? [`${entry.parameters.length} sets of parameters`] : []),
    `at most ${entry.timing.tolerancePercent} % slower`,
  ];
  return { name, source: show(sql.source), target: show(sql.target), rules: rules.join(', ') };
}

interface Moved {
  readonly mapping: CompiledMapping;
  /** Successors stand among the tables of the source. */
  readonly isOneDatabase: boolean;
}

function scopeOf(tables: readonly PlanTable[], source: Catalog, { mapping, isOneDatabase }: Moved): PlanScope {
  const moved = new Set(mapping.tables.flatMap(({ from, to }) => (isOneDatabase ? [from, to] : [from]).map(tableId)));
  // A table is read once, wherever its columns go.
  const sources = tables.filter((table, i) => tables.findIndex(({ from }) => from === table.from) === i);
  const sum = (figure: (table: PlanTable) => number): number => sources.reduce((total, table) => total + figure(table), 0);
  return {
    tables: sources.length,
    rows: sum(({ rows }) => rows),
    bytes: sum(({ bytes }) => bytes),
    leftOut: source.tables.filter((table) => !moved.has(tableId(table)) && table.extension === undefined).map(showTable),
    notMoved: notMoved(source),
  };
}

const ODDITIES: readonly (readonly [kind: CatalogOddity['kind'], name: string])[] = [
  ['view', 'views'],
  ['materialized-view', 'materialised views'],
  ['foreign-table', 'foreign tables'],
  ['rule', 'rules of tables'],
];

function notMoved({ oddities, sequences, largeObjects }: Catalog): string[] {
  const named = ODDITIES.map(([kind, name]) => {
    const found = oddities.filter((one) => one.kind === kind);
    return found.length === 0 ? undefined : `${name}: ${found.map(showTable).join(', ')}`;
  });
  return [
    ...named.filter((line) => line !== undefined),
    ...(sequences.length === 0 ? [] : [`the state of ${sequences.length === 1 ? '1 sequence' : `${sequences.length} sequences`}`]),
    ...(largeObjects === 0 ? [] : [`${largeObjects} large objects`]),
  ];
}

interface TableInput {
  readonly resolved: ResolvedTable;
  readonly world: TypeWorld;
  readonly company: Company;
}

function describeTable(table: TableMapping, { resolved, world, company }: TableInput): PlanTable {
  const { source, entry, target } = resolved;
  const columns = table.explode === undefined ? describeColumns({ table, resolved, world }) : describeChildren({ table, resolved, world });
  const elsewhere = describeElsewhere(table, company, source);
  const moved = new Set(elsewhere.map(({ column }) => column));
  const sharing = describeSharing(table, company);
  const fed = new Set([...columns.map((column) => column.target), ...markedColumns(entry)]);
  const { redis } = table;
  return {
    from: showTable(table.from),
    to: showTable(table.to),
    rows: source.rowEstimate,
    bytes: source.bytes,
    partitions: source.leaves.length,
    key: {
      source: table.sourceKey,
      target: [...table.targetKey, ...(table.explode?.key ?? [])],
      primary: otherPrimaryKey(table, target),
      identity: identityOf(source),
    },
    columns,
    dropped: describeDrops(table, resolved, company).filter(({ column }) => !moved.has(column)),
    elsewhere,
    unfed: describeUnfed(
      (target?.columns ?? []).filter(({ name }) => !fed.has(name)),
      table,
      company,
    ),
    filter: Object.entries(entry.where ?? {}).map(([name, filter]) => describeFilter(name, filter)),
    policies: {
      existing: table.existing,
      ...describeFates(table),
      onRowError: table.onRowError ?? 'halt',
      unmapped: table.unmapped ?? 'error',
      ...(table.conflict !== undefined && { conflict: describeConflict(table.conflict) }),
    },
    ...(sharing !== undefined && { sharing }),
    ...(redis !== undefined && { redis: describeRedis(redis, entry.redis?.fromEnvironment === true) }),
    ...describeReverse(resolved),
  };
}

function describeConflict(policy: NonNullable<TableMapping['conflict']>): string {
  if (typeof policy === 'object') return `the one that is newer by "${policy.version}" stays, the source's where they are equal`;
  return policy === 'source-wins' ? "the source's stays" : "the target's stays";
}

function otherPrimaryKey({ targetKey, explode }: TableMapping, target: CatalogTable | undefined): readonly string[] {
  const primary = target?.primaryKey?.columns ?? [];
  const own = [...targetKey, ...(explode?.key ?? [])];
  return primary.toSorted().join('\0') === own.toSorted().join('\0') ? [] : primary;
}

function identityOf(source: CatalogTable): string {
  if (source.replicaIdentity === 'f') return 'the whole former row (REPLICA IDENTITY FULL)';
  return source.replicaIdentity === 'i' ? `the unique index ${source.identityKey?.indexName ?? ''}` : 'the primary key';
}

function describeDrops(table: TableMapping, { source, entry }: ResolvedTable, { siblings }: Company): PlanDrop[] {
  return table.dropped.flatMap((name): PlanDrop[] => {
    const column = source.columns.find((one) => one.name === name);
    if (column === undefined) return [];
    const declared = Object.hasOwn(entry.columns, name) && entry.columns[name]?.drop === true;
    const why =
      column.generated !== ''
        ? 'generated on the source, so not in its stream'
        : declared
          ? 'dropped by the file'
          : table.unmapped === 'error' && siblings.length > 0
            ? 'dropped by the file, in another entry for the table'
            : 'the target lacks it (unmapped: ignore)';
    const personal = likelyPersonal(column, source.name);
    return [{ column: name, type: column.type, why, ...(personal !== undefined && { personal }) }];
  });
}

function describeFilter(column: string, { op, values, fromEnvironment }: FilterEntry): string {
  const shown =
    fromEnvironment === true
      ? 'a value from the environment'
      : values.map((value) => (value === null ? 'null' : JSON.stringify(value))).join(', ');
  if (values.length === 1 || fromEnvironment === true) return `${column} ${op === 'in' ? 'is' : 'is not'} ${shown}`;
  return `${column} is ${op === 'in' ? 'one' : 'none'} of ${shown}`;
}

function describeRedis(
  { key, form, ttlSeconds, sets }: NonNullable<TableMapping['redis']>,
  hidden: boolean,
): NonNullable<PlanTable['redis']> {
  const show = (text: string): string => (hidden ? 'from the environment' : text);
  return { key: show(key.text), form, ttlSeconds: ttlSeconds ?? null, sets: sets.map(({ text }) => show(text)) };
}
