/**
 * The names of both sides exchanged, in the fence's transaction. Guarantee: a reader or writer that waits meanwhile meets, by its name, the table
 * that serves from the COMMIT on, be its statement prepared or not (docs/rename-swap.md has what was tried); what knows the other one by
 * its oid (a view) goes on to read it, and is refused when it writes; a sink that knows the old names cannot commit any more.
 */
import type pg from 'pg';
import type { FenceOptions, NameSwap } from '#connectors/fence/fence.ts';
import { requireRenames } from '#connectors/postgres/renames.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { tableId, type Renames, type TableName } from '#schemas/mapping/compiled-mapping.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { lockOrder, lockTables } from './lock-tables.ts';
import { disabling, readCarriers } from './triggers.ts';

/** Schemas for what loses its name; whoever owns a table there may use it, as foreign keys do on his behalf. */
export async function prepareSwap(client: pg.ClientBase, options: FenceOptions, swap: NameSwap): Promise<void> {
  await requireRenames(client, options.name, swap.standing);
  const schemas = [...new Set(swap.next.map(({ now }) => now.schema))];
  for (const schema of schemas) await client.query(`CREATE SCHEMA IF NOT EXISTS ${quoteIdent(schema)}`);
  const owners = await queryRows(
    client,
    `SELECT DISTINCT n.nspname AS schema, pg_get_userbyid(c.relowner) AS owner FROM unnest($1::text[]) AS t (name)
       JOIN pg_class c ON c.oid = t.name::regclass CROSS JOIN pg_namespace n
      WHERE n.nspname = ANY ($2) AND NOT has_schema_privilege(c.relowner, n.oid, 'USAGE')`,
    [options.tables.map(quoteTable), schemas],
  );
  for (const { schema, owner } of owners) await client.query(`GRANT USAGE ON SCHEMA ${quoteIdent(schema!)} TO ${quoteIdent(owner!)}`);
}

export interface Swapping {
  /** The fence's, in its transaction. */
  readonly client: pg.Client;
  readonly pid: string;
  readonly observer: pg.ClientBase;
  readonly options: FenceOptions;
  readonly swap: NameSwap;
  readonly lockMs: number;
}

/** @throws PipelineError CF-8101 */
export async function swapNames({ client, pid, observer, options, swap, lockMs }: Swapping): Promise<void> {
  const names = [options.name, reverseName(options.name)];
  await client.query(`SET LOCAL lock_timeout = ${lockMs}`);
  // First, as every sink does: one that is in the middle of something ends it, and comes no further than this row from then on.
  await client.query('SELECT FROM crossfade.progress WHERE name = ANY ($1) ORDER BY name FOR UPDATE', [names]);
  await endComparisons(observer, swap.others);
  const others = await lockOrder(client, swap.others);
  await lockTables({ client, pid, observer, tables: others, isOnly: false, limitMs: lockMs, mode: 'ACCESS EXCLUSIVE' });
  failpoint('fence.swap-locked');
  await client.query(`SET LOCAL statement_timeout = ${options.holdMs}`);
  const opened = await readCarriers(client, { ...options, side: otherSide(options.side) });
  const moves = movesOf(options.tables, swap);
  const shared = await readShared(client, options.tables, swap.others);
  const place = (table: TableName): TableName => moves.find(({ from }) => tableId(from) === tableId(table))?.to ?? table;
  await client.query(
    [
      ...opened.map((table) => disabling(table, table.triggers)),
      ...shared.map(({ sequence }) => `ALTER SEQUENCE ${quoteTable(sequence)} OWNED BY NONE`),
      ...moves.flatMap(moveSql),
      ...shared.map(
        ({ sequence, table, column }) =>
          `ALTER SEQUENCE ${quoteTable(sequence)} OWNED BY ${quoteTable(place(table))}.${quoteIdent(column)}`,
      ),
    ].join(';\n'),
  );
  await record(client, { names, next: swap.next, moves });
  failpoint('fence.swapped');
}

/** Of ours: they hold a reader's lock on one side for as long as they read, or wait for the other. They say that they were cut off, and come again. */
export async function endComparisons(observer: pg.ClientBase, tables: readonly TableName[]): Promise<void> {
  await observer.query(
    `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.application_name = 'crossfade verify' AND a.usename = current_user
        AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation' AND l.relation = ANY ($1::text[]::regclass[]::oid[]))`,
    [tables.map(quoteTable)],
  );
}

