/**
 * The first migration file (`crossfade init`). Guarantee: it is a valid file of this version's grammar, its URLs are references to the
 * environment, and every table that it cannot decide about stands there as a question, never silently left out.
 */
import { compileMapping } from '../mapping/compile-mapping.ts';
import { nearestTable } from '../mapping/suggest-table.ts';
import { showTable } from '../mapping/table-pattern.ts';
import type { Catalog, CatalogTable } from '../table.ts';
import { NAME_LENGTH_MAX } from './migration-schema.ts';
import { readMigrationFile } from './read-migration-file.ts';

export interface InitOptions {
  /** Absent: made from the source database's name. */
  readonly name?: string;
  /** Names of the environment variables that hold the URLs. */
  readonly sourceVariable?: string;
  readonly targetVariable?: string;
}

interface Entry {
  readonly from: string;
  readonly to?: string;
  readonly exclude: readonly string[];
  readonly existing: boolean;
  readonly note: string;
}

export function renderInitFile(source: Catalog, target: Catalog, options: InitOptions = {}): string {
  const [sourceVariable, targetVariable] = [options.sourceVariable ?? 'SOURCE_URL', options.targetVariable ?? 'TARGET_URL'];
  const planned = planEntries(source, target);
  const lines = [
    'crossfade: 1',
    `name: ${options.name ?? nameFrom(source.database)}`,
    `source: { postgres: "\${${sourceVariable}}" } # ${source.database}, PostgreSQL ${versionOf(source)}`,
    `target: { postgres: "\${${targetVariable}}" } # ${target.database}, PostgreSQL ${versionOf(target)}`,
    'tables:',
    ...(planned.entries.length > 0 ? planned.entries.flatMap(renderEntry) : ['  - from: "*.*" # nothing matches by name yet']),
  ];
  const file = `${lines.join('\n')}\n`;
  const questions = [...planned.questions, ...compiledQuestions(file, source, target, [sourceVariable, targetVariable])];
  if (questions.length === 0) return file;
  return `${file}\n# Open questions:\n${questions.map((question) => `# - ${question}\n`).join('')}`;
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

interface Plan {
  readonly entries: Entry[];
  readonly questions: string[];
}

function planEntries(source: Catalog, target: Catalog): Plan {
  const plan: Plan = { entries: [], questions: [] };
  const bySchema = Map.groupBy(
    source.tables.filter((table) => table.extension === undefined),
    (table) => table.schema,
  );
  for (const [schema, tables] of bySchema) planSchema({ schema, tables, target }, plan);
  return plan;
}

interface SchemaPlan {
  readonly schema: string;
  readonly tables: readonly CatalogTable[];
  readonly target: Catalog;
}

function planSchema({ schema, tables, target }: SchemaPlan, plan: Plan): void {
  const toSchema = bestSchema(tables, schema, target);
  const targets = new Map(target.tables.filter((table) => table.schema === toSchema).map((table) => [table.name, table]));
  const matched = tables.filter((table) => targets.has(table.name) && !isUnlogged(table));
  const left = tables.filter((table) => !matched.includes(table));
  const glob = (name: string): string => showTable({ schema: name, name: 'x' }).replace(/x$/, '*');
  if (target.tables.length === 0) {
    plan.entries.push({
      from: glob(schema),
      exclude: tables.filter(isUnlogged).map(showTable),
      existing: false,
      note: `${tables.length} tables, none on the target yet`,
    });
    plan.questions.push(`The target has no table yet. \`crossfade check --ddl\` prints CREATE TABLE for those of ${schema}.`);
    return;
  }
  for (const table of left) plan.questions.push(askAbout(table, target));
  if (matched.length === 0) return;
  plan.entries.push({
    from: glob(schema),
    ...(toSchema !== schema && { to: glob(toSchema) }),
    exclude: left.map(showTable),
    existing: matched.some((table) => (targets.get(table.name)?.rowEstimate ?? 0) > 0),
    note: `${matched.length} ${matched.length === 1 ? 'table matches' : 'tables match'} by name`,
  });
}

/** The schema of the same name where it has any of the tables, else the one that has most of them. */
function bestSchema(tables: readonly CatalogTable[], schema: string, target: Catalog): string {
  const names = new Set(tables.map((table) => table.name));
  const counts = new Map<string, number>();
  for (const table of target.tables) if (names.has(table.name)) counts.set(table.schema, (counts.get(table.schema) ?? 0) + 1);
  if (counts.has(schema)) return schema;
  return [...counts].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? schema;
}

function isUnlogged(table: CatalogTable): boolean {
  return table.unlogged || table.leaves.some((leaf) => leaf.unlogged === true);
}

function askAbout(table: CatalogTable, target: Catalog): string {
  if (isUnlogged(table)) return `${showTable(table)} is unlogged, so its changes cannot be followed. Leave it out, or SET LOGGED?`;
  const near = nearestTable(table, target.tables);
  const rows = table.rowEstimate > 0 ? ` (about ${table.rowEstimate} rows)` : '';
  if (near !== undefined) {
    const [from, to] = [scalar(showTable(table)), scalar(showTable(near))];
    return `${showTable(table)}${rows} has no table of that name on the target. Is it ${showTable(near)}? Then add:  - { from: ${from}, to: ${to} }`;
  }
  return `${showTable(table)}${rows} has no table of that name on the target. Name its target with \`to:\`, or leave it out.`;
}

function renderEntry(entry: Entry): string[] {
  const lines = [`  - from: ${scalar(entry.from)} # ${entry.note}`];
  if (entry.to !== undefined) lines.push(`    to: ${scalar(entry.to)}`);
  if (entry.exclude.length > 0) lines.push('    exclude:', ...entry.exclude.map((name) => `      - ${scalar(name)}`));
  if (entry.existing) lines.push('    # existing: merge # some of the target tables hold rows: merge, or truncate them first?');
  return lines;
}

function scalar(text: string): string {
  return /^[A-Za-z_][\w.*]*$/.test(text) ? text : JSON.stringify(text);
}

/** What the mapping compiler has to say about the file as it stands. */
function compiledQuestions(text: string, source: Catalog, target: Catalog, variables: readonly string[]): string[] {
  const env = Object.fromEntries(variables.map((name) => [name, 'postgres://user@host/database']));
  const { file } = readMigrationFile({ path: 'init', text, env });
  if (file === undefined) return [];
  // Tables that the target lacks are asked about above.
  const findings = compileMapping(file, source, target).findings.filter((finding) => finding.code !== 'CF-1008');
  return findings.map(({ message, remedy }) => `${message}${message.endsWith('?') ? '' : '.'} ${remedy}`.replaceAll(/\s+/g, ' '));
}
