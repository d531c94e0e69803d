/** What is flipped: the two sides of a migration as fences, markers and gates need them. Guarantee: pure. */
import type { FencedTable, NameSwap, SequenceStart, SequenceValue, TableName } from '#connectors/fence/fence.ts';
import type { CutoverEntry, MigrationFile } from '#schemas/config/migration-file.ts';
import { cutoverOf } from '#schemas/config/cutover-schema.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { asNamed, swappedNames } from '#schemas/mapping/renames.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { quoteTable } from '#schemas/table.ts';
import type { FlipSettings } from '../flip/settings.ts';

/** The reverse direction, where there is one. */
export interface ReverseDirection {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
}

export interface FlippedMigration {
  readonly file: MigrationFile;
  readonly name: string;
  readonly mapping: CompiledMapping;
  readonly reverse: ReverseDirection | undefined;
  readonly urls: Readonly<Record<Side, string>>;
  readonly tables: Readonly<Record<Side, readonly FencedTable[]>>;
  /** Of each side, for its fence. Absent: the sides do not exchange their names. */
  readonly swap?: Readonly<Record<Side, NameSwap>>;
  readonly cutover: CutoverEntry;
  readonly settings: FlipSettings;
}

/** @throws PipelineError where the target is no PostgreSQL */
export function flippedMigration(file: MigrationFile, mapping: CompiledMapping, reverse: ReverseDirection | undefined): FlippedMigration {
  const cutover = cutoverOf(file);
  const tables = { source: tablesOf(mapping, 'from'), target: tablesOf(mapping, 'to') };
  return {
    file,
    name: file.name,
    mapping,
    reverse,
    urls: { source: file.source.postgres, target: postgresTarget(file, 'cutover') },
    tables,
    ...(cutover.strategy === 'rename-swap' && { swap: swapOf(mapping, tables) }),
    cutover,
    settings: {
      lockTimeoutMs: cutover.lockTimeout,
      attempts: cutover.attempts,
      drainTimeoutMs: cutover.drainTimeout,
      compareTimeoutMs: cutover.compareTimeout,
      blockBudgetMs: cutover.blockBudget,
      finishTimeoutMs: cutover.finishTimeout,
      fencesTarget: cutover.fenceTarget,
    },
  };
}

/** Who loses the names comes by them: each side's fence brings about how the tables stand when the other one serves. */
function swapOf(mapping: CompiledMapping, tables: Readonly<Record<Side, readonly TableName[]>>): Readonly<Record<Side, NameSwap>> {
  const standing = mapping.renamed?.renames ?? [];
  return {
    source: { others: tables.target, standing, next: swappedNames(asNamed(mapping)) },
    target: { others: tables.source, standing, next: [] },
  };
}

function tablesOf({ tables }: CompiledMapping, end: 'from' | 'to'): FencedTable[] {
  return [...new Map(tables.map((table) => [quoteTable(table[end]), fencedTable(table, end)])).values()];
}

/**
 * Of a wave all rows of its units: also those that another condition of the file leaves where they are. On the target no row changes its unit, since the other one may be
 * written on the source; on the source none does whose key would stay the same.
 */
function fencedTable({ scope, filter, ...table }: TableMapping, end: 'from' | 'to'): FencedTable {
  const { schema, name } = table[end];
  if (scope === undefined) return { schema, name };
  const conditions = filter!.conditions.filter(({ column }) => column === scope.by);
  if (end === 'to') return { schema, name, rows: scope.rows, keepsUnits: true };
  return { schema, name, rows: { conditions }, keepsUnits: table.sourceKey.length > 0 && !table.sourceKey.includes(scope.by) };
}

/** Name of the pipeline that brings changes away from a side: its slot, and its progress on the other one. Undefined: there is none. */
export function pipelineName({ name, reverse }: Pick<FlippedMigration, 'name' | 'reverse'>, from: Side): string | undefined {
  return from === 'source' ? name : reverse?.file.name;
}

/**
 * What each sequence of a side has to be beyond: of every mapped column the values of the other side's column, where it has a sequence. Columns without
 * one are named, too: whoever sets them knows which have.
 */
export function sequenceStarts(
  { mapping }: Pick<FlippedMigration, 'mapping'>,
  to: Side,
  values: readonly SequenceValue[],
): SequenceStart[] {
  return mapping.tables.flatMap((table) => columnPairs(table).map((pair) => startOf(table, pair, { to, values })));
}

interface ColumnPair {
  readonly source: string;
  readonly target: string;
}

function columnPairs({ columns }: TableMapping): ColumnPair[] {
  return columns.map(({ source, target }) => ({ source: source.name, target }));
}

function startOf(
  table: TableMapping,
  pair: ColumnPair,
  { to, values }: { readonly to: Side; readonly values: readonly SequenceValue[] },
): SequenceStart {
  const ends = { source: table.from, target: table.to };
  const from = otherSide(to);
  const theirs = { schema: ends[from].schema, name: ends[from].name, column: pair[from] };
  const found = values.find(({ columns }) =>
    columns.some(({ schema, name, column }) => schema === theirs.schema && name === theirs.name && column === theirs.column),
  );
  return { column: { schema: ends[to].schema, name: ends[to].name, column: pair[to] }, from: found };
}
