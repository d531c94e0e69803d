/**
 * Triggers that would change rows, or leave them out, while a sink writes them. Guarantee: read-only; those that ask for `crossfade.pipeline`, which each sink's session
 * says, are left out: they know whose row it is.
 */
import type pg from 'pg';
import { queryRows } from '#connectors/postgres/session.ts';
import type { TableName } from '#schemas/mapping/compiled-mapping.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { readTargetFacts } from './target-check.ts';
import { replicaRoleSql } from './constraints.ts';

export interface ActingTrigger {
  /** Of those that were asked for; it may be one of its partitions that has the trigger. */
  readonly table: TableName;
  /** `"name" on "schema"."table"` */
  readonly title: string;
  /** Has it rest on rows that a sink writes, and no others; from PostgreSQL 14 on. */
  readonly sql: string;
}

export interface ActingTriggers {
  readonly triggers: readonly ActingTrigger[];
  /** Has all of them rest that are not ENABLE ALWAYS; undefined: the role may do so already, or before PostgreSQL 15 a superuser only. */
  readonly grant: string | undefined;
}

/** tgtype: 1 of each row, 2 before it. Partitions' triggers that are their parent's come with it. */
const ACTING = `
  WITH RECURSIVE member (oid, root) AS (
    SELECT c.oid, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE (n.nspname, c.relname) IN (SELECT u.s, u.t FROM unnest($1::text[], $2::text[]) AS u (s, t))
    UNION
    SELECT i.inhrelid, m.root FROM member m JOIN pg_catalog.pg_inherits i ON i.inhparent = m.oid
  )
  SELECT rn.nspname AS schema, rc.relname AS name, n.nspname AS "ownSchema", c.relname AS "ownName", t.tgname AS trigger,
         t.tgenabled::text AS enabled, pg_catalog.pg_get_triggerdef(t.oid) AS definition
    FROM member m JOIN pg_catalog.pg_class rc ON rc.oid = m.root JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
    JOIN pg_catalog.pg_class c ON c.oid = m.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_trigger t ON t.tgrelid = m.oid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
   WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgtype & 3 = 3 AND t.tgenabled = ANY ($3::text[]) AND f.nspname <> 'crossfade'
     AND pg_catalog.strpos(p.prosrc, 'crossfade.pipeline') = 0 AND pg_catalog.strpos(pg_catalog.pg_get_triggerdef(t.oid), 'crossfade.pipeline') = 0
   ORDER BY 1, 2, 3, 4, 5`;

export async function actingTriggers(client: pg.ClientBase, tables: readonly TableName[]): Promise<ActingTriggers> {
  const facts = await readTargetFacts(client);
  const acting = facts.mayReplicaRole ? ['A', 'R'] : ['O', 'A'];
  const rows = await queryRows(client, ACTING, [tables.map(({ schema }) => schema), tables.map(({ name }) => name), acting]);
  return {
    triggers: rows.map((row) => {
      const own = { schema: row['ownSchema']!, name: row['ownName']! };
      const trigger = quoteIdent(row['trigger']!);
      const mode = MODES[row['enabled']!];
      const kept = mode === undefined ? '' : ` ALTER TABLE ${quoteTable(own)} ENABLE ${mode} TRIGGER ${trigger};`;
      return {
        table: { schema: row['schema']!, name: row['name']! },
        title: `${trigger} on ${quoteTable(own)}`,
        sql: `${resting(row['definition']!)};${kept}`,
      };
    }),
    grant: facts.mayReplicaRole || facts.version < GRANTED_FROM ? undefined : replicaRoleSql(facts),
  };
}

/** SQL first; what else may be done stands behind it. */
export function actingRemedy({ triggers, grant }: ActingTriggers): string {
  const accept = [...new Set(triggers.map(({ table }) => showTable(table)))].join(', ');
  const sql = triggers.map((one) => one.sql).join(' ');
  const otherwise = `or accept it: cutover: { accept: [${accept}] }`;
  return grant === undefined
    ? `${sql}  -- keeps them off the rows that Crossfade writes; ${otherwise}`
    : `${grant}  -- or keep them off the rows that Crossfade writes: ${sql} ${otherwise}`;
}

/** tgenabled of what CREATE OR REPLACE would make an ordinary one. */
const MODES: Readonly<Record<string, string>> = { A: 'ALWAYS', R: 'REPLICA' };

/** SET ON PARAMETER. */
const GRANTED_FROM = 150_000;

const NOT_OURS = "coalesce(current_setting('crossfade.pipeline', true), '') = ''";

/** As pg_get_triggerdef writes it. */
function resting(definition: string): string {
  const again = definition.replace(/^CREATE TRIGGER/, 'CREATE OR REPLACE TRIGGER');
  const conditioned = again.replace(
    / WHEN \((.*)\) EXECUTE FUNCTION /s,
    (_all, when: string) => ` WHEN ((${when}) AND ${NOT_OURS}) EXECUTE FUNCTION `,
  );
  return conditioned === again ? again.replace(' EXECUTE FUNCTION ', ` WHEN (${NOT_OURS}) EXECUTE FUNCTION `) : conditioned;
}
