/**
 * Keys and replica identity of one table. Guarantee: without a finding, the stream identifies every changed row as the mapping
 * expects, two source keys never become one target key, and the target has a unique index to conflict on.
 */
import {
  identityColumns,
  quoteIdent,
  quoteTable,
  type CatalogColumn,
  type CatalogKey,
  type CatalogTable,
  type ReplicaIdentity,
} from '../table.ts';
import type { ColumnMapping, RowFilter, ShareColumn } from './compiled-mapping.ts';
import type { FindingList } from './finding-list.ts';
import { mayBeLeftOut } from './left-out.ts';
import type { ResolvedTable } from './resolve-tables.ts';
import { shareOf } from './share.ts';
import { showTable } from './table-pattern.ts';
import type { TableSteps } from './steps/table-steps.ts';
import { fitTypes, type TypeWorld } from './type-fit.ts';

export interface KeyInput {
  readonly resolved: ResolvedTable & { readonly target: CatalogTable };
  readonly columns: readonly ColumnMapping[];
  readonly steps: TableSteps | undefined;
  readonly filter: RowFilter | undefined;
  readonly world: TypeWorld;
  readonly list: FindingList;
  /** Rows of the target are children of the source's row: its key alone is not to be unique there. */
  readonly isExploded: boolean;
  /** False when a column was already reported: a key column that is missing for that reason is not reported again. */
  readonly columnsFit: boolean;
}

export interface CompiledKey {
  readonly sourceKey: readonly string[];
  readonly targetKey: readonly string[];
  /** Constants that stand beside it in the target's key. */
  readonly share?: readonly ShareColumn[];
}

/** Undefined when the mapping has no usable key (reported). */
export function compileKey(input: KeyInput): CompiledKey | undefined {
  const { source } = input.resolved;
  const sourceKey = identityColumns(source) ?? [];
  checkIdentity(input, sourceKey);
  const targetKey: string[] = [];
  for (const name of sourceKey) {
    const mapped = input.columns.find((column) => column.source.name === name);
    if (mapped === undefined) {
      reportUnmapped(name, input);
      return undefined;
    }
    checkInjective(mapped, input);
    targetKey.push(mapped.target);
  }
  const share = targetKey.length > 0 && !input.isExploded ? checkTargetIndex(targetKey, input) : undefined;
  if (input.steps !== undefined) warnOfComputedKey(input.steps, sourceKey, input);
  return { sourceKey, targetKey, ...(share !== undefined && { share }) };
}

function reportUnmapped(name: string, { resolved, list, columnsFit }: KeyInput): void {
  const entry = Object.hasOwn(resolved.entry.columns, name) ? resolved.entry.columns[name] : undefined;
  if (entry?.drop !== true && !columnsFit) return;
  const computed = resolved.entry.set === undefined ? undefined : Object.values(resolved.entry.set).find(({ from }) => from.includes(name));
  if (entry === undefined && computed !== undefined) {
    const remedy = `Give the target a column for it, and map \`${name}\` under columns.`;
    list.error('CF-4001', `key column "${name}" of ${showTable(resolved.source)} is only used to compute other columns`, computed, remedy);
    return;
  }
  list.error(
    'CF-4001',
    `key column "${name}" of ${showTable(resolved.source)} is not mapped`,
    entry ?? resolved.entry,
    'A row is found on the target by its key: map every column of it.',
  );
}

/** A cast of a key column may make two keys one; only those that the type rules call lossless pass, and any text form. */
function checkInjective(mapped: ColumnMapping, { resolved, world, list }: KeyInput): void {
  if (mapped.cast === undefined || mapped.keyMap !== undefined || mapped.targetType === 'text') return;
  const target = resolved.target.columns.find((column) => column.name === mapped.target);
  if (target !== undefined && (fitTypes(mapped.source, target, world).kind !== 'no' || areWhole(mapped.source, target))) return;
  const entry = resolved.entry.columns[mapped.source.name];
  const message = `key column "${mapped.source.name}" of ${showTable(resolved.source)} cannot be cast to ${mapped.targetType}: two keys could become one`;
  list.error(
    'CF-4001',
    message,
    entry ?? resolved.entry,
    `Give the target's key column the type ${mapped.source.type}, a wider one, or text.`,
  );
}

const WHOLE: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint']);

/** One that is too large is refused, and no other becomes another. */
function areWhole(source: CatalogColumn, target: CatalogColumn): boolean {
  return WHOLE.has(source.baseType) && WHOLE.has(target.baseType);
}

