/**
 * CREATE statements for target tables that are missing (`check --ddl`). Guarantee: built from the catalogue's own spelling, renames,
 * casts and dropped columns of the file applied; what cannot be carried over faithfully stands there as a comment, never silently left
 * out. It is a draft for the schema migration tool of the target's owner: nothing of ours runs it.
 */
import type { ExplodeEntry, MigrationFile, TableEntry } from '../config/migration-file.ts';
import {
  identityColumns,
  quoteIdent,
  quoteLiteral,
  quoteTable,
  type Catalog,
  type CatalogColumn,
  type CatalogForeignKey,
} from '../table.ts';
import { tableId } from './compiled-mapping.ts';
import { createExtensions, createTypes } from './ddl-types.ts';
import { FindingList } from './finding-list.ts';
import { resolveTables, type ResolvedTable } from './resolve-tables.ts';
import { soleKey, traceOf } from './surrogate-entry.ts';
import { SurrogateKeys } from './surrogate-keys.ts';
import { showTable } from './table-pattern.ts';
import { underDomain } from './type-fit.ts';
import { parseTypeName } from './type-name.ts';

export interface DdlDraft {
  /** Empty when no table is missing. */
  readonly sql: string;
  readonly tables: readonly { readonly schema: string; readonly name: string }[];
}

export function draftMissingTables(file: MigrationFile, source: Catalog, target: Catalog): DdlDraft {
  const resolved = resolveTables(file, source, target, new FindingList(file.path));
  // Of several that share one, the first says what it looks like.
  const missing = resolved.filter(
    (one, i) => one.target === undefined && resolved.findIndex(({ to }) => tableId(to) === tableId(one.to)) === i,
  );
  if (missing.length === 0) return { sql: '', tables: [] };
  const keys = new SurrogateKeys(file.name, resolved, new FindingList(file.path));
  const columns = plain(missing).flatMap((one) => keptColumns(one));
  const schemas = new Set(missing.map((one) => one.to.schema));
  const parts = [
    "-- Drafted by `crossfade check --ddl` from the source's catalogue. Read it before you run it on the target.",
    '-- Indexes that are not unique, triggers, grants and comments are not in it.',
    ...[...schemas]
      .filter((schema) => !target.schemas.includes(schema))
      .map((schema) => `CREATE SCHEMA IF NOT EXISTS ${quoteIdent(schema)};`),
    ...createExtensions(columns, source, target),
    ...createTypes(columns, source, target),
    ...missing.map((one) => createTable(one, { target, keys })),
    ...foreignKeys(missing, resolved),
  ];
  return { sql: `${parts.join('\n\n')}\n`, tables: missing.map((one) => one.to) };
}

function entryOf(entry: TableEntry, name: string): TableEntry['columns'][string] | undefined {
  return Object.hasOwn(entry.columns, name) ? entry.columns[name] : undefined;
}

function keptColumns({ source, entry }: ResolvedTable): CatalogColumn[] {
  return source.columns.filter((column) => entryOf(entry, column.name)?.drop !== true);
}

function targetName(entry: TableEntry, name: string): string {
  return entryOf(entry, name)?.to ?? name;
}

/** Expressions name columns: with one renamed or dropped they no longer fit. */
function keepsNames({ source, entry }: ResolvedTable): boolean {
  return source.columns.every((column) => {
    const own = entryOf(entry, column.name);
    return own === undefined || (!own.drop && (own.to ?? column.name) === column.name);
  });
}

/** Children of a row: its key, and what the file names of the elements. */
function createChildTable({ source, entry, to }: ResolvedTable, { parts, ordinal, array }: ExplodeEntry): string {
  const own = (column: CatalogColumn): string => quoteIdent(targetName(entry, column.name));
  const keys = source.columns.filter(({ name }) => identityColumns(source)?.includes(name) === true);
  const column = source.columns.find(({ name }) => name === array);
  const element = column?.type.endsWith('[]') === true ? column.type.replace(/(?:\[\])+$/, '') : 'text';
  const lines = [
    ...keys.map((key) => `${own(key)} ${columnType(key, entry)} NOT NULL`),
    ...parts.map(
      ({ field, to: name, cast }) =>
        `${quoteIdent(name)} ${cast !== undefined && parseTypeName(cast) !== undefined ? cast.trim() : field === undefined ? element : 'text'}`,
    ),
    ...(ordinal === undefined ? [] : [`${quoteIdent(ordinal.to)} integer NOT NULL`]),
  ];
  const told = ordinal?.to ?? parts[0]?.to;
  if (told !== undefined) lines.push(`PRIMARY KEY (${[...keys.map(own), quoteIdent(told)].join(', ')})`);
  return `-- ${showTable(to)}: choose what tells the elements of one row apart\nCREATE TABLE ${quoteTable(to)} (\n  ${lines.join(',\n  ')}\n);`;
}

