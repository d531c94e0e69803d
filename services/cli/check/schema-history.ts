/**
 * Schema migrations as a part of the preflight. Guarantee: while one is failed, half done or pending nothing is begun, since the tables may
 * be others in a minute; a history that cannot be read is told, never taken for a good one.
 */
import type pg from 'pg';
import { migrationFiles } from '#connectors/schema-history/folder.ts';
import { readSchemaHistories, type SchemaHistory } from '#connectors/schema-history/postgres/read-history.ts';
import { readStepStates } from '#connectors/target/postgres/schema-steps.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { wholeName } from '#schemas/config/wave-file.ts';
import { findingOf } from '#schemas/envelope.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { errorFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import { pendingMigrations } from '#schemas/schema-history/pending.ts';
import { TOOL_FACTS, type SchemaMigrations, type SchemaTool } from '#schemas/schema-history/schema-tools.ts';
import { quoteTable } from '#schemas/table.ts';

export type Role = 'source' | 'target';

export async function checkSchemaHistory(client: pg.ClientBase, role: Role, file: MigrationFile): Promise<Finding[]> {
  const declared = (file.schemaMigrations ?? []).filter(({ on }) => on === role);
  if (declared.some(({ tool }) => tool === 'none')) return [];
  const tables = declared.flatMap(({ tool, table }) => (tool === 'none' || table === undefined ? [] : [[tool, table] as const]));
  const histories = await readSchemaHistories(client, new Map(tables));
  const findings = histories.flatMap((history) => troublesOf(history, role));
  for (const entry of declared) findings.push(...(await checkDeclared(entry, histories, role, file.path)));
  return findings;
}

function troublesOf({ tool, table, read }: SchemaHistory, role: Role): Finding[] {
  const { remedy } = TOOL_FACTS[tool];
  if (read === undefined) {
    const grant = `Run on the ${role}: GRANT SELECT ON ${quoteTable(table)} TO <the ${role} role>;`;
    return [warningFinding('CF-7008', `the history of ${tool} on the ${role} (${showTable(table)}) cannot be read by this role`, grant)];
  }
  return read.troubles.map(({ what, name }) =>
    errorFinding(
      'CF-7008',
      what === 'failed'
        ? `a schema migration failed on the ${role}: ${name} (${tool})`
        : `a schema migration is in progress on the ${role}: ${name} (${tool})`,
      remedy,
    ),
  );
}

// oxlint-disable-next-line max-params -- one entry of the file, and what there is on the server
async function checkDeclared(entry: SchemaMigrations, histories: readonly SchemaHistory[], role: Role, path: string): Promise<Finding[]> {
  const tool = entry.tool as SchemaTool;
  const place = { path, line: entry.line, column: entry.column };
  const history = histories.find((one) => one.tool === tool);
  if (history === undefined && entry.folder === undefined) {
    const table = entry.table ?? TOOL_FACTS[tool].table;
    const remedy = `Run ${TOOL_FACTS[tool].apply}, or say where its history is: table: schema.name`;
    return [{ ...errorFinding('CF-7008', `the ${role} has no history of ${tool} (${table})`, remedy), ...place }];
  }
  // That it cannot be read is told already.
  if (entry.folder === undefined || (history !== undefined && history.read === undefined)) return [];
  try {
    const pending = pendingMigrations(tool, await migrationFiles(entry.folder), history?.read?.entries ?? []);
    if (pending.length === 0) return [];
    const message = `${pending.length} schema ${pending.length === 1 ? 'migration is' : 'migrations are'} pending on the ${role} (${tool}): ${listNames(pending)}`;
    return [{ ...errorFinding('CF-7008', message, `Run: ${TOOL_FACTS[tool].apply}`), ...place }];
  } catch (error) {
    if (error instanceof PipelineError) return [{ ...findingOf(error), ...place }];
    throw error;
  }
}

/** The file's own steps (`schemaSteps:`). */
export async function checkSchemaSteps(client: pg.ClientBase, file: MigrationFile): Promise<Finding[]> {
  const { schemaSteps: steps = [] } = file;
  if (steps.length === 0) return [];
  const states = await readStepStates(client, wholeName(file), steps);
  const open = steps.filter(({ name }) => states.get(name) !== 'done').map(({ name }) => name);
  if (open.length === 0) return [];
  return [
    errorFinding(
      'CF-7008',
      `${open.length} of ${steps.length} schema steps are not done: ${listNames(open)}`,
      'Run: crossfade schema apply',
    ),
  ];
}