/** @returns the constants that the target's key needs besides, where it has none on these columns alone. */
function checkTargetIndex(targetKey: readonly string[], input: KeyInput): readonly ShareColumn[] | undefined {
  const { resolved, list } = input;
  const { source, target, entry } = resolved;
  const wanted = targetKey.toSorted().join('\0');
  const keys = [
    ...(target.primaryKey === undefined ? [] : [target.primaryKey]),
    ...target.uniqueKeys,
    ...(target.nullableUniqueKeys ?? []),
  ];
  const fitting = keys.filter((key) => key.columns.toSorted().join('\0') === wanted);
  if (fitting.some((key) => key.inexact !== true || sourceIsInexact(source))) return undefined;
  const share = fitting.length > 0 ? undefined : shareOf(targetKey, input, target);
  if (share !== undefined) return share;
  const columns = targetKey.map(quoteIdent).join(', ');
  if (fitting.length > 0) {
    const message = `the unique index of ${showTable(target)} on (${columns}) has a nondeterministic collation, so two source keys could be one`;
    list.error('CF-4001', message, entry.toPlace ?? entry, "Give the target's key columns a deterministic collation.");
    return undefined;
  }
  const own = target.primaryKey === undefined ? 'no primary key' : `the primary key (${target.primaryKey.columns.join(', ')})`;
  const message = `${showTable(target)} has no unique index on exactly (${columns}), the key of ${showTable(source)}; it has ${own}`;
  const remedy = `Run on the target: CREATE UNIQUE INDEX ON ${quoteTable(target)} (${columns});${shorterKey(input, targetKey)}`;
  list.error('CF-4001', message, entry.toPlace ?? entry, remedy);
  return undefined;
}

/** Where the target's key is a part of the source's, that part may be the one that tells the source's rows apart. */
function shorterKey({ resolved: { source, target }, columns }: KeyInput, targetKey: readonly string[]): string {
  const key = target.primaryKey?.columns ?? [];
  const from = key.map((name) => columns.find((column) => column.target === name)?.source);
  if (source.kind !== 'r' || key.length === 0 || !key.every((name) => targetKey.includes(name))) return '';
  const names = from.flatMap((column) => (column?.notNull === true ? [quoteIdent(column.name)] : []));
  if (names.length < key.length) return '';
  const index = quoteIdent(`${source.name.slice(0, INDEX_STEM_MAX)}_identity`);
  const sql = `CREATE UNIQUE INDEX ${index} ON ${quoteTable(source)} (${names.join(', ')}); ALTER TABLE ${quoteTable(source)} REPLICA IDENTITY USING INDEX ${index};`;
  return ` Or, where (${names.join(', ')}) alone tells the rows of ${showTable(source)} apart, on the source: ${sql}`;
}

/** Characters of a table's name that fit into an index's, also at four bytes each. */
const INDEX_STEM_MAX = 13;

function sourceIsInexact(source: CatalogTable): boolean {
  const key = source.replicaIdentity === 'i' ? source.identityKey : source.primaryKey;
  return key?.inexact === true;
}

/** A primary key that is computed is to be a function of the source's key, of all of it. */
function warnOfComputedKey(steps: TableSteps, sourceKey: readonly string[], { resolved, columns, list }: KeyInput): void {
  const { source, target, entry } = resolved;
  const key = target.primaryKey?.columns ?? [];
  const computed = steps.computed.filter((one) => key.includes(one.target));
  if (computed.length === 0) return;
  const made = new Set(computed.flatMap(({ from }) => from.map((i) => steps.inputs[i]!.name)));
  for (const { target: name, source: column } of columns) if (key.includes(name)) made.add(column.name);
  const lacking = sourceKey.find((name) => !made.has(name));
  const other = computed.flatMap(({ from }) => from.map((i) => steps.inputs[i]!.name)).find((name) => !sourceKey.includes(name));
  const about = `the primary key of ${showTable(target)} is computed`;
  const place = entry.set?.[computed[0]!.target] ?? entry;
  const remedy = `Compute it from (${sourceKey.join(', ')}), the key of ${showTable(source)}.`;
  if (lacking !== undefined)
    list.warning('CF-4001', `${about} without "${lacking}": a second row with the same key would be refused`, place, remedy);
  if (other !== undefined)
    list.warning('CF-4001', `${about} from "${other}" too: it changes with it, and what refers to it does not`, place, remedy);
}

interface Member {
  readonly schema: string;
  readonly name: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly identityKey?: CatalogKey;
}

