/**
 * The publication. Guarantee: it lists tables by name only, and a table is added only by a statement that names it; what an owner
 * made beforehand is checked, never altered in a way that removes anything.
 */
import type pg from 'pg';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { quoteIdent, quoteTable, type CatalogTable } from '#schemas/table.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';

/** The relations that the publication has to name for `table`: the root where new leaves inherit its key, else its leaves. */
export function publishedRelations(
  table: CatalogTable,
): readonly { readonly schema: string; readonly name: string; readonly only: boolean }[] {
  if (table.kind === 'r') return [{ schema: table.schema, name: table.name, only: true }];
  const leavesShareKey = table.primaryKey !== undefined && table.leaves.every((leaf) => leaf.replicaIdentity === 'd');
  if (leavesShareKey || table.leaves.length === 0) return [{ schema: table.schema, name: table.name, only: false }];
  return table.leaves.map((leaf) => ({ schema: leaf.schema, name: leaf.name, only: true }));
}

function tableList(tables: readonly CatalogTable[]): string {
  return tables.flatMap((table) => publishedRelations(table).map((r) => `${r.only ? 'ONLY ' : ''}${quoteTable(r)}`)).join(', ');
}

/** The SQL an owner runs beforehand where our role may not create publications. */
export function createPublicationSql(name: string, tables: readonly CatalogTable[]): string {
  return `CREATE PUBLICATION ${quoteIdent(name)} FOR TABLE ${tableList(tables)} WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)`;
}

export interface PublicationState {
  readonly exists: boolean;
  readonly viaRoot: boolean;
  readonly allTables: boolean;
  readonly operations: readonly string[];
  /** `schema.name` of relations listed by name (roots and tables as listed). */
  readonly listed: ReadonlySet<string>;
}

export async function readPublication(client: pg.ClientBase, name: string): Promise<PublicationState> {
  const row = await queryRow(
    client,
    'SELECT oid, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_catalog.pg_publication WHERE pubname = $1',
    [name],
  );
  if (!row) return { exists: false, viaRoot: false, allTables: false, operations: [], listed: new Set() };
  const tables = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_publication_rel r
       JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = $1`,
    [row['oid']],
  );
  const operations = (['insert', 'update', 'delete', 'truncate'] as const).filter((operation) => row[`pub${operation}`] === 't');
  return {
    exists: true,
    viaRoot: row['pubviaroot'] === 't',
    allTables: row['puballtables'] === 't',
    operations,
    listed: new Set(tables.map((table) => `${table['schema']}.${table['name']}`)),
  };
}

/**
 * What each listed relation (by its oid) is published under. The same relation with another print was not published all the time: the
 * publication or its entry was dropped and made again, or what it publishes was altered, and changes in between were never streamed. From
 * PostgreSQL 18 on a missing publication does not even end the stream.
 */
export async function readPublicationPrints(client: pg.ClientBase, name: string): Promise<ReadonlyMap<string, string>> {
  const rows = await queryRows(
    client,
    `SELECT coalesce(r.prrelid, 0)::text AS relation, p.oid::text || '.' || p.xmin::text || '.' || coalesce(r.oid, 0)::text AS print
       FROM pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = $1 ORDER BY r.prrelid`,
    [name],
  );
  return new Map(rows.map((row) => [row['relation'] ?? '', row['print'] ?? '']));
}

/** Tables of which some relation was published under `before` and is not, or differently, under `now`. */
export function tablesNotPublishedThroughout(
  tables: readonly CatalogTable[],
  before: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
): readonly CatalogTable[] {
  const changed = (relation: string): boolean => before.has(relation) && before.get(relation) !== now.get(relation);
  // Relation 0 stands for FOR ALL TABLES, where no relation is listed.
  if (changed('0')) return tables;
  return tables.filter((table) => changed(String(table.oid)) || table.leaves.some((leaf) => changed(String(leaf.oid))));
}

/**
 * Creates the publication, or adds the tables it lacks; true when it did either.
 * @throws PipelineError CF-2002, CF-2003 with the SQL to run
 */
export async function ensurePublication(
  client: pg.ClientBase,
  name: string,
  tables: readonly CatalogTable[],
  create: boolean,
): Promise<boolean> {
  const state = await readPublication(client, name);
  if (!state.exists) {
    const sql = createPublicationSql(name, tables);
    if (!create) throw new PipelineError('CF-2002', `publication ${name} does not exist`, { remedy: sql });
    await runDdl(client, sql);
    return true;
  }
  if (state.viaRoot) {
    throw new PipelineError(
      'CF-2002',
      `publication ${name} publishes partitions as their root: truncates and detached leaves would go unseen`,
      {
        remedy: `ALTER PUBLICATION ${quoteIdent(name)} SET (publish_via_partition_root = false)`,
      },
    );
  }
  if (state.operations.length < 4) {
    throw new PipelineError('CF-2002', `publication ${name} publishes only ${state.operations.join(', ')}`, {
      remedy: `ALTER PUBLICATION ${quoteIdent(name)} SET (publish = 'insert, update, delete, truncate')`,
    });
  }
  const missing = tables.filter(
    (table) => !state.allTables && !publishedRelations(table).every((r) => state.listed.has(`${r.schema}.${r.name}`)),
  );
  if (missing.length === 0) return false;
  await runDdl(client, `ALTER PUBLICATION ${quoteIdent(name)} ADD TABLE ${tableList(missing)}`);
  return true;
}

async function runDdl(client: pg.ClientBase, sql: string): Promise<void> {
  try {
    await client.query(sql);
  } catch (error) {
    throw new PipelineError('CF-2003', `the source role cannot set up the publication: ${messageOf(error)}`, {
      cause: error,
      remedy: `Have the tables' owner run: ${sql}`,
    });
  }
}
