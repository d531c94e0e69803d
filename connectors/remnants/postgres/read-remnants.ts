/**
 * What a migration has left in a PostgreSQL database, as the catalogues have it. Guarantee: found by the names that Crossfade gives, whatever the file now says;
 * of things that several migrations share (schema `crossfade`) only this one's part is named while another one's stands there.
 */
import type pg from 'pg';
import { connect, queryRow, queryRows } from '#connectors/postgres/session.ts';
import { bytes } from '#schemas/document/blocks.ts';
import { fenceTriggerNames } from '#schemas/fence-names.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import { quoteIdent } from '#schemas/table.ts';

export interface RemnantPlace {
  readonly url: string;
  /** The migration's. */
  readonly name: string;
  readonly side: 'source' | 'target';
  /** As it is shown. */
  readonly place: string;
  /** Of one of several waves. */
  readonly waves?: OtherWaves | undefined;
}

export interface OtherWaves {
  /** Their migrations' names. */
  readonly names: readonly string[];
  /** All of them are cleaned up: what they left for the last one goes with it. */
  readonly areOver: boolean;
}

/** Migrations whose things go with this clean-up. */
function owners({ name, waves }: Pick<RemnantPlace, 'name' | 'waves'>): readonly string[] {
  return [name, ...(waves?.areOver === true ? waves.names : [])];
}

/** Units that have moved are refused on the side that they left, and flags say where they are, until all waves are over. */
function staysForWaves({ waves }: Pick<RemnantPlace, 'waves'>): Pick<Remnant, 'fate' | 'how'> | undefined {
  return waves?.areOver === false ? { fate: 'hand', how: 'it goes with the clean-up of the last wave' } : undefined;
}

/** Pipelines of a migration: the forward one, and the one back. */
export function pipelineNames(place: Pick<RemnantPlace, 'name' | 'waves'>): readonly string[] {
  return owners(place).flatMap((name) => [name, reverseName(name)]);
}

