/**
 * The first migration file (`crossfade init`). Guarantee: it is a valid file of this version's grammar, its URLs are references to the
 * environment, what it declares loses nothing, and every table and column that it cannot decide about stands at its place as a question,
 * never silently left out. Tables without any question pass `check` as they stand.
 */
import { showTable } from '../mapping/table-pattern.ts';
import type { Catalog, CatalogTable } from '../table.ts';
import { draftEntries, type EntryDraft } from './init/draft-entries.ts';
import { matchTables, type OpenTable, type TableMatches } from './init/match-tables.ts';
import { ask, comment, QUESTION, renderEntry, renderGlob, scalar } from './init/render-entries.ts';
import type { MigrationFile } from './migration-file.ts';
import { NAME_LENGTH_MAX } from './file-terms.ts';
import { readMigrationFile } from './read-migration-file.ts';

export interface InitOptions {
  /** Absent: made from the source database's name. */
  readonly name?: string;
  /** Where editors find the grammar's JSON Schema, as seen from the file. */
  readonly schema?: string;
}

export interface InitFile {
  readonly text: string;
  /** Lines that begin with `# ?`. */
  readonly questions: number;
}

export function renderInitFile(source: Catalog, target: Catalog, options: InitOptions = {}): InitFile {
  const isEmpty = target.tables.length === 0;
  const against = isEmpty ? asTarget(source) : target;
  const matched = matchTables(source, against);
  const drafts = draftEntries(matched, source, against, emptyFile());
  const body = renderTables(drafts, matched, isEmpty);
  const unfed =
    isEmpty || matched.unfed.length === 0 ? [] : ['', comment(`Nothing goes to these tables of the target: ${names(matched.unfed)}`)];
  const lines = [
    'crossfade: 1',
    `name: ${options.name ?? nameFrom(source.database)}`,
    `source: { postgres: "\${SOURCE_URL}" } ${comment(`${source.database}, PostgreSQL ${versionOf(source)}`)}`,
    `target: { postgres: "\${TARGET_URL}" } ${comment(`${target.database}, PostgreSQL ${versionOf(target)}`)}`,
    'tables:',
    ...body,
    ...unfed,
  ];
  const questions = lines.filter((line) => line.trimStart().startsWith(QUESTION)).length;
  const head = [
    ...(options.schema === undefined ? [] : [comment(`yaml-language-server: $schema=${options.schema}`)]),
    ...(questions === 0
      ? []
      : [comment(`${questions === 1 ? '1 question is' : `${questions} questions are`} open: the lines that begin with "${QUESTION}".`)]),
  ];
  return { text: `${[...head, ...lines].join('\n')}\n`, questions };
}

/** An empty target gets what `check --ddl` drafts from the source. */
function asTarget(source: Catalog): Catalog {
  const tables = source.tables
    .filter((table) => table.extension === undefined)
    .map((table) => ({
      ...table,
      rowEstimate: 0,
      columns: table.columns.map((column) => (column.identity === 'a' ? { ...column, identity: 'd' as const } : column)),
    }));
  return { ...source, tables };
}

/** What the entries are compiled in. */
function emptyFile(): MigrationFile {
  const url = 'postgres://host/database';
  const text = JSON.stringify({
    crossfade: 1,
    name: 'init',
    source: { postgres: url },
    target: { postgres: url },
    tables: [{ from: '*.*' }],
  });
  return readMigrationFile({ path: 'init', text, env: {} }).file!;
}

function versionOf(catalog: Catalog): string {
  return `${Math.floor(catalog.serverVersion / 10_000)}.${catalog.serverVersion % 10_000}`;
}

function nameFrom(database: string): string {
  const plain = database
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, '_')
    .replace(/^[^a-z]+/, '');
  return plain.slice(0, NAME_LENGTH_MAX) || 'migration';
}

function names(tables: readonly CatalogTable[]): string {
  return tables.map(showTable).join(', ');
}

/** One glob for the tables of a schema that need no word, one entry for each of the others. */
function renderTables(drafts: readonly EntryDraft[], matched: TableMatches, isEmpty: boolean): string[] {
  const left = [
    ...matched.unlogged.map((table) => ({ table, question: askUnlogged(table) })),
    ...matched.open.map((open) => ({ table: open.source, question: askOpen(open) })),
  ].toSorted((a, b) => (showTable(a.table) < showTable(b.table) ? -1 : 1));
  const plain = Map.groupBy(drafts.filter(isPlain), ({ match }) => JSON.stringify([match.source.schema, match.target.schema]));
  const lines: string[] = [];
  const asked = new Set<CatalogTable>();
  for (const group of plain.values()) {
    const { source, target } = group[0]!.match;
    const exclude = left.filter(({ table }) => table.schema === source.schema && !asked.has(table));
    for (const { table } of exclude) asked.add(table);
    const from = globOf(source.schema);
    lines.push(
      ...renderGlob({
        from,
        ...(target.schema !== source.schema && { to: globOf(target.schema) }),
        note: isEmpty
          ? `${count(group.length)}, none on the target yet`
          : `${count(group.length)} ${group.length === 1 ? 'matches' : 'match'} by name`,
        exclude,
        questions: isEmpty ? [ASK_EMPTY] : askExisting(group.map(({ match }) => match.target)),
      }),
    );
  }
  for (const draft of drafts.filter((one) => !isPlain(one))) {
    const questions = [...draft.questions, ...askExisting([draft.match.target])];
    lines.push(...renderEntry({ ...draft, questions }));
  }
  if (lines.length === 0) lines.push('  - from: "*.*" # nothing matches by name yet');
  else if (isEmpty && plain.size === 0) lines.push(`  ${ask(ASK_EMPTY)}`);
  return [...lines, ...left.filter(({ table }) => !asked.has(table)).map(({ question }) => `  ${ask(question)}`)];
}

const ASK_EMPTY = 'The target has no table yet: `crossfade check --ddl` prints CREATE TABLE for all of them.';

function count(tables: number): string {
  return `${tables} ${tables === 1 ? 'table' : 'tables'}`;
}

function globOf(schema: string): string {
  return showTable({ schema, name: 'x' }).replace(/x$/, '*');
}

function isPlain({ match, columns, drops, questions, notes, personal }: EntryDraft): boolean {
  return match.source.name === match.target.name && [columns, drops, questions, notes, personal].every((list) => list.length === 0);
}

function askExisting(targets: readonly CatalogTable[]): string[] {
  const filled = targets.filter(({ rowEstimate }) => rowEstimate > 0);
  if (filled.length === 0) return [];
  return [
    `${names(filled)} of the target ${filled.length === 1 ? 'holds' : 'hold'} rows already. Write  existing: merge  or  existing: truncate`,
  ];
}

function rowsOf(table: CatalogTable): string {
  return table.rowEstimate > 0 ? ` (about ${table.rowEstimate} rows)` : '';
}

function askUnlogged(table: CatalogTable): string {
  return `${showTable(table)}${rowsOf(table)} is unlogged, so its changes cannot be followed. Leave it out, or SET LOGGED?`;
}

function askOpen({ source, candidates }: OpenTable): string {
  const about = `${showTable(source)}${rowsOf(source)} has no table of that name on the target and is left out.`;
  const [first] = candidates;
  if (first === undefined) return `${about} Name its target with \`to:\`, or leave it so.`;
  const which = candidates.map(({ target, why }) => `${showTable(target)} (${why})`).join(', or ');
  return `${about} Is it ${which}? Then add  - { from: ${scalar(showTable(source))}, to: ${scalar(showTable(first.target))} }`;
}
