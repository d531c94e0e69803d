/**
 * The history tables of schema migration tools on one server. Guarantee: reads only, by one look at the catalogue and one query per history
 * found; a table that only happens to have such a name (other columns) is no history.
 *
 * Layouts, each from the tool's own papers: Flyway https://documentation.red-gate.com/fd/flyway-schema-history-table-273973417.html ·
 * Liquibase https://docs.liquibase.com/concepts/tracking-tables/databasechangeloglock-table.html · dbmate https://github.com/amacneil/dbmate
 * (pkg/driver/postgres) · node-pg-migrate https://github.com/salsita/node-pg-migrate/blob/main/src/runner.ts · Prisma
 * https://github.com/prisma/prisma-engines/blob/main/schema-engine/ARCHITECTURE.md · Atlas
 * https://github.com/ariga/atlas/blob/master/cmd/atlas/internal/migrate/ent/schema/revision.go · pgroll
 * https://github.com/xataio/pgroll/blob/main/pkg/state/init.sql · golang-migrate
 * https://github.com/golang-migrate/migrate/blob/master/database/postgres/postgres.go
 */
import type pg from 'pg';
import { flywayVersion } from '#schemas/schema-history/pending.ts';
import { SCHEMA_TOOLS, TOOL_FACTS, type HistoryEntry, type HistoryTrouble, type SchemaTool } from '#schemas/schema-history/schema-tools.ts';
import { quoteTable } from '#schemas/table.ts';

export interface SchemaHistory {
  readonly tool: SchemaTool;
  readonly table: { readonly schema: string; readonly name: string };
  /** Absent: this role may not read it. */
  readonly read?: { readonly troubles: readonly HistoryTrouble[]; readonly entries: readonly HistoryEntry[] };
}

interface FoundTable {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly string[];
  readonly readable: boolean;
}

/** Of all tools, or of those tables that the file names for a tool. */
export async function readSchemaHistories(
  client: pg.ClientBase,
  named: ReadonlyMap<SchemaTool, string>,
): Promise<readonly SchemaHistory[]> {
  const tables = await findTables(client, [...named.values()]);
  const histories: SchemaHistory[] = [];
  for (const tool of SCHEMA_TOOLS) {
    const own = named.get(tool);
    for (const { readable, columns, ...table } of tables) {
      if (!isHistory(tool, { ...table, columns }, own)) continue;
      histories.push({ tool, table, ...(readable && { read: await READERS[tool](client, quoteTable(table)) }) });
    }
  }
  return histories;
}

async function findTables(client: pg.ClientBase, named: readonly string[]): Promise<FoundTable[]> {
  const result = await client.query<{ schema: string; name: string; columns: string; readable: string }>(
    `SELECT n.nspname AS schema, c.relname AS name,
            (SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS columns,
            (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))::text AS readable
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'crossfade')
        AND (c.relname = ANY ($1::text[]) OR n.nspname || '.' || c.relname = ANY ($2::text[]))
      ORDER BY n.nspname, c.relname`,
    [[...new Set(SCHEMA_TOOLS.map((tool) => TOOL_FACTS[tool].table))], named],
  );
  return result.rows.map(({ schema, name, columns, readable }) => ({
    schema,
    name,
    columns: (JSON.parse(columns) as string[] | null) ?? [],
    readable: readable === 'true',
  }));
}

function isHistory(tool: SchemaTool, { schema, name, columns }: Omit<FoundTable, 'readable'>, own: string | undefined): boolean {
  const facts = TOOL_FACTS[tool];
  if (own === undefined ? name !== facts.table : `${schema}.${name}` !== own) return false;
  return facts.columns.every((column) => columns.includes(column)) && facts.without?.some((column) => columns.includes(column)) !== true;
}

type Read = NonNullable<SchemaHistory['read']>;
type Reader = (client: pg.ClientBase, table: string) => Promise<Read>;

async function rowsOf(client: pg.ClientBase, sql: string): Promise<readonly Record<string, string | null>[]> {
  return (await client.query<Record<string, string | null>>(sql)).rows;
}