/** What the stream tells of a changed row is decided by each leaf on its own: the setting is not inherited. */
function checkIdentity(input: KeyInput, sourceKey: readonly string[]): void {
  const { source, entry } = input.resolved;
  const needsFull = sourceKey.length === 0 ? 'it has no primary key' : (filterNeedsFull(input) ?? stepsNeedFull(input, sourceKey));
  const members: readonly Member[] = source.kind === 'p' ? [source, ...source.leaves] : [source];
  const unique = source.uniqueKeys[0];
  const statements: string[] = [];
  let reason = '';
  for (const member of members) {
    const problem = identityProblem(member, source, { sourceKey, needsFull });
    if (problem === undefined) continue;
    reason = reason || `${showTable(member)}: ${problem}`;
    statements.push(`ALTER TABLE ${quoteTable(member)} REPLICA IDENTITY ${needsFull === undefined ? identityClause(source) : 'FULL'};`);
  }
  if (statements.length === 0) return;
  const sql =
    statements.length > LEAVES_SHOWN
      ? [...statements.slice(0, LEAVES_SHOWN), `-- and ${statements.length - LEAVES_SHOWN} more`]
      : statements;
  const byIndex = sourceKey.length === 0 && unique !== undefined && source.kind === 'r' && unique.inexact !== true;
  const remedy = byIndex
    ? `Run on the source: ALTER TABLE ${quoteTable(source)} REPLICA IDENTITY USING INDEX ${quoteIdent(unique.indexName)};`
    : `Run on the source: ${sql.join(' ')}`;
  input.list.error('CF-2008', reason, entry, remedy);
}

/** Statements of one remedy; a tree of a thousand leaves must not fill the terminal. */
const LEAVES_SHOWN = 50;

function identityClause(source: CatalogTable): string {
  return source.replicaIdentity === 'i' && source.identityKey !== undefined && source.kind === 'r'
    ? `USING INDEX ${quoteIdent(source.identityKey.indexName)}`
    : source.primaryKey === undefined
      ? 'FULL'
      : 'DEFAULT';
}

interface Wanted {
  readonly sourceKey: readonly string[];
  readonly needsFull: string | undefined;
}

function identityProblem(member: Member, source: CatalogTable, { sourceKey, needsFull }: Wanted): string | undefined {
  if (member.replicaIdentity === 'f') return undefined;
  if (needsFull !== undefined) {
    // A root streams nothing of its own; its setting matters only where it is also the identity that leaves are compared with.
    return member === source && source.kind === 'p' ? undefined : `${needsFull}, so its replica identity must be FULL`;
  }
  if (member.replicaIdentity === 'n') {
    return member === source && source.kind === 'p'
      ? undefined
      : 'its replica identity is NOTHING, so updates and deletes cannot be replicated';
  }
  const own = member.replicaIdentity === 'i' ? member.identityKey?.columns : source.primaryKey?.columns;
  const same = own !== undefined && own.toSorted().join('\0') === sourceKey.toSorted().join('\0');
  return same ? undefined : `its replica identity is not (${sourceKey.join(', ')}), the key of ${showTable(source)}`;
}

/** A row that enters the filter by an update must come whole, also with values that the update left alone. */
function filterNeedsFull({ filter, columns, steps, resolved }: KeyInput): string | undefined {
  if (filter === undefined) return undefined;
  const filtered = new Set(filter.conditions.map((condition) => condition.column));
  const long = resolved.source.columns.find(
    (column) =>
      mayBeLeftOut(column) &&
      (filtered.has(column.name) || columns.some((mapped) => mapped.source.name === column.name) || steps?.inputs.includes(column)),
  );
  return long === undefined ? undefined : `it has a row filter, and "${long.name}" may be left out of an update (unchanged TOAST)`;
}

/**
 * What is made of several columns cannot be made anew when one of them changes and another is left out. A key is short enough to be written
 * with its row; one that is not is refused with its row.
 */
function stepsNeedFull({ steps }: KeyInput, sourceKey: readonly string[]): string | undefined {
  for (const { target, from } of steps?.computed ?? []) {
    const long =
      from.length > 1
        ? from.map((i) => steps!.inputs[i]!).find((column) => mayBeLeftOut(column) && !sourceKey.includes(column.name))
        : undefined;
    if (long !== undefined)
      return `"${target}" is made of several columns, and "${long.name}" may be left out of an update (unchanged TOAST)`;
  }
  return undefined;
}
