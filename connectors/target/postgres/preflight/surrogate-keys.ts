/** What surrogate keys need of the target: ids from its sequences, and our map of them where it is there already. */
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, listNames } from '#schemas/finding.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import type { TargetCheckInput } from './target-check.ts';

export async function checkSurrogateKeys({ client, facts, tables }: TargetCheckInput): Promise<Finding[]> {
  const keyed = tables.filter(({ surrogate }) => surrogate !== undefined);
  if (keyed.length === 0) return [];
  const role = quoteIdent(facts.role);
  const findings: Finding[] = [];
  // A default may name a sequence that no column owns; each that the default depends on is asked of.
  const lacking = await queryRows(
    client,
    `SELECT DISTINCT n.nspname AS schema, s.relname AS name
       FROM unnest($1::oid[], $2::text[]) AS u (oid, name)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = u.oid AND a.attname = u.name
       LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
       JOIN pg_catalog.pg_depend d ON (d.classid, d.objid, d.objsubid, d.refclassid) = ('pg_attrdef'::regclass, f.oid, 0, 'pg_class'::regclass)
         OR (d.refclassid, d.refobjid, d.refobjsubid, d.classid) = ('pg_class'::regclass, a.attrelid, a.attnum, 'pg_class'::regclass)
       JOIN pg_catalog.pg_class s ON s.oid IN (d.refobjid, d.objid)
       JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
      WHERE CASE WHEN s.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(s.oid, 'USAGE') END ORDER BY 1, 2`,
    [keyed.map(({ table }) => table.oid), keyed.map(({ surrogate }) => surrogate)],
  );
  if (lacking.length > 0) {
    const names = lacking.map((row) => quoteTable({ schema: row['schema'] ?? '', name: row['name'] ?? '' }));
    const message = `the target role ${role} may not take ids from ${listNames(names)}`;
    findings.push(errorFinding('CF-5002', message, `GRANT USAGE ON SEQUENCE ${names.join(', ')} TO ${role};`));
  }
  const map = await queryRow(
    client,
    `SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AS usable FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass('crossfade.key_map')`,
  );
  if (map?.['usable'] === 'f')
    findings.push(
      errorFinding(
        'CF-5002',
        `the target role ${role} may not read and add to crossfade.key_map, which keeps the ids of the source's keys`,
        `GRANT SELECT, INSERT ON crossfade.key_map TO ${role};`,
      ),
    );
  return findings;
}
