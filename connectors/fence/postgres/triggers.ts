/**
 * The triggers of a fence. Guarantee: on every member of a fenced table (itself, its partitions, what inherits from it) one statement trigger
 * for all kinds of writes and TRUNCATE, and on each root one row trigger, which PostgreSQL clones to partitions that are attached later.
 *
 * The statement triggers refuse also what would change no row: an UPDATE that finds nothing here might find its row where the writes are. The row
 * triggers see what has no statement: a native subscription's apply worker. Who is exempt stands in their WHEN, so our own sinks pay no call.
 */
import type pg from 'pg';
import type { FenceOptions, TableName } from '#connectors/fence/fence.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { quoteLiteral, quoteTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';

/** One root, plain table, partition or inheriting table. */
export interface Member extends TableName {
  readonly isRoot: boolean;
  /** A partition's row trigger is its parent's, cloned. */
  readonly isPartition: boolean;
  readonly isForeign: boolean;
  readonly owner: string;
  readonly mayAlter: boolean;
  readonly row: TriggerState;
  readonly statement: TriggerState;
}

export interface TriggerState {
  /** pg_trigger.tgenabled: A always · D disabled · O, R as an ordinary one. Undefined: there is none. */
  readonly enabled: string | undefined;
  /** It says what it should. */
  readonly isCurrent: boolean;
}

export type Fenced = Pick<FenceOptions, 'name' | 'side' | 'swap'>;

/** Where both sides are in one database those of the target have names of their own. */
export function triggerNames({ name, side, swap }: Fenced): { readonly row: string; readonly statement: string } {
  const mark = swap !== undefined && side === 'target' ? 't' : '';
  return { row: `crossfade_${name}_${mark}row`, statement: `crossfade_${name}_${mark}stm` };
}

const FUNCTION = 'crossfade.refuse_write()';
const FUNCTION_BODY = `
BEGIN
  RAISE EXCEPTION USING ERRCODE = '25006', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
    MESSAGE = pg_catalog.format('Crossfade: %s on %I.%I is refused here, because its writes have moved to %s (migration %s)',
      TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[1], TG_ARGV[0]),
    HINT = 'Write there. Reading goes on here; nothing of this transaction was kept.';
END`;

