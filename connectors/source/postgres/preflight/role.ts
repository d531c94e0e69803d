/** What the source role may do: replicate, read every mapped table whole, connect often enough. */
import { queryRows } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { mayReplicate, type SourceCheckInput } from './source-check.ts';

export async function checkReplicationRole({ facts }: SourceCheckInput): Promise<Finding[]> {
  if (mayReplicate(facts)) return [];
  const role = quoteIdent(facts.role);
  return [
    errorFinding(
      'CF-2003',
      `the source role ${role} may not replicate`,
      `ALTER ROLE ${role} REPLICATION;  -- on Amazon RDS and Aurora: GRANT rds_replication TO ${role};`,
    ),
  ];
}

interface Readable {
  readonly schema: string;
  readonly name: string;
}

export async function checkReadPrivileges({ client, facts, tables }: SourceCheckInput): Promise<Finding[]> {
  const relations = tables.flatMap((table) => [table, ...table.leaves]);
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usage, pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "select"
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) ORDER BY 1, 2`,
    [relations.map((relation) => relation.oid)],
  );
  const role = quoteIdent(facts.role);
  const schemas = [...new Set(rows.filter((row) => row['usage'] === 'f').map((row) => row['schema'] ?? ''))];
  const unreadable = rows
    .filter((row) => row['select'] === 'f')
    .map((row): Readable => ({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
  const findings = schemas.map((schema) =>
    errorFinding(
      'CF-2003',
      `the source role ${role} may not use schema ${quoteIdent(schema)}`,
      `GRANT USAGE ON SCHEMA ${quoteIdent(schema)} TO ${role};`,
    ),
  );
  if (unreadable.length === 0) return findings;
  const names = unreadable.map(quoteTable);
  return [
    ...findings,
    errorFinding('CF-2003', `the source role ${role} may not read ${listNames(names)}`, `GRANT SELECT ON ${names.join(', ')} TO ${role};`),
  ];
}

/** A chunk read under row security would be silently incomplete; the stream ignores row security. */
export async function checkRowSecurity({ client, facts, tables }: SourceCheckInput): Promise<Finding[]> {
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND pg_catalog.row_security_active(c.oid) ORDER BY 1, 2`,
    [tables.flatMap((table) => [table, ...table.leaves]).map((relation) => relation.oid)],
  );
  if (rows.length === 0) return [];
  const names = rows.map((row) => quoteTable({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
  const role = quoteIdent(facts.role);
  return [
    errorFinding('CF-2003', `row security hides rows of ${listNames(names)} from the source role ${role}`, `ALTER ROLE ${role} BYPASSRLS;`),
  ];
}

export async function checkConnectionLimit({ facts, settings }: SourceCheckInput): Promise<Finding[]> {
  if (facts.connectionLimit < 0 || facts.connectionLimit >= settings.sessions) return [];
  const message = `the source role may open ${facts.connectionLimit} sessions; crossfade uses up to ${settings.sessions}`;
  return [
    warningFinding(
      'CF-2003',
      message,
      `ALTER ROLE ${quoteIdent(facts.role)} CONNECTION LIMIT ${settings.sessions};  -- or lower copy.parallel in the file`,
    ),
  ];
}
