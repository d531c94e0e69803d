/** What stands beside the rows: indexes as they are now, and sequences that feed columns. Guarantee: reads catalogues and ends of indexes only. */
import type pg from 'pg';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import type { TableIndex, TableTrigger } from '#schemas/reconcile/checks/structure.ts';

interface TableName {
  readonly schema: string;
  readonly name: string;
}

const INDEXES = `
SELECT n.nspname AS schema, c.relname AS table, ic.relname AS name, i.indisprimary::text AS primary, i.indisunique::text AS "unique",
  (i.indisvalid AND i.indisready)::text AS valid, (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)::text AS special, m.amname AS method,
  (SELECT json_agg(a.attname ORDER BY u.ord) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(attnum, ord)
   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum WHERE u.ord <= i.indnkeyatts)::text AS columns
FROM unnest($1::text[], $2::text[]) AS w(schema, name)
JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m ON m.oid = ic.relam
ORDER BY 1, 2, 3`;

export async function readIndexes(client: pg.ClientBase, tables: readonly TableName[]): Promise<TableIndex[]> {
  const rows = await queryRows(client, INDEXES, [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]);
  return rows.map((row) => ({
    schema: row['schema']!,
    table: row['table']!,
    name: row['name']!,
    primary: row['primary'] === 'true',
    unique: row['unique'] === 'true',
    valid: row['valid'] === 'true',
    special: row['special'] === 'true',
    method: row['method']!,
    columns: JSON.parse(row['columns'] ?? '[]') as string[],
  }));
}

/** Those of constraints, and ours, are none that somebody made. */
const TRIGGERS = `
SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name, (t.tgenabled IN ('O', 'A'))::text AS enabled
FROM unnest($1::text[], $2::text[]) AS w(schema, name)
JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
JOIN pg_trigger t ON t.tgrelid = c.oid JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace
WHERE NOT t.tgisinternal AND pn.nspname <> 'crossfade'
ORDER BY 1, 2, 3`;

export async function readTriggers(client: pg.ClientBase, tables: readonly TableName[]): Promise<TableTrigger[]> {
  const rows = await queryRows(client, TRIGGERS, [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]);
  return rows.map((row) => ({ schema: row['schema']!, table: row['table']!, name: row['name']!, enabled: row['enabled'] === 'true' }));
}

export interface SequenceState {
  /** `schema.name` of the sequence. */
  readonly sequence: string;
  readonly table: TableName;
  readonly column: string;
  /** Undefined: never used. */
  readonly lastValue: string | undefined;
  /** Largest key, or the smallest where the sequence counts down; undefined: no row. */
  readonly extreme: string | undefined;
  /** Undefined: the role may not read the sequence. */
  readonly isBehind: boolean | undefined;
}

const SEQUENCES = `
SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, format('%s.%s', sn.nspname, s.relname) AS sequence, format('%I.%I', sn.nspname, s.relname) AS quoted,
  (q.seqincrement < 0)::text AS down, has_sequence_privilege(s.oid, 'SELECT')::text AS readable
FROM pg_sequence q JOIN pg_class s ON s.oid = q.seqrelid JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN LATERAL (
  SELECT d.refobjid AS rel, d.refobjsubid AS att FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
  UNION
  SELECT f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid
) x ON true
JOIN pg_class c ON c.oid = x.rel JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.att
JOIN unnest($1::text[], $2::text[]) AS w(schema, name) ON w.schema = n.nspname AND w.name = c.relname
ORDER BY 1, 2, 3`;

/** The key is read before the sequence, which only moves on: whoever inserts meanwhile raises no alarm. */
export async function readSequences(client: pg.ClientBase, tables: readonly TableName[]): Promise<SequenceState[]> {
  const rows = await queryRows(client, SEQUENCES, [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]);
  const states: SequenceState[] = [];
  for (const row of rows) {
    const table = { schema: row['schema']!, name: row['table']! };
    const named = { sequence: row['sequence']!, table, column: row['column']! };
    if (row['readable'] !== 'true') {
      states.push({ ...named, lastValue: undefined, extreme: undefined, isBehind: undefined });
      continue;
    }
    const down = row['down'] === 'true';
    const end = await queryRow(
      client,
      `SELECT ${down ? 'min' : 'max'}(${quoteIdent(row['column']!)})::text AS v FROM ${quoteTable(table)}`,
    );
    const state = await queryRow(client, `SELECT last_value::text AS v, is_called::text AS used FROM ${row['quoted']!}`);
    const [extreme, isUsed] = [end?.['v'] ?? undefined, state?.['used'] === 'true'];
    const lastValue = isUsed ? (state?.['v'] ?? undefined) : undefined;
    states.push({ ...named, lastValue, extreme, isBehind: isBehind({ extreme, value: state?.['v'] ?? undefined, isUsed, down }) });
  }
  return states;
}

interface Position {
  readonly extreme: string | undefined;
  /** The last one given; where none was, the one that comes first. */
  readonly value: string | undefined;
  readonly isUsed: boolean;
  readonly down: boolean;
}

function isBehind({ extreme, value, isUsed, down }: Position): boolean {
  if (extreme === undefined || !/^-?\d+$/.test(extreme)) return false;
  if (value === undefined) return true;
  const ahead = down ? BigInt(extreme) - BigInt(value) : BigInt(value) - BigInt(extreme);
  return isUsed ? ahead < 0n : ahead <= 0n;
}