const READERS: Readonly<Record<SchemaTool, Reader>> = {
  flyway: async (client, table) => {
    const rows = await rowsOf(client, `SELECT version, type, script, success::text AS success FROM ${table} ORDER BY installed_rank`);
    const entries = rows.flatMap(({ version, type, script, success }): HistoryEntry[] => {
      if (success !== 'true') return [];
      // Of `flyway baseline`, or of a migration B…__x.sql (SQL_BASELINE): what lies at or before it is not run any more.
      const kind = /(?:^|_)BASELINE$/.test(type ?? '') ? 'baseline' : /^UNDO|^DELETE/.test(type ?? '') ? 'undone' : 'applied';
      return [{ id: version === null ? (script ?? '') : flywayVersion(version!), script: script ?? '', kind }];
    });
    const failed = rows.filter(({ success }) => success !== 'true');
    return { entries, troubles: failed.map(({ script }) => ({ what: 'failed', name: script ?? '' })) };
  },
  liquibase: async (client, table) => {
    const rows = await rowsOf(client, `SELECT lockedby, lockgranted::text AS since FROM ${table} WHERE locked::text IN ('true', '1')`);
    return {
      entries: [],
      troubles: rows.map(({ lockedby, since }) => ({ what: 'in progress', name: `lock of ${lockedby} since ${since}` })),
    };
  },
  dbmate: async (client, table) => ({
    entries: applied(await rowsOf(client, `SELECT version AS id FROM ${table} ORDER BY version`)),
    troubles: [],
  }),
  'node-pg-migrate': async (client, table) => {
    // The lock that its runner holds: 7241865325823964, in two halves.
    const locks = await rowsOf(
      client,
      `SELECT l.pid::text AS pid FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND d.datname = pg_catalog.current_database() AND l.granted
          AND l.classid = 1686128::oid AND l.objid = 708954076::oid AND l.objsubid = 1`,
    );
    const entries = applied(await rowsOf(client, `SELECT name AS id FROM ${table} ORDER BY run_on, name`));
    return { entries, troubles: locks.map(({ pid }) => ({ what: 'in progress', name: `run of backend ${pid}` })) };
  },
  prisma: async (client, table) => {
    const rows = await rowsOf(
      client,
      `SELECT migration_name AS id, (finished_at IS NOT NULL)::text AS finished, (logs IS NOT NULL AND logs <> '')::text AS failed
         FROM ${table} WHERE rolled_back_at IS NULL ORDER BY started_at`,
    );
    const open = rows.filter(({ finished }) => finished !== 'true');
    return {
      entries: applied(rows.filter(({ finished }) => finished === 'true')),
      troubles: open.map(({ id, failed }) => ({ what: failed === 'true' ? 'failed' : 'in progress', name: id ?? '' })),
    };
  },
  atlas: async (client, table) => {
    // Names that begin with a point are Atlas' own. Type is a set of flags: 1 baseline, 4 resolved by hand.
    const rows = await rowsOf(
      client,
      `SELECT version AS id, ((type & 1) <> 0)::text AS baseline, (applied < total AND (type & 4) = 0)::text AS partly,
              (error IS NOT NULL AND error <> '')::text AS failed
         FROM ${table} WHERE version NOT LIKE '.%' ORDER BY version COLLATE "C"`,
    );
    const last = rows.at(-1);
    return {
      entries: rows.map(({ id, baseline }) => ({ id: id ?? '', kind: baseline === 'true' ? 'baseline' : 'applied' })),
      troubles: last?.['partly'] === 'true' ? [{ what: last['failed'] === 'true' ? 'failed' : 'in progress', name: last['id'] ?? '' }] : [],
    };
  },
  pgroll: async (client, table) => {
    const rows = await rowsOf(client, `SELECT name AS id, schema, done::text AS done FROM ${table} ORDER BY created_at`);
    const open = rows.filter(({ done }) => done !== 'true');
    return {
      entries: applied(rows.filter(({ done }) => done === 'true')),
      troubles: open.map(({ id, schema }) => ({ what: 'in progress', name: `${id} (schema ${schema}), started and not completed` })),
    };
  },
  'golang-migrate': async (client, table) => {
    const rows = await rowsOf(client, `SELECT version::text AS id, dirty::text AS dirty FROM ${table} ORDER BY version`);
    const dirty = rows.filter((row) => row['dirty'] === 'true');
    return { entries: applied(rows), troubles: dirty.map(({ id }) => ({ what: 'failed', name: `version ${id} (dirty)` })) };
  },
};

function applied(rows: readonly Record<string, string | null>[]): HistoryEntry[] {
  return rows.map(({ id }) => ({ id: id ?? '', kind: 'applied' }));
}