/** Needs the schema; replaced only where it differs, and by one at a time: both sides may be of one database. */
export async function ensureFunction(client: pg.ClientBase): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const found = await queryRow(client, `SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('${FUNCTION}')`);
    return found?.['prosrc'] === FUNCTION_BODY;
  };
  if (await isThere()) return;
  await client.query(`BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('crossfade fence', 0))`);
  try {
    if (!(await isThere()))
      await client.query(`CREATE OR REPLACE FUNCTION ${FUNCTION} RETURNS trigger LANGUAGE plpgsql AS ${quoteLiteral(FUNCTION_BODY)}`);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Where no trigger needs it any more. */
export async function dropFunction(client: pg.ClientBase): Promise<void> {
  await client.query(`DO $$ BEGIN DROP FUNCTION IF EXISTS ${FUNCTION}; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $$`);
}

/** $1, $2: roots. $3, $4: names of the triggers. $5: their arguments, as tgargs has them. In the order of locking. */
const MEMBERS = `
  WITH RECURSIVE member (oid, root) AS (
    SELECT c.oid, true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE (n.nspname, c.relname) IN (SELECT u.s, u.t FROM unnest($1::text[], $2::text[]) AS u (s, t))
    UNION
    SELECT i.inhrelid, false FROM member m JOIN pg_inherits i ON i.inhparent = m.oid
  ), trigger AS (
    SELECT t.tgrelid, t.tgname, t.tgenabled::text AS enabled, (encode(t.tgargs, 'hex') = $5)::text AS current
      FROM pg_trigger t WHERE t.tgfoid = to_regprocedure('${FUNCTION}')
  )
  SELECT n.nspname AS schema, c.relname AS name, bool_or(m.root)::text AS root, c.relispartition::text AS partition,
         (c.relkind = 'f')::text AS foreign, pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE')::text AS mine,
         max(r.enabled) AS row_enabled, max(r.current) AS row_current, max(s.enabled) AS statement_enabled, max(s.current) AS statement_current
    FROM member m JOIN pg_class c ON c.oid = m.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN trigger r ON r.tgrelid = c.oid AND r.tgname = $3
    LEFT JOIN trigger s ON s.tgrelid = c.oid AND s.tgname = $4
   GROUP BY c.oid, n.nspname, c.relname, c.relispartition, c.relkind, c.relowner
   ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`;

/** @returns of every table given and what hangs below it */
export async function readMembers(
  client: pg.ClientBase,
  options: Fenced & Pick<FenceOptions, 'tables' | 'servesElsewhere'>,
): Promise<Member[]> {
  const names = triggerNames(options);
  const args = Buffer.from(
    triggerArguments(options)
      .map((text) => `${text}\0`)
      .join(''),
  ).toString('hex');
  const rows = await queryRows(client, MEMBERS, [
    options.tables.map(({ schema }) => schema),
    options.tables.map(({ name }) => name),
    names.row,
    names.statement,
    args,
  ]);
  return rows.map((row) => ({
    schema: row['schema']!,
    name: row['name']!,
    isRoot: row['root'] === 'true',
    isPartition: row['partition'] === 'true',
    isForeign: row['foreign'] === 'true',
    owner: row['owner']!,
    mayAlter: row['mine'] === 'true',
    row: { enabled: row['row_enabled'] ?? undefined, isCurrent: row['row_current'] === 'true' },
    statement: { enabled: row['statement_enabled'] ?? undefined, isCurrent: row['statement_current'] === 'true' },
  }));
}

function triggerArguments({ name, servesElsewhere }: Pick<FenceOptions, 'name' | 'servesElsewhere'>): readonly string[] {
  return [name, servesElsewhere];
}

/** Statements that make what is missing of a member's triggers, or says something else. CREATE OR REPLACE wakes a trigger that slept. */
export function creations(options: Fenced & Pick<FenceOptions, 'servesElsewhere'>, member: Member): readonly string[] {
  const names = triggerNames(options);
  const exempt = [options.name, reverseName(options.name)].map(quoteLiteral).join(', ');
  const call = `WHEN (coalesce(pg_catalog.current_setting('crossfade.pipeline', true), '') NOT IN (${exempt}))
    EXECUTE FUNCTION ${FUNCTION.replace('()', '')}(${triggerArguments(options).map(quoteLiteral).join(', ')})`;
  const made: string[] = [];
  if (!member.isPartition && !isCurrent(member.row))
    made.push(`CREATE OR REPLACE TRIGGER ${names.row} BEFORE INSERT OR UPDATE OR DELETE ON ${quoteTable(member)} FOR EACH ROW ${call}`);
  if (!isCurrent(member.statement)) {
    const truncate = member.isForeign ? '' : ' OR TRUNCATE';
    made.push(
      `CREATE OR REPLACE TRIGGER ${names.statement} BEFORE INSERT OR UPDATE OR DELETE${truncate} ON ${quoteTable(member)} FOR EACH STATEMENT ${call}`,
    );
  }
  return made;
}

function isCurrent({ enabled, isCurrent: says }: TriggerState): boolean {
  return enabled !== undefined && says;
}

/** `ONLY`: each member is told by itself, since how far this recurses differs between versions. */
export function enabling(fenced: Fenced, member: TableName): string {
  const names = triggerNames(fenced);
  const how = guarded('fence-always') ? 'ENABLE ALWAYS' : 'ENABLE';
  return `ALTER TABLE ONLY ${quoteTable(member)} ${how} TRIGGER ${names.row}, ${how} TRIGGER ${names.statement}`;
}

export function disabling(table: TableName, triggers: readonly string[]): string {
  return `ALTER TABLE ONLY ${quoteTable(table)} ${triggers.map((name) => `DISABLE TRIGGER ${name}`).join(', ')}`;
}

export interface Carrier extends TableName {
  readonly isPartition: boolean;
  /** Names of the fence's triggers that it has, in whatever state. */
  readonly triggers: readonly string[];
}

/** Also tables that the file no longer names, and partitions that were attached since. In the order of locking. */
export async function readCarriers(client: pg.ClientBase, fenced: Fenced): Promise<Carrier[]> {
  const names = triggerNames(fenced);
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, c.relispartition::text AS partition, string_agg(t.tgname, ',') AS triggers
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname IN ($1, $2)
      GROUP BY c.oid, n.nspname, c.relname, c.relispartition ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [names.row, names.statement],
  );
  return rows.map((row) => ({
    schema: row['schema']!,
    name: row['name']!,
    isPartition: row['partition'] === 'true',
    triggers: row['triggers']!.split(','),
  }));
}

/** Those of them that refuse writes. */
export async function readAwake(client: pg.ClientBase, fenced: Fenced): Promise<TableName[]> {
  const names = triggerNames(fenced);
  const rows = await queryRows(
    client,
    `SELECT DISTINCT n.nspname AS schema, c.relname AS name
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname IN ($1, $2) AND t.tgenabled <> 'D'`,
    [names.row, names.statement],
  );
  return rows.map((row) => ({ schema: row['schema']!, name: row['name']! }));
}

/** Triggers of a table and its partitions that were just made: neither asleep nor woken by a fence. */
export async function readNew(client: pg.ClientBase, fenced: Fenced, table: TableName): Promise<Omit<Carrier, 'isPartition'>[]> {
  const names = triggerNames(fenced);
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, string_agg(t.tgname, ',') AS triggers
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname IN ($1, $2) AND t.tgenabled = 'O'
        AND c.oid IN (SELECT $3::regclass UNION SELECT relid FROM pg_partition_tree($3::regclass))
      GROUP BY c.oid, n.nspname, c.relname`,
    [names.row, names.statement, quoteTable(table)],
  );
  return rows.map((row) => ({ schema: row['schema']!, name: row['name']!, triggers: row['triggers']!.split(',') }));
}

export function isAwake({ row, statement }: Member): boolean {
  return row.enabled === 'A' && statement.enabled === 'A';
}
