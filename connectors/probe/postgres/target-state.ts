/**
 * What the target says of itself. Guarantee: read inside a snapshot, `applied` is the source position that the same snapshot's rows
 * show; it is read with SQL of its own, not with the sink's code.
 */
import type pg from 'pg';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import type { Pair, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';

export interface TargetState {
  readonly mode: string;
  /** Undefined until the change-over. */
  readonly applied: Lsn | undefined;
  /** Raw log offset behind what is applied. */
  readonly logOffset: number | undefined;
  readonly systemId: string | undefined;
  readonly mappingHash: string;
}

export interface TableState extends Pair {
  readonly state: 'waiting' | 'copying' | 'following' | 'held';
  readonly error: string | undefined;
}

/** Undefined when the migration has never run against this target. */
export async function readTargetState(client: pg.ClientBase, name: string): Promise<TargetState | undefined> {
  if (!(await queryRow(client, "SELECT WHERE to_regclass('crossfade.progress') IS NOT NULL"))) return undefined;
  const row = await queryRow(
    client,
    'SELECT mode, applied_lsn::text AS applied, log_offset::text AS log_offset, system_id, mapping_hash FROM crossfade.progress WHERE name = $1',
    [name],
  );
  if (!row) return undefined;
  return {
    mode: row['mode']!,
    applied: row['applied'] ? parseLsn(row['applied']) : undefined,
    logOffset: row['log_offset'] ? Number(row['log_offset']) : undefined,
    systemId: row['system_id'] ?? undefined,
    mappingHash: row['mapping_hash'] ?? '',
  };
}

/** Per source table and target. */
export async function readTableStates(client: pg.ClientBase, name: string): Promise<TableState[]> {
  if (!(await queryRow(client, "SELECT WHERE to_regclass('crossfade.table_progress') IS NOT NULL"))) return [];
  const rows = await queryRows(
    client,
    'SELECT source_schema, source_table, target_schema, target_table, state, error FROM crossfade.table_progress WHERE name = $1',
    [name],
  );
  return rows.map((row) => ({
    from: { schema: row['source_schema']!, name: row['source_table']! },
    to: { schema: row['target_schema']!, name: row['target_table']! },
    state: row['state'] as TableState['state'],
    error: row['error'] ?? undefined,
  }));
}

/** Keys of a source table whose rows one target has set aside, each as JSON of its texts in key order. */
export async function readHeldKeys(client: pg.ClientBase, name: string, { from, to }: Pair): Promise<ReadonlySet<string>> {
  if (!(await queryRow(client, "SELECT WHERE to_regclass('crossfade.blocked') IS NOT NULL"))) return new Set();
  const rows = await queryRows(
    client,
    `SELECT key::text AS key FROM crossfade.blocked WHERE name = $1 AND source_schema = $2 AND source_table = $3 AND target_schema = $4 AND target_table = $5
       AND discarded_at IS NULL`,
    [name, from.schema, from.name, to.schema, to.name],
  );
  return new Set(rows.map((row) => row['key']!));
}

/** OIDs of the relations whose changes the publication sends. */
export async function publishedRelations(source: pg.ClientBase, publication: string): Promise<ReadonlySet<number>> {
  const rows = await queryRows(
    source,
    `SELECT c.oid::text FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename WHERE p.pubname = $1`,
    [publication],
  );
  return new Set(rows.map((row) => Number(row['oid'])));
}

/**
 * Which of these type names a server knows as what another server may mean by them: not a domain or an enum, which each server may define
 * in its own way under one name.
 */
export async function knownTypes(client: pg.ClientBase, types: readonly string[]): Promise<ReadonlySet<string>> {
  const sql = `SELECT u.type FROM unnest($1::text[]) AS u(type) JOIN pg_type t ON t.oid = to_regtype(u.type)
    LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typlen = -1 WHERE coalesce(e.typtype, t.typtype) NOT IN ('d', 'e')`;
  const rows = await queryRows(client, sql, [types]);
  return new Set(rows.map((row) => row['type']!));
}

/** Those that the source may have to print its values as. */
export function typesOf({ columns }: TableMapping): string[] {
  return columns.map(({ targetBaseType, targetUnderDomain = targetBaseType }) => targetUnderDomain);
}