interface Move {
  readonly from: TableName;
  readonly to: TableName;
}

/** From where the tables are to where they will be. What gives its name away goes before what takes it. */
export function movesOf(tables: readonly TableName[], { standing, next }: NameSwap): readonly Move[] {
  const named = new Map([...standing, ...next].map((one) => [tableId(one.named), one.named]));
  const placeIn = (renames: Renames, table: TableName): TableName =>
    renames.find((one) => tableId(one.named) === tableId(table))?.now ?? table;
  const moves = [...named.values()].map((table): Move => ({ from: placeIn(standing, table), to: placeIn(next, table) }));
  const leaving = new Set(tables.map(tableId));
  return [...moves.filter(({ from }) => leaving.has(tableId(from))), ...moves.filter(({ from }) => !leaving.has(tableId(from)))];
}

function moveSql({ from, to }: Move): readonly string[] {
  return [
    ...(from.schema === to.schema ? [] : [`ALTER TABLE ${quoteTable(from)} SET SCHEMA ${quoteIdent(to.schema)}`]),
    ...(from.name === to.name
      ? []
      : [`ALTER TABLE ${quoteTable({ schema: to.schema, name: from.name })} RENAME TO ${quoteIdent(to.name)}`]),
  ];
}

interface SharedSequence {
  readonly sequence: TableName;
  /** That takes its name's place, and its values from there. */
  readonly table: TableName;
  readonly column: string;
}

/** Sequences that a table which leaves owns and one that comes uses: they stay where they are, and belong to the one that serves. */
async function readShared(client: pg.ClientBase, leaving: readonly TableName[], coming: readonly TableName[]): Promise<SharedSequence[]> {
  const rows = await queryRows(
    client,
    `SELECT DISTINCT ON (s.oid) sn.nspname AS schema, s.relname AS name, tn.nspname AS table_schema, t.relname AS table_name, a.attname AS column_name
       FROM pg_depend o JOIN pg_class s ON s.oid = o.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
       JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_attrdef'::regclass
       JOIN pg_attrdef f ON f.oid = d.objid JOIN pg_class t ON t.oid = f.adrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
       JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = f.adnum
      WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass AND o.deptype = 'a'
        AND o.refobjid = ANY ($1::text[]::regclass[]::oid[]) AND t.oid = ANY ($2::text[]::regclass[]::oid[])
      ORDER BY s.oid, t.oid, a.attnum`,
    [leaving.map(quoteTable), coming.map(quoteTable)],
  );
  return rows.map((row) => ({
    sequence: { schema: row['schema']!, name: row['name']! },
    table: { schema: row['table_schema']!, name: row['table_name']! },
    column: row['column_name']!,
  }));
}

interface Recorded {
  /** Of both directions. */
  readonly names: readonly string[];
  readonly next: Renames;
  readonly moves: readonly Move[];
}

/** Where everything stands, and that whoever went by the old names has to begin anew. */
async function record(client: pg.ClientBase, { names, next, moves }: Recorded): Promise<void> {
  await client.query('DELETE FROM crossfade.renamed WHERE name = ANY ($1)', [names]);
  await client.query(
    `INSERT INTO crossfade.renamed (name, table_schema, table_name, now_schema, now_name)
     SELECT n.name, t.* FROM unnest($1::text[]) AS n (name), unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS t (a, b, c, d)`,
    [
      names,
      next.map(({ named }) => named.schema),
      next.map(({ named }) => named.name),
      next.map(({ now }) => now.schema),
      next.map(({ now }) => now.name),
    ],
  );
  await client.query(
    `WITH move (a, b, c, d) AS (SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]))
     UPDATE crossfade.table_progress p SET source_schema = s.c, source_table = s.d, target_schema = t.c, target_table = t.d
       FROM move s, move t WHERE p.name = ANY ($1) AND (p.source_schema, p.source_table) = (s.a, s.b) AND (p.target_schema, p.target_table) = (t.a, t.b)`,
    [
      names,
      moves.map(({ from }) => from.schema),
      moves.map(({ from }) => from.name),
      moves.map(({ to }) => to.schema),
      moves.map(({ to }) => to.name),
    ],
  );
  await client.query('UPDATE crossfade.progress SET epoch = epoch + 1 WHERE name = ANY ($1)', [names]);
}