function createTable(one: ResolvedTable, { target, keys }: Pick<LineContext, 'target' | 'keys'>): string {
  const { source, to } = one;
  if (one.entry.explode !== undefined) return createChildTable(one, one.entry.explode);
  const lines: string[] = [];
  const notes: string[] = [];
  for (const column of keptColumns(one)) {
    const line = columnLine(column, one, { target, keys, notes });
    if (line !== undefined) lines.push(line);
  }
  lines.push(...traceLines(one), ...markLines(one.entry));
  const kept = new Set(keptColumns(one).map((column) => column.name));
  const list = (columns: readonly string[]): string => columns.map((name) => quoteIdent(targetName(one.entry, name))).join(', ');
  const whole = (columns: readonly string[]): boolean => columns.every((name) => kept.has(name));
  const { primaryKey } = source;
  if (primaryKey !== undefined && whole(primaryKey.columns)) lines.push(`PRIMARY KEY (${list(primaryKey.columns)})`);
  for (const key of [...source.uniqueKeys, ...(source.nullableUniqueKeys ?? [])])
    if (whole(key.columns)) lines.push(`UNIQUE (${list(key.columns)})`);
  for (const check of source.checks ?? []) {
    if (keepsNames(one) && !callsUserFunction(check.definition)) lines.push(`CONSTRAINT ${quoteIdent(check.name)} ${check.definition}`);
    else notes.push(`check ${quoteIdent(check.name)} is not carried over: ${check.definition}`);
  }
  if (source.partitionKey !== undefined) notes.push(`partitioned on the source: PARTITION BY ${source.partitionKey}`);
  const comments = notes.map((note) => `-- ${showTable(to)}: ${note.replaceAll(/\s+/g, ' ')}\n`).join('');
  return `${comments}CREATE TABLE ${quoteTable(to)} (\n  ${lines.join(',\n  ')}\n);`;
}

/** The old key, where it is kept beside the id. */
function traceLines({ source, entry, written }: ResolvedTable): string[] {
  const key = written.key === undefined ? undefined : source.columns.find(({ name }) => name === soleKey(source));
  const trace = key && traceOf({ entry: written, source });
  return trace === undefined || entry.set?.[trace] === undefined ? [] : [`${quoteIdent(trace)} ${key!.type} NOT NULL`];
}

/** Columns that tell which rows are deleted. */
function markLines({ deletes }: TableEntry): string[] {
  if (deletes?.mode !== 'soft') return [];
  const { flag, at } = deletes;
  const lines = at === undefined ? [] : [`${quoteIdent(at)} timestamp with time zone`];
  if (flag === undefined) return lines;
  const { column, value, alive } = flag;
  const isFlag = (value === 'true' || value === 'false') && (alive === undefined || alive === 'true' || alive === 'false');
  const living = alive ?? (isFlag ? String(value !== 'true') : undefined);
  const rest = living === undefined ? '' : ` NOT NULL DEFAULT ${isFlag ? living : quoteLiteral(living)}`;
  return [`${quoteIdent(column)} ${isFlag ? 'boolean' : 'text'}${rest}`, ...lines];
}

interface LineContext {
  readonly target: Catalog;
  readonly keys: SurrogateKeys;
  readonly notes: string[];
}

function columnLine(column: CatalogColumn, one: ResolvedTable, { target, keys, notes }: LineContext): string | undefined {
  const name = quoteIdent(targetName(one.entry, column.name));
  const ids = keys.idsOf(one, column.name);
  if (ids !== undefined) return `${name} ${ids.type}${ids.isOwn ? ' GENERATED BY DEFAULT AS IDENTITY' : column.notNull ? ' NOT NULL' : ''}`;
  if (column.generated !== '') return generatedLine(column, one, { target, notes });
  const parts = [name, columnType(column, one.entry)];
  if (column.collation !== undefined) {
    if (column.collation.startsWith('pg_catalog.')) parts.push(`COLLATE ${column.collation}`);
    else notes.push(`${name} has COLLATE ${column.collation} on the source`);
  }
  if (column.notNull) parts.push('NOT NULL');
  const fromSequence = column.defaultSql?.startsWith('nextval(') === true;
  const recast = entryOf(one.entry, column.name)?.cast !== undefined;
  if (column.identity !== '' || (fromSequence && isWholeNumber(column) && !recast)) {
    const always = column.identity === 'a' && one.source.primaryKey?.columns.includes(column.name) === true;
    parts.push(`GENERATED ${always ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY`);
  } else if (column.defaultSql !== undefined) {
    if (fromSequence || recast || callsUserFunction(column.defaultSql))
      notes.push(`${name} has DEFAULT ${column.defaultSql} on the source`);
    else parts.push(`DEFAULT ${column.defaultSql}`);
  }
  return parts.join(' ');
}

