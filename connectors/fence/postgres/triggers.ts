/**
 * The triggers of a fence. Guarantee: on every member of a fenced table (itself, its partitions, what inherits from it) one statement trigger
 * for all kinds of writes and TRUNCATE, and on each root one row trigger, which PostgreSQL clones to partitions that are attached later.
 *
 * The statement triggers refuse also what would change no row: an UPDATE that finds nothing here might find its row where the writes are. The row
 * triggers see what has no statement: a native subscription's apply worker. Who is exempt stands in their WHEN, so our own sinks pay no call.
 *
 * Where only some rows are fenced (a wave's), the statement trigger is of TRUNCATE alone, and the row triggers have the rows in their WHEN: no other
 * row's writer pays a call. They look at what is asked for (BEFORE) and at what came of it (AFTER): a trigger of the application's may give a row
 * another unit.
 */
import type pg from 'pg';
import type { FencedTable, FenceOptions, TableName } from '#connectors/fence/fence.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import type { RowFilter } from '#schemas/mapping/compiled-mapping.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { filterSql } from '#schemas/mapping/row-filter.ts';
import { type FenceTrigger, fenceTriggerName, rowsText } from '#schemas/fence-names.ts';
import { quoteIdent, quoteLiteral, quoteTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { dropTriggerFunction, ensureTriggerFunction } from './trigger-function.ts';

/** One root, plain table, partition or inheriting table. */
export interface Member extends TableName {
  readonly isRoot: boolean;
  /** A partition's row triggers are its parent's, cloned. */
  readonly isPartition: boolean;
  readonly isForeign: boolean;
  readonly owner: string;
  readonly mayAlter: boolean;
  /** Undefined: all of them. */
  readonly rows: RowFilter | undefined;
  /** Its rows may not change their unit. */
  readonly keepsUnits: boolean;
  /** Of all row triggers together. */
  readonly row: TriggerState;
  readonly statement: TriggerState;
}

export interface TriggerState {
  /** pg_trigger.tgenabled: A always · D disabled · O, R as an ordinary one, or not all alike. Undefined: none is there. */
  readonly enabled: string | undefined;
  /** It says what it should. */
  readonly isCurrent: boolean;
}

const STATEMENT: FenceTrigger = 'stm';

interface RowTrigger {
  readonly suffix: FenceTrigger;
  readonly events: string;
  /** Rows whose unit counts; none: every row is refused. */
  readonly looksAt: readonly ('OLD' | 'NEW')[];
}

const EVERY_ROW: readonly RowTrigger[] = [{ suffix: 'row', events: 'BEFORE INSERT OR UPDATE OR DELETE', looksAt: [] }];
const SOME_ROWS: readonly RowTrigger[] = [
  { suffix: 'ins', events: 'BEFORE INSERT', looksAt: ['NEW'] },
  { suffix: 'upd', events: 'BEFORE UPDATE', looksAt: ['OLD', 'NEW'] },
  { suffix: 'del', events: 'BEFORE DELETE', looksAt: ['OLD'] },
  { suffix: 'new', events: 'AFTER INSERT OR UPDATE', looksAt: ['NEW'] },
];

function rowTriggers({ rows }: Pick<FencedTable, 'rows'>): readonly RowTrigger[] {
  return rows === undefined ? EVERY_ROW : SOME_ROWS;
}

export type Fenced = Pick<FenceOptions, 'name' | 'side' | 'swap'>;

function triggerName({ name, side, swap }: Fenced, suffix: FenceTrigger): string {
  return fenceTriggerName(name, suffix, swap !== undefined && side === 'target');
}

/** Of whatever kind the fence is. */
function triggerNames(fenced: Fenced): readonly string[] {
  return [STATEMENT, ...[...EVERY_ROW, ...SOME_ROWS].map(({ suffix }) => suffix)].map((suffix) => triggerName(fenced, suffix));
}

/** A partition's row triggers go with its parent's. */
export function isOwnTrigger(fenced: Fenced, trigger: string, { isPartition }: Pick<Carrier, 'isPartition'>): boolean {
  return !isPartition || trigger === triggerName(fenced, STATEMENT);
}

const FUNCTION = 'crossfade.refuse_write()';
/**
 * A fence wakes its triggers as ALWAYS. One that is awake otherwise was woken by somebody who enabled all triggers of the table (as pg_restore --disable-triggers ends): what it refuses
 * then goes by what was decided, so that a fence that slept goes on sleeping. An older snapshot than of this statement knows neither, and lets nobody through.
 */
const FUNCTION_BODY = `
DECLARE
  serves text;
BEGIN
  IF pg_catalog.current_setting('transaction_isolation') = 'read committed'
     AND (SELECT t.tgenabled FROM pg_catalog.pg_trigger t WHERE t.tgrelid = TG_RELID AND t.tgname = TG_NAME) = 'O' THEN
    SELECT j.serves INTO serves FROM crossfade.journal j
     WHERE j.name = TG_ARGV[0] AND j.details ->> 'void' IS DISTINCT FROM 'true' ORDER BY j.epoch DESC LIMIT 1;
    IF serves IS NULL OR TG_ARGV[1] !~ ('the ' || serves || '[ ,]') THEN
      IF TG_LEVEL = 'STATEMENT' THEN RETURN NULL; END IF;
      IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION USING ERRCODE = '25006', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
    MESSAGE = pg_catalog.format('Crossfade: %s on %I.%I is refused here, because its writes have moved to %s (migration %s)',
      TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[1], TG_ARGV[0]),
    HINT = 'Write there. Reading goes on here; nothing of this transaction was kept.';
END`;

export async function ensureFunction(client: pg.ClientBase): Promise<void> {
  // Writers may not read the journal.
  await ensureTriggerFunction(client, FUNCTION, FUNCTION_BODY, 'SECURITY DEFINER SET search_path = pg_catalog');
}

/** Where no trigger needs it any more. */
export async function dropFunction(client: pg.ClientBase): Promise<void> {
  await dropTriggerFunction(client, FUNCTION);
}

/** $1, $2: roots. $3: names of the triggers. In the order of locking. */
const MEMBERS = `
  WITH RECURSIVE member (oid, root, is_root) AS (
    SELECT c.oid, c.oid, true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE (n.nspname, c.relname) IN (SELECT u.s, u.t FROM unnest($1::text[], $2::text[]) AS u (s, t))
    UNION
    SELECT i.inhrelid, m.root, false FROM member m JOIN pg_inherits i ON i.inhparent = m.oid
  ), trigger AS (
    SELECT t.tgrelid, json_agg(json_build_array(t.tgname, t.tgenabled, encode(t.tgargs, 'hex')))::text AS triggers
      FROM pg_trigger t WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname = ANY ($3::text[]) GROUP BY t.tgrelid
  )
  SELECT n.nspname AS schema, c.relname AS name, bool_or(m.is_root)::text AS root, c.relispartition::text AS partition,
         (c.relkind = 'f')::text AS foreign, pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE')::text AS mine,
         json_agg(json_build_array(rn.nspname, rc.relname))::text AS roots, max(t.triggers) AS triggers
    FROM member m JOIN pg_class c ON c.oid = m.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class rc ON rc.oid = m.root JOIN pg_namespace rn ON rn.oid = rc.relnamespace
    LEFT JOIN trigger t ON t.tgrelid = c.oid
   GROUP BY c.oid, n.nspname, c.relname, c.relispartition, c.relkind, c.relowner
   ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`;

export type Told = Fenced & Pick<FenceOptions, 'servesElsewhere' | 'exempt'>;
/** Name, tgenabled, tgargs. */
type Found = readonly [name: string, enabled: string, args: string];

/** @returns of every table given and what hangs below it */
export async function readMembers(client: pg.ClientBase, options: Told & Pick<FenceOptions, 'tables'>): Promise<Member[]> {
  const { tables } = options;
  const values = [tables.map((table) => table.schema), tables.map((table) => table.name), triggerNames(options)];
  const found = await queryRows(client, MEMBERS, values);
  return found.map((row) => {
    const roots = (JSON.parse(row['roots']!) as (readonly [string, string])[]).map(([schema, table]) =>
      quoteTable({ schema, name: table }),
    );
    const own = tables.filter((table) => roots.includes(quoteTable(table)));
    const rows = rowsOf(own);
    const isForeign = row['foreign'] === 'true';
    const triggers = JSON.parse(row['triggers'] ?? '[]') as Found[];
    const stateOf = (suffixes: readonly FenceTrigger[]): TriggerState =>
      together(
        suffixes.map((suffix) => triggers.find(([its]) => its === triggerName(options, suffix))),
        hexOf(triggerArguments(options, rows)),
      );
    const ofRows = stateOf(rowTriggers({ rows }).map(({ suffix }) => suffix));
    return {
      schema: row['schema']!,
      name: row['name']!,
      isRoot: row['root'] === 'true',
      isPartition: row['partition'] === 'true',
      isForeign,
      owner: row['owner']!,
      mayAlter: row['mine'] === 'true',
      rows,
      keepsUnits: own.some(({ keepsUnits }) => keepsUnits === true),
      row: ofRows,
      statement: statementEvents({ rows, isForeign }).length > 0 ? stateOf([STATEMENT]) : ofRows,
    };
  });
}

/** What hangs below several tables is fenced whole, unless there is one answer. */
function rowsOf(tables: readonly FencedTable[]): RowFilter | undefined {
  const [first, ...others] = tables;
  return others.every(({ rows }) => JSON.stringify(rows) === JSON.stringify(first?.rows)) ? first?.rows : undefined;
}

function together(found: readonly (Found | undefined)[], args: string): TriggerState {
  const enabled = new Set(found.map((one) => one?.[1]));
  return { enabled: enabled.size === 1 ? [...enabled][0] : 'O', isCurrent: found.every((one) => one?.[2] === args) };
}

/** As tgargs has them. */
function hexOf(texts: readonly string[]): string {
  return Buffer.from(texts.map((text) => `${text}\0`).join('')).toString('hex');
}

/** What stands in the WHEN is among them only so that triggers of other rows are known as such. */
function triggerArguments({ name, servesElsewhere, exempt = [] }: Told, rows: RowFilter | undefined): string[] {
  return [name, servesElsewhere, ...(rows === undefined ? [] : [rowsText(rows), exempt.join()])];
}

/** The session is none of our pipelines'. */
export function foreignSql({ name, exempt = [] }: Told): string {
  const ours = [name, reverseName(name), ...exempt].map(quoteLiteral).join(', ');
  return `coalesce(pg_catalog.current_setting('crossfade.pipeline', true), '') NOT IN (${ours})`;
}

export function rowsSql(rows: RowFilter, alias: string): string {
  return filterSql(rows, (column) => `${alias}.${quoteIdent(column)}`);
}

/** Statements that make what is missing of a member's triggers, or says something else. CREATE OR REPLACE wakes a trigger that slept. */
export function creations(options: Told, member: Member): readonly string[] {
  const others = foreignSql(options);
  const call = `EXECUTE FUNCTION ${FUNCTION.replace('()', '')}(${triggerArguments(options, member.rows).map(quoteLiteral).join(', ')})`;
  const create = (suffix: FenceTrigger, events: string, rest: string): string =>
    `CREATE OR REPLACE TRIGGER ${triggerName(options, suffix)} ${events} ON ${quoteTable(member)} ${rest} ${call}`;
  const made: string[] = [];
  if (!member.isPartition && !isCurrent(member.row)) {
    for (const { suffix, events, looksAt } of rowTriggers(member)) {
      const ours = looksAt.map((alias) => `(${rowsSql(member.rows!, alias)})`).join(' OR ');
      made.push(create(suffix, events, `FOR EACH ROW WHEN (${others}${ours === '' ? '' : ` AND (${ours})`})`));
    }
  }
  const events = statementEvents(member);
  if (!isCurrent(member.statement) && events.length > 0)
    made.push(create(STATEMENT, `BEFORE ${events.join(' OR ')}`, `FOR EACH STATEMENT WHEN (${others})`));
  return made;
}

/** A foreign table cannot have one of TRUNCATE. */
function statementEvents({ rows, isForeign }: Pick<Member, 'rows' | 'isForeign'>): readonly string[] {
  return [...(rows === undefined ? ['INSERT', 'UPDATE', 'DELETE'] : []), ...(isForeign ? [] : ['TRUNCATE'])];
}

function isCurrent({ enabled, isCurrent: says }: TriggerState): boolean {
  return enabled !== undefined && says;
}

/** `ONLY`: each member is told by itself, since how far this recurses differs between versions. */
export function enabling(fenced: Fenced, member: Member): string {
  const how = guarded('fence-always') ? 'ENABLE ALWAYS' : 'ENABLE';
  const suffixes = [...rowTriggers(member).map(({ suffix }) => suffix), ...(statementEvents(member).length > 0 ? [STATEMENT] : [])];
  return `ALTER TABLE ONLY ${quoteTable(member)} ${suffixes.map((suffix) => `${how} TRIGGER ${triggerName(fenced, suffix)}`).join(', ')}`;
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
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, c.relispartition::text AS partition, string_agg(t.tgname, ',') AS triggers
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname = ANY ($1::text[])
      GROUP BY c.oid, n.nspname, c.relname, c.relispartition ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [triggerNames(fenced)],
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
  const rows = await queryRows(
    client,
    `SELECT DISTINCT n.nspname AS schema, c.relname AS name
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname = ANY ($1::text[]) AND t.tgenabled <> 'D'`,
    [triggerNames(fenced)],
  );
  return rows.map((row) => ({ schema: row['schema']!, name: row['name']! }));
}

/** Triggers of a table and its partitions that were just made: neither asleep nor woken by a fence. */
export async function readNew(client: pg.ClientBase, fenced: Fenced, table: TableName): Promise<Omit<Carrier, 'isPartition'>[]> {
  const rows = await queryRows(
    client,
    `SELECT n.nspname AS schema, c.relname AS name, string_agg(t.tgname, ',') AS triggers
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgfoid = to_regprocedure('${FUNCTION}') AND t.tgname = ANY ($1::text[]) AND t.tgenabled = 'O'
        AND c.oid IN (SELECT $2::regclass UNION SELECT relid FROM pg_partition_tree($2::regclass))
      GROUP BY c.oid, n.nspname, c.relname`,
    [triggerNames(fenced), quoteTable(table)],
  );
  return rows.map((row) => ({ schema: row['schema']!, name: row['name']!, triggers: row['triggers']!.split(',') }));
}

export function isAwake({ row, statement }: Member): boolean {
  return row.enabled === 'A' && statement.enabled === 'A';
}
