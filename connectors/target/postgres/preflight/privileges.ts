/** What the target role may do: write every mapped table, keep our state in schema crossfade, use temporary tables. */
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { pairId } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import type { TargetCheckInput, TargetTable } from './target-check.ts';

const TABLE_PRIVILEGES = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] as const;

/** Who writes, and where. */
interface Writing extends Pick<TargetCheckInput, 'client' | 'facts'> {
  readonly tables: readonly Pick<TargetTable, 'table'>[];
}

export async function checkTablePrivileges({ client, facts, tables }: Writing): Promise<Finding[]> {
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usage,
            ${TABLE_PRIVILEGES.map((privilege) => `pg_catalog.has_table_privilege(c.oid, '${privilege}') AS "${privilege}"`).join(', ')}
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[]) ORDER BY 1, 2`,
    [tables.map(({ table }) => table.oid)],
  );
  const role = quoteIdent(facts.role);
  const schemas = [...new Set(rows.filter((row) => row['usage'] === 'f').map((row) => row['schema'] ?? ''))];
  const findings = schemas.map((schema) =>
    errorFinding(
      'CF-5002',
      `the target role ${role} may not use schema ${quoteIdent(schema)}`,
      `GRANT USAGE ON SCHEMA ${quoteIdent(schema)} TO ${role};`,
    ),
  );
  // One GRANT per set of lacking privileges, so that a forgotten role is mended by one statement and not by one per table.
  const lacking = new Map<string, string[]>();
  for (const row of rows) {
    const set = TABLE_PRIVILEGES.filter((privilege) => row[privilege] === 'f').join(', ');
    if (set === '') continue;
    const names = lacking.get(set) ?? [];
    names.push(quoteTable({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
    lacking.set(set, names);
  }
  for (const [set, names] of lacking) {
    findings.push(
      errorFinding(
        'CF-5002',
        `the target role ${role} lacks ${set} on ${listNames(names)}`,
        `GRANT ${set} ON ${names.join(', ')} TO ${role};`,
      ),
    );
  }
  return findings;
}

export async function checkStateSchema({ client, facts }: Pick<Writing, 'client' | 'facts'>): Promise<Finding[]> {
  const row = await queryRow(
    client,
    `SELECT n.oid IS NOT NULL AS present, coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS usable,
            pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP') AS temp
       FROM (SELECT) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'crossfade'`,
  );
  const role = quoteIdent(facts.role);
  const database = quoteIdent(facts.database);
  const findings: Finding[] = [];
  if (row?.['present'] === 't' && row['usable'] !== 't') {
    findings.push(
      errorFinding(
        'CF-5002',
        `the target role ${role} may not create its tables in schema crossfade`,
        `ALTER SCHEMA crossfade OWNER TO ${role};`,
      ),
    );
  }
  if (row?.['present'] !== 't' && row?.['may'] !== 't') {
    findings.push(
      errorFinding(
        'CF-5002',
        `the target role ${role} may not create schema crossfade, where its progress is kept`,
        `CREATE SCHEMA crossfade AUTHORIZATION ${role};`,
      ),
    );
  }
  if (row?.['temp'] !== 't') {
    findings.push(
      errorFinding(
        'CF-5002',
        `the target role ${role} may not use temporary tables, through which rows are applied set-wise`,
        `GRANT TEMPORARY ON DATABASE ${database} TO ${role};`,
      ),
    );
  }
  return findings;
}

/** Under row security an upsert can be refused and a delete can miss its row without a word. */
export async function checkTargetRowSecurity({ client, facts, tables }: Writing): Promise<Finding[]> {
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND pg_catalog.row_security_active(c.oid) ORDER BY 1, 2`,
    [tables.map(({ table }) => table.oid)],
  );
  if (rows.length === 0) return [];
  const names = rows.map((row) => quoteTable({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
  const role = quoteIdent(facts.role);
  return [
    errorFinding('CF-5002', `row security stands between the target role ${role} and ${listNames(names)}`, `ALTER ROLE ${role} BYPASSRLS;`),
  ];
}

export async function checkExistingRows({ client, tables, known }: TargetCheckInput): Promise<Finding[]> {
  const seen = new Set(known.map(pairId));
  const findings: Finding[] = [];
  for (const { table, pair, own, isMerged, existing, place } of tables) {
    if (existing === 'truncate' || seen.has(pairId(pair))) continue;
    const from = own === undefined ? quoteTable(table) : `${quoteTable(table)} WHERE ${own}`;
    const filled = await hasRows(client, from);
    if (!filled) continue;
    const name = own === undefined ? from : `${quoteTable(table)} (where ${own})`;
    if (existing === 'merge') {
      findings.push({
        ...warningFinding(
          'CF-5004',
          `${name} already holds rows; they are merged with the source's by key, and stay where the source has none`,
          'crossfade verify counts them as extra.',
        ),
        ...place,
      });
      continue;
    }
    findings.push({
      ...errorFinding(
        'CF-5004',
        `${name} already holds rows`,
        // What others feed of those rows is not to go with them.
        isMerged
          ? 'Say existing: merge | truncate for it in the file.'
          : `${own === undefined ? 'TRUNCATE' : 'DELETE FROM'} ${from};  -- or say existing: merge | truncate for it in the file`,
      ),
      ...place,
    });
  }
  return findings;
}

/** False also where SELECT is lacking: that is reported by its own check. */
async function hasRows(client: TargetCheckInput['client'], from: string): Promise<boolean> {
  try {
    const row = await queryRow(client, `SELECT EXISTS (SELECT FROM ${from}) AS filled`);
    return row?.['filled'] === 't';
  } catch (error) {
    if ((error as { code?: string }).code === '42501') return false;
    throw error;
  }
}
