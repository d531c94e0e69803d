/**
 * The sequences of tables. Guarantee: those that a column owns or takes its default from are found (a default that names its sequence as a text
 * is not); what `holdSequences` reports as held hands out nothing until the transaction ends.
 *
 * nextval takes no lock that a table's lock would meet, and ALTER SEQUENCE waits for every transaction that has called it. So a sequence is
 * only held where nobody has it at the moment: else we would wait for a writer that waits for us.
 */
import type pg from 'pg';
import type { ColumnName, SequenceValue, TableName } from '#connectors/fence/fence.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { quoteTable } from '#schemas/table.ts';

export interface Sequence {
  readonly sequence: TableName;
  readonly columns: readonly ColumnName[];
  readonly increment: bigint;
  readonly cache: bigint;
  readonly min: bigint;
  readonly max: bigint;
  readonly cycles: boolean;
  readonly owner: string;
  readonly mayAlter: boolean;
  readonly mayRead: boolean;
  /** It may be moved, if not held. */
  readonly maySet: boolean;
  /** A transaction that is open has called it. */
  readonly isBusy: boolean;
  /** By a column of these tables: it goes where its table goes. */
  readonly isOwned: boolean;
}

/** How long one may be waited for that became busy since we looked; far below any deadlock_timeout. */
const HOLD_MS = 20;

/** Of pg_sequence q, pg_class c and pg_namespace n, for `definitionOf`. */
export const DEFINITION = `n.nspname AS schema, c.relname AS name, q.seqincrement::text AS increment, q.seqcache::text AS cache, q.seqmin::text AS min,
         q.seqmax::text AS max, q.seqcycle::text AS cycles, pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE')::text AS mine,
         has_sequence_privilege(c.oid, 'SELECT')::text AS readable, has_sequence_privilege(c.oid, 'UPDATE')::text AS settable`;

const SEQUENCES = `
  WITH col AS (
    SELECT c.oid, n.nspname, c.relname, a.attnum, a.attname FROM unnest($1::text[], $2::text[]) AS u (s, t)
      JOIN pg_namespace n ON n.nspname = u.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.t
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  ), used AS (
    SELECT col.*, d.objid AS sequence FROM col JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = col.oid
       AND d.refobjsubid = col.attnum AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    UNION
    SELECT col.*, d.refobjid FROM col JOIN pg_attrdef f ON f.adrelid = col.oid AND f.adnum = col.attnum
      JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
  )
  SELECT ${DEFINITION},
         EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.pid <> pg_backend_pid()
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.mode <> 'AccessShareLock')::text AS busy,
         EXISTS (SELECT FROM pg_depend o JOIN col ON col.oid = o.refobjid WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid
                    AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i'))::text AS owned,
         json_agg(json_build_object('schema', used.nspname, 'name', used.relname, 'column', used.attname)
                  ORDER BY used.nspname, used.relname, used.attnum)::text AS columns
    FROM used JOIN pg_sequence q ON q.seqrelid = used.sequence JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   GROUP BY c.oid, n.nspname, c.relname, c.relowner, q.seqincrement, q.seqcache, q.seqmin, q.seqmax, q.seqcycle
   ORDER BY n.nspname, c.relname`;

/** What a sequence is by itself, whoever uses it. */
export function definitionOf(row: Readonly<Record<string, string | null>>): Omit<Sequence, 'columns' | 'isBusy' | 'isOwned'> {
  return {
    sequence: { schema: row['schema']!, name: row['name']! },
    increment: BigInt(row['increment']!),
    cache: BigInt(row['cache']!),
    min: BigInt(row['min']!),
    max: BigInt(row['max']!),
    cycles: row['cycles'] === 'true',
    owner: row['owner']!,
    mayAlter: row['mine'] === 'true',
    mayRead: row['readable'] === 'true',
    maySet: row['settable'] === 'true',
  };
}

export async function readSequences(client: pg.ClientBase, tables: readonly TableName[]): Promise<Sequence[]> {
  const rows = await queryRows(client, SEQUENCES, [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]);
  return rows.map((row) => ({
    ...definitionOf(row),
    columns: JSON.parse(row['columns']!) as ColumnName[],
    isBusy: row['busy'] === 'true',
    isOwned: row['owned'] === 'true',
  }));
}

export interface HeldSequences {
  values(client: pg.ClientBase): Promise<SequenceValue[]>;
  has(sequence: Sequence): boolean;
}

/**
 * In a transaction, under its table locks.
 * @param move that the tables' own ones are to be moved: they are tried however busy they were before the locks
 */
export async function holdSequences(client: pg.ClientBase, found: readonly Sequence[], move: boolean): Promise<HeldSequences> {
  const moved = found.filter(({ isOwned }) => move && isOwned);
  const free = found.filter((one) => !moved.includes(one) && one.mayAlter && !one.isBusy);
  const held = new Set<Sequence>();
  for (const some of [moved, free]) if (some.length > 0 && (await alterAll(client, some))) some.forEach((one) => held.add(one));
  return {
    has: (sequence) => held.has(sequence),
    values: async (now) => {
      const positions = await readPositions(now, found);
      return found.map((one, i) => ({
        sequence: one.sequence,
        columns: one.columns,
        increment: one.increment,
        cache: one.cache,
        isHeld: held.has(one),
        ...positions[i]!,
      }));
    },
  };
}

async function alterAll(client: pg.ClientBase, sequences: readonly Sequence[]): Promise<boolean> {
  const alter = sequences.map(({ sequence, cache }) => `ALTER SEQUENCE ${quoteTable(sequence)} CACHE ${cache}`);
  await client.query('SAVEPOINT sequences');
  try {
    await client.query([`SET LOCAL lock_timeout = ${HOLD_MS}`, ...alter, 'RELEASE SAVEPOINT sequences'].join(';\n'));
    return true;
  } catch (error) {
    // 55P03: somebody was quicker. 40P01: with somebody who waits for our tables.
    if (!['55P03', '40P01'].includes((error as { code?: string }).code ?? '')) throw error;
    await client.query('ROLLBACK TO SAVEPOINT sequences');
    return false;
  }
}

/** As they are, and nothing is held. */
export async function readValues(client: pg.ClientBase, tables: readonly TableName[]): Promise<SequenceValue[]> {
  const found = await readSequences(client, tables);
  const positions = await readPositions(client, found);
  return found.map(({ sequence, columns, increment, cache }, i) => ({
    sequence,
    columns,
    increment,
    cache,
    isHeld: false,
    ...positions[i]!,
  }));
}

export interface SequencePosition {
  readonly lastValue: bigint;
  readonly isCalled: boolean;
}

export async function readPositions(
  client: pg.ClientBase,
  sequences: readonly { readonly sequence: TableName }[],
): Promise<SequencePosition[]> {
  if (sequences.length === 0) return [];
  const each = sequences.map(
    ({ sequence }, i) => `SELECT ${i} AS i, last_value::text AS last, is_called::text AS called FROM ${quoteTable(sequence)}`,
  );
  const rows = await queryRows(client, `SELECT last, called FROM (${each.join(' UNION ALL ')}) AS q ORDER BY i`);
  return rows.map((row) => ({ lastValue: BigInt(row['last']!), isCalled: row['called'] === 'true' }));
}
