/**
 * The publication: there and exactly right, or ours to make. Guarantee: what an owner made beforehand is judged by the same list
 * (publishedRelations) that the reader would make it from.
 */
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, infoFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { type CatalogTable, quoteIdent, quoteTable } from '#schemas/table.ts';
import { createPublicationSql, publishedRelations, readPublication, type PublicationState } from '../publication.ts';
import type { SourceCheckInput } from './source-check.ts';

export async function checkPublication(input: SourceCheckInput): Promise<Finding[]> {
  if (input.tables.length === 0) return [];
  const state = await readPublication(input.client, input.name);
  return state.exists ? checkExisting(input, state) : checkCreatable(input);
}

async function checkCreatable(input: SourceCheckInput): Promise<Finding[]> {
  const { name, facts, settings, tables } = input;
  const sql = `${createPublicationSql(name, tables)};`;
  if (!settings.createPublication)
    return [
      errorFinding('CF-2002', `publication ${quoteIdent(name)} does not exist, and the file says publication: { create: false }`, sql),
    ];
  if (facts.superuser) return [];
  const lacks: string[] = [];
  const row = await queryRow(input.client, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may");
  if (row?.['may'] !== 't') lacks.push(`CREATE on database ${quoteIdent(facts.database)}`);
  const foreign = await foreignTables(input, tables);
  if (foreign.length > 0) lacks.push(`ownership of ${listNames(foreign)}`);
  if (lacks.length === 0) return [];
  const message = `the source role ${quoteIdent(facts.role)} may not make publication ${quoteIdent(name)}: it lacks ${lacks.join(' and ')}`;
  return [errorFinding('CF-2003', message, `${sql}  -- run by the tables' owner, before crossfade up`)];
}

/** Tables whose owner's rights this role does not have. */
async function foreignTables(input: SourceCheckInput, tables: readonly CatalogTable[]): Promise<string[]> {
  const rows = await queryRows(
    input.client,
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1, 2`,
    [tables.map((table) => table.oid)],
  );
  return rows.map((row) => quoteTable({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
}

async function checkExisting(input: SourceCheckInput, state: PublicationState): Promise<Finding[]> {
  const publication = quoteIdent(input.name);
  const findings: Finding[] = [];
  if (state.allTables || (await listsSchemas(input))) {
    const remedy = `DROP PUBLICATION ${publication}; ${createPublicationSql(input.name, input.tables)};`;
    return [
      errorFinding(
        'CF-2002',
        `publication ${publication} lists ${state.allTables ? 'ALL TABLES' : 'whole schemas'}: a new table without a key would refuse the application's updates`,
        remedy,
      ),
    ];
  }
  if (state.viaRoot) {
    const message = `publication ${publication} publishes partitions as their root: a leaf's TRUNCATE or DETACH would go unseen`;
    findings.push(errorFinding('CF-2002', message, `ALTER PUBLICATION ${publication} SET (publish_via_partition_root = false);`));
  }
  const lacking = (['insert', 'update', 'delete', 'truncate'] as const).filter((operation) => !state.operations.includes(operation));
  if (lacking.length > 0) {
    findings.push(
      errorFinding(
        'CF-2002',
        `publication ${publication} does not publish ${lacking.join(', ')}`,
        `ALTER PUBLICATION ${publication} SET (publish = 'insert, update, delete, truncate');`,
      ),
    );
  }
  findings.push(...(await checkLists(input, state)), ...(await checkFilters(input)));
  return findings;
}

async function checkLists(input: SourceCheckInput, state: PublicationState): Promise<Finding[]> {
  const publication = quoteIdent(input.name);
  const wanted = new Map(input.tables.flatMap((table) => publishedRelations(table).map((r) => [`${r.schema}.${r.name}`, { ...r, table }])));
  const absent = [...wanted].filter(([id]) => !state.listed.has(id)).map(([, relation]) => relation);
  const findings: Finding[] = [];
  if (absent.length > 0) {
    const names = absent.map((r) => `${r.only ? 'ONLY ' : ''}${quoteTable(r)}`);
    const sql = `ALTER PUBLICATION ${publication} ADD TABLE ${names.join(', ')};`;
    const message = `publication ${publication} does not list ${listNames(absent.map(quoteTable))}`;
    const may =
      input.settings.createPublication &&
      (await mayAlter(
        input,
        absent.map((r) => r.table),
      ));
    findings.push(
      may
        ? infoFinding('CF-2002', message, `crossfade up adds them: ${sql}`)
        : errorFinding('CF-2002', message, `${sql}  -- run by the owner of publication and tables`),
    );
  }
  const roots = new Set(input.tables.filter((table) => table.kind === 'p').map((table) => `${table.schema}.${table.name}`));
  const leaves = new Set(input.tables.flatMap((table) => table.leaves.map((leaf) => `${leaf.schema}.${leaf.name}`)));
  const extra = [...state.listed].filter((id) => !wanted.has(id) && !roots.has(id) && !leaves.has(id));
  if (extra.length > 0) {
    findings.push(
      warningFinding(
        'CF-2002',
        `publication ${publication} also lists ${listNames(extra)}, which the file does not move`,
        `Their changes are sent and thrown away. ALTER PUBLICATION ${publication} DROP TABLE …;`,
      ),
    );
  }
  return findings;
}

async function mayAlter(input: SourceCheckInput, tables: readonly CatalogTable[]): Promise<boolean> {
  if (input.facts.superuser) return true;
  const row = await queryRow(
    input.client,
    "SELECT pg_catalog.pg_has_role(pubowner, 'USAGE') AS may FROM pg_catalog.pg_publication WHERE pubname = $1",
    [input.name],
  );
  return row?.['may'] === 't' && (await foreignTables(input, tables)).length === 0;
}

async function listsSchemas({ client, facts, name }: SourceCheckInput): Promise<boolean> {
  if (facts.version < 150_000) return false;
  const rows = await queryRows(
    client,
    'SELECT 1 FROM pg_catalog.pg_publication_namespace s JOIN pg_catalog.pg_publication p ON p.oid = s.pnpubid WHERE p.pubname = $1 LIMIT 1',
    [name],
  );
  return rows.length > 0;
}

/** Row filters and column lists of somebody else's making would leave rows or values out without a word. */
async function checkFilters({ client, facts, name }: SourceCheckInput): Promise<Finding[]> {
  if (facts.version < 150_000) return [];
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, r.prqual IS NOT NULL AS filtered FROM pg_catalog.pg_publication_rel r
       JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE p.pubname = $1 AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL) ORDER BY 1, 2`,
    [name],
  );
  const publication = quoteIdent(name);
  return rows.map((row) => {
    const table = quoteTable({ schema: row['schema'] ?? '', name: row['name'] ?? '' });
    const what = row['filtered'] === 't' ? 'a row filter' : 'a column list';
    return errorFinding(
      'CF-2002',
      `publication ${publication} has ${what} on ${table}`,
      `ALTER PUBLICATION ${publication} DROP TABLE ${table}; ALTER PUBLICATION ${publication} ADD TABLE ${table};`,
    );
  });
}