/** @throws PipelineError CF-2001, CF-5001 */
export async function readRemnants(place: RemnantPlace): Promise<Remnant[]> {
  const client = await connect(place.url, { applicationName: 'crossfade remnants', role: place.side });
  try {
    return [
      ...(await slots(client, place)),
      ...(await publications(client, place)),
      ...(await triggers(client, place)),
      ...(await origins(client, place)),
      ...(await ownSchema(client, place)),
    ];
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function slots(client: pg.Client, remnant: RemnantPlace): Promise<Remnant[]> {
  const rows = await queryRows(
    client,
    `SELECT slot_name AS name, active_pid::text AS pid, greatest(0, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn))::text AS held
       FROM pg_replication_slots WHERE slot_name = ANY ($1::text[]) AND database = current_database() AND NOT temporary ORDER BY 1`,
    [pipelineNames(remnant)],
  );
  return rows.map((row) => ({
    place: remnant.place,
    kind: 'slot',
    name: row['name']!,
    detail: `holds back ${row['held'] === null || row['held'] === undefined ? 'an unknown amount' : bytes(Number(row['held']))} of WAL`,
    holdsData: true,
    fate: 'cleanup',
    ...(row['pid'] !== null && row['pid'] !== undefined && { inUse: `process ${row['pid']} of the server reads it` }),
  }));
}

async function publications(client: pg.Client, remnant: RemnantPlace): Promise<Remnant[]> {
  const rows = await queryRows(
    client,
    `SELECT p.pubname AS name, (SELECT count(*) FROM pg_publication_rel r WHERE r.prpubid = p.oid)::text AS tables
       FROM pg_publication p WHERE p.pubname = ANY ($1::text[]) ORDER BY 1`,
    [pipelineNames(remnant)],
  );
  return rows.map((row) => ({
    place: remnant.place,
    kind: 'publication',
    name: row['name']!,
    detail: `${row['tables']} tables`,
    holdsData: false,
    fate: 'cleanup',
  }));
}

/** Of fences: those that call a function of our schema and bear the migration's name. A partition's goes with its parent's. */
const TRIGGERS = `
  SELECT n.nspname AS schema, c.relname AS table, t.tgname AS trigger, t.tgenabled::text AS enabled
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace o ON o.oid = f.pronamespace
   WHERE o.nspname = 'crossfade' AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgname = ANY ($1::text[])
   ORDER BY 1, 2, 3`;

async function triggers(client: pg.Client, place: RemnantPlace): Promise<Remnant[]> {
  const rows = await queryRows(client, TRIGGERS, [owners(place).flatMap(fenceTriggerNames)]);
  return rows.map((row) => ({
    place: place.place,
    kind: 'trigger',
    name: `${quoteIdent(row['trigger']!)} ON ${quoteIdent(row['schema']!)}.${quoteIdent(row['table']!)}`,
    detail: row['enabled'] === 'D' ? 'asleep' : 'refuses writes',
    holdsData: false,
    fate: 'cleanup',
    ...(row['enabled'] !== 'D' && staysForWaves(place)),
  }));
}

async function origins(client: pg.Client, remnant: RemnantPlace): Promise<Remnant[]> {
  const rows = await queryRows(
    client,
    `SELECT o.roname AS name FROM pg_replication_origin o WHERE o.roname = ANY ($1::text[]) ORDER BY 1`,
    [pipelineNames(remnant).map((one) => `crossfade_${one}`)],
  );
  return rows.map((row) => ({
    place: remnant.place,
    kind: 'origin',
    name: row['name']!,
    detail: 'marks our own writes',
    holdsData: false,
    fate: 'cleanup',
  }));
}

/** Tables of ours whose rows belong to a migration by their column `name`. */
export async function ownTables(client: pg.ClientBase): Promise<string[]> {
  const rows = await queryRows(
    client,
    `SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'name'
      WHERE n.nspname = 'crossfade' AND c.relkind = 'r' ORDER BY 1`,
  );
  return rows.map((row) => row['name']!);
}

/** Migrations whose rows stand in our tables, this one's pipelines left out. */
export async function otherMigrations(client: pg.ClientBase, place: Pick<RemnantPlace, 'name' | 'waves'>): Promise<string[]> {
  const tables = await ownTables(client);
  if (tables.length === 0) return [];
  const union = tables.map((table) => `SELECT name::text FROM crossfade.${quoteIdent(table)}`).join(' UNION ');
  const rows = await queryRows(client, `SELECT name FROM (${union}) AS named WHERE name <> ALL ($1::text[]) ORDER BY 1`, [
    pipelineNames(place),
  ]);
  return rows.map((row) => row['name']!);
}

async function ownSchema(client: pg.Client, remnant: RemnantPlace): Promise<Remnant[]> {
  const { name, place, side } = remnant;
  const found = await queryRow(
    client,
    `SELECT coalesce((SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r'), 0)::text AS size
       FROM pg_namespace n WHERE n.nspname = 'crossfade'`,
  );
  if (found === undefined) return [];
  const others = await otherMigrations(client, remnant);
  const keeps = side === 'target' ? 'the audit trail, keys of rows, and what was set aside' : 'journal and progress';
  const common = {
    place,
    // Rows that were set aside, and keys of rows that differed.
    holdsData: side === 'target',
    fate: side === 'target' ? ('asked' as const) : ('cleanup' as const),
    ...(side === 'target' && { how: 'crossfade cleanup --target-schema', ...staysForWaves(remnant) }),
  };
  if (others.length === 0)
    return [
      { ...common, ...staysForWaves(remnant), kind: 'schema', name: 'crossfade', detail: `${bytes(Number(found['size']))}: ${keeps}` },
    ];
  const mine = await ownRows(client, remnant);
  if (mine === 0) return [];
  return [
    {
      ...common,
      kind: 'rows',
      name: `crossfade, of ${name}`,
      detail: `${mine} rows: ${keeps}; the schema is shared with ${others.join(', ')}`,
    },
  ];
}

async function ownRows(client: pg.Client, place: RemnantPlace): Promise<number> {
  const tables = await ownTables(client);
  const union = tables
    .map((table) => `SELECT count(*) AS n FROM crossfade.${quoteIdent(table)} WHERE name = ANY ($1::text[])`)
    .join(' UNION ALL ');
  const row = await queryRow(client, `SELECT sum(n)::text AS n FROM (${union}) AS counted`, [pipelineNames(place)]);
  return Number(row?.['n'] ?? 0);
}