function generatedLine(column: CatalogColumn, one: ResolvedTable, { target, notes }: Omit<LineContext, 'keys'>): string | undefined {
  const expression = column.defaultSql ?? '';
  if (!keepsNames(one) || callsUserFunction(expression)) {
    notes.push(`${quoteIdent(column.name)} is not carried over: GENERATED ALWAYS AS (${expression})`);
    return undefined;
  }
  // Virtual ones exist from 18 on.
  const kind = column.generated === 'v' && target.serverVersion >= 180_000 ? 'VIRTUAL' : 'STORED';
  return `${quoteIdent(column.name)} ${column.type} GENERATED ALWAYS AS (${expression}) ${kind}`;
}

function isWholeNumber(column: CatalogColumn): boolean {
  return ['smallint', 'integer', 'bigint'].includes(column.type);
}

const MOVED_ZONE: Readonly<Record<string, string>> = {
  'timestamp without time zone': 'timestamp with time zone',
  'timestamp with time zone': 'timestamp without time zone',
};

function columnType(column: CatalogColumn, entry: TableEntry): string {
  const own = entryOf(entry, column.name);
  if (own?.zone !== undefined) return MOVED_ZONE[underDomain(column).baseType] ?? column.type;
  // Only text that is a type name gets into the draft.
  return own?.cast !== undefined && parseTypeName(own.cast) !== undefined ? own.cast.trim() : column.type;
}

/** Built-in functions stand without a schema; one with a schema belongs to the source's application. */
function callsUserFunction(expression: string): boolean {
  return /(?:"(?:[^"]|"")+"|[\w$]+)\.(?:"(?:[^"]|"")+"|[\w$]+)\s*\(/u.test(expression.replaceAll(/'(?:[^']|'')*'/g, "''"));
}

/** Without tables of children, whose parent's foreign keys are not theirs. */
function plain(tables: readonly ResolvedTable[]): readonly ResolvedTable[] {
  return tables.filter(({ entry }) => entry.explode === undefined);
}

function foreignKeys(missing: readonly ResolvedTable[], all: readonly ResolvedTable[]): string[] {
  // Of a table that goes to several the first one takes its place.
  const bySource = new Map(
    plain(all)
      .toReversed()
      .map((one) => [tableId(one.source), one]),
  );
  const statements = plain(missing).flatMap((one) =>
    one.source.foreignKeys.map((key) => foreignKey(one, key, bySource.get(tableId({ schema: key.toSchema, name: key.toTable })))),
  );
  if (statements.length === 0) return [];
  return [
    '-- Foreign keys. With them in place the sink needs the right to SET session_replication_role, or it applies parents first.',
    statements.join('\n'),
  ];
}

function foreignKey(from: ResolvedTable, key: CatalogForeignKey, to: ResolvedTable | undefined): string {
  const dropped = (one: ResolvedTable, columns: readonly string[]): boolean =>
    columns.some((name) => entryOf(one.entry, name)?.drop === true);
  if (to === undefined || dropped(from, key.columns) || dropped(to, key.toColumns)) {
    return `-- ${showTable(from.to)}: foreign key ${quoteIdent(key.name)} is not carried over: ${key.definition ?? ''}`;
  }
  const list = (one: ResolvedTable, columns: readonly string[]): string =>
    columns.map((name) => quoteIdent(targetName(one.entry, name))).join(', ');
  const actions = /REFERENCES (?:"(?:[^"]|"")+"|[^("])+\((?:"(?:[^"]|"")+"|[^)"])*\)(.*)$/s.exec(key.definition ?? '')?.[1] ?? '';
  return `ALTER TABLE ${quoteTable(from.to)} ADD FOREIGN KEY (${list(from, key.columns)}) REFERENCES ${quoteTable(to.to)} (${list(to, key.toColumns)})${actions};`;
}
