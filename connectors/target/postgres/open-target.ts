/**
 * Takes a target over for one migration. Guarantee: at most one instance holds it (a session lock keyed by the migration's name); the
 * epoch is raised before anything is written, so that whatever a predecessor's sessions still have open can no longer commit.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { requireRenames } from '#connectors/postgres/renames.ts';
import { connect } from '#connectors/postgres/session.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { originMessage, originName } from '#schemas/frame/frame.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, type CatalogTable } from '#schemas/table.ts';
import { RoundApplier } from './apply.ts';
import { readBlockedRows, type BlockedRows } from './blocked-rows.ts';
import { ExplodedSql } from './exploded-sql.ts';
import type { Progress, TableProgress, TargetEvents } from '#connectors/target/target.ts';
import { KeyAllocator } from './key-allocator.ts';
import { readProgress, readTableProgress, type ProgressKeeper } from './progress.ts';
import { registerTables } from './register-tables.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { TableSql } from './statements.ts';
import { rankTables } from './table-order.ts';
import { Wire } from './wire.ts';

export interface TargetOptions {
  readonly url: string;
  readonly mapping: CompiledMapping;
  /** The target's catalogue, for partitioned tables, identity columns and foreign keys. */
  readonly tables: readonly CatalogTable[];
  readonly synchronousCommit: boolean;
  /** Names this installation (host and data directory): a leftover of the same one may be ended, another is respected. */
  readonly instance: string;
  /** By `tableId`: source tables whose chunks the log has handed out before; a table that is new here has missed them. */
  readonly copied?: ReadonlySet<string>;
  /** By `tableId`: source tables that the file sends anywhere; absent: this target is the only one. */
  readonly published?: ReadonlySet<string>;
  readonly onMissing: TargetEvents['onMissing'];
}

export interface PostgresTarget {
  /** As it was found, the epoch already raised. */
  readonly progress: Progress;
  readonly tables: readonly TableProgress[];
  /** Keys of which a row was set aside. */
  readonly blocked: BlockedRows;
  /** Foreign keys are checked while we write: no lanes, parents first. */
  readonly ordered: boolean;
  /** The session that holds the target; for reads and the change-over between rounds. */
  readonly client: pg.Client;
  applier(keeper: ProgressKeeper): RoundApplier;
  /** Another connection, for a lane. */
  openLane(keeper: ProgressKeeper): Promise<RoundApplier>;
  close(): Promise<void>;
}

/** How long a killed predecessor's server process may take to notice. */
const LEFTOVER_WAIT_MS = 3_000;
const LEFTOVER_POLL_MS = 50;
/** A half-open session of ours must not hold rows: the server ends it. */
const IDLE_IN_TRANSACTION_MS = 60_000;

function settings(options: TargetOptions, searchPath: string): Record<string, string> {
  return {
    // The fence's triggers let a session pass that says it (connectors/fence).
    'crossfade.pipeline': options.mapping.name,
    search_path: searchPath,
    synchronous_commit: options.synchronousCommit ? 'on' : 'off',
    idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
    tcp_keepalives_idle: '30',
    tcp_keepalives_interval: '10',
    tcp_keepalives_count: '3',
    lock_timeout: '30s',
    // A key's id may be allocated by another session while a transaction is open here.
    default_transaction_isolation: 'read committed',
    statement_timeout: '0',
    // Joins are from a few staged rows to a table by its key; without statistics the planner may prefer to read the table whole.
    enable_hashjoin: 'off',
    enable_mergejoin: 'off',
    enable_seqscan: 'off',
    jit: 'off',
    client_min_messages: 'error',
  };
}

/** PostgreSQL keeps 63 bytes of it; a migration's name has at most 48. */
export function sinkSessionName(name: string): string {
  return `crossfade ${name} sink`;
}

export async function openTarget(options: TargetOptions): Promise<PostgresTarget> {
  const probe = await connect(options.url, { applicationName: 'crossfade types', role: 'target' });
  let searchPath: string;
  try {
    searchPath = await typeSchemas(probe, options.mapping);
  } finally {
    await probe.end();
  }
  const open = async (): Promise<pg.Client> =>
    connect(options.url, {
      applicationName: sinkSessionName(options.mapping.name),
      role: 'target',
      settings: settings(options, searchPath),
    });
  const client = await open();
  try {
    return await takeOver(options, client, open);
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

async function takeOver(options: TargetOptions, client: pg.Client, open: () => Promise<pg.Client>): Promise<PostgresTarget> {
  await ensureSchema(client);
  await lockMigration(client, options);
  const progress = await raiseEpoch(client, options);
  requirePlace(progress);
  // A swap raises it, too: either it comes later, and this sink commits nothing, or it is seen here.
  const { name, renamed } = options.mapping;
  if (renamed !== undefined) await requireRenames(client, name, renamed.renames);
  const rank = rankTables(options.mapping, options.tables);
  await registerTables(client, options, rank);
  const tables = await readTableProgress(client, options.mapping.name);
  const blocked = await readBlockedRows(client, options.mapping);
  const role = await prepareSession(client, options.mapping.name);
  const ordered = !role.replica && rank.hasForeignKeys;
  const sqlOf = sqlByTable(options);
  const mapsKeys = options.mapping.tables.some(({ columns }) => columns.some(({ keyMap }) => keyMap !== undefined));
  const keys = mapsKeys ? new KeyAllocator(open) : undefined;
  const applierOf = (session: pg.Client, keeper: ProgressKeeper, origin: boolean): RoundApplier =>
    new RoundApplier({
      name: options.mapping.name,
      wire: new Wire(session),
      keeper,
      sqlOf,
      rank: rank.rank,
      related: rank.related,
      blocked,
      ...(keys !== undefined && { keys }),
      ordered,
      originMessage: origin ? undefined : originMessage(options.mapping.name),
      onMissing: options.onMissing,
    });
  return {
    progress,
    tables,
    blocked,
    ordered,
    client,
    applier: (keeper) => applierOf(client, keeper, role.origin),
    openLane: async (keeper) => {
      const session = await open();
      await prepareSession(session, undefined);
      return applierOf(session, keeper, false);
    },
    close: async () => {
      await keys?.close();
      await client.end().catch(() => undefined);
    },
  };
}

/** As `openTarget` would find it, without taking anything over: foreign keys are checked while we write. */
export async function isOrdered({ url, mapping, tables }: Pick<TargetOptions, 'url' | 'mapping' | 'tables'>): Promise<boolean> {
  if (!rankTables(mapping, tables).hasForeignKeys) return false;
  const client = await connect(url, { applicationName: 'crossfade', role: 'target' });
  try {
    return !(await allowed(client, 'SET session_replication_role = replica'));
  } finally {
    await client.end();
  }
}

function sqlByTable(options: TargetOptions): (table: TableMapping) => TableSql {
  const byId = new Map(options.tables.map((table) => [tableId(table), table]));
  const made = new Map<TableMapping, TableSql>();
  return (table) => {
    let sql = made.get(table);
    if (sql === undefined) {
      const Sql = table.explode === undefined ? TableSql : ExplodedSql;
      made.set(table, (sql = new Sql(table, made.size, byId.get(tableId(table.to)))));
    }
    return sql;
  };
}

/**
 * Operators of types from extensions (citext, ltree …) are found through the search path only. pg_catalog stays first, so nothing
 * of ours can be shadowed.
 */
async function typeSchemas(client: pg.Client, mapping: CompiledMapping): Promise<string> {
  const result = await client.query<{ schema: string }>(
    `SELECT DISTINCT n.nspname AS schema FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
       JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem LEFT JOIN pg_type b ON b.oid = t.typbasetype
       JOIN pg_namespace n ON n.oid IN (t.typnamespace, e.typnamespace, b.typnamespace)
     WHERE a.attnum > 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       AND (cn.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [mapping.tables.map((table) => table.to.schema), mapping.tables.map((table) => table.to.name)],
  );
  return ['pg_catalog', ...result.rows.map((row) => quoteIdent(row.schema)).toSorted()].join(', ');
}

const LOCK = `hashtextextended('crossfade migration ' || $1, 0)`;

async function lockMigration(client: pg.Client, options: TargetOptions): Promise<void> {
  const { name } = options.mapping;
  const deadline = Date.now() + LEFTOVER_WAIT_MS;
  for (let ended = false; ;) {
    const got = await client.query<{ ok: string }>(`SELECT pg_try_advisory_lock(${LOCK})::text AS ok`, [name]);
    if (got.rows[0]!.ok === 'true') return;
    if (Date.now() > deadline && ended) throw new PipelineError('CF-7003', `another instance runs migration ${name} against this target`);
    if (Date.now() > deadline || (await heldByLeftover(client, options))) {
      if (!(await heldByLeftover(client, options)))
        throw new PipelineError('CF-7003', `another instance runs migration ${name} against this target`);
      await endHolder(client, name);
      ended = true;
    }
    await delay(LEFTOVER_POLL_MS);
  }
}

/** Our own installation's last run held it: its data directory is ours now, so it is gone, only its server process is not. */
async function heldByLeftover(client: pg.Client, options: TargetOptions): Promise<boolean> {
  const progress = await readProgress(client, options.mapping.name);
  return progress !== undefined && progress.instance === options.instance;
}

async function endHolder(client: pg.Client, name: string): Promise<void> {
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND ((classid::bigint << 32) | objid::bigint) = ${LOCK} AND pid <> pg_backend_pid()`,
    [name],
  );
}

async function raiseEpoch(client: pg.Client, options: TargetOptions): Promise<Progress> {
  const { name, hash } = options.mapping;
  // Nobody else may be here now: what is left of a predecessor's sessions is ended before its rows are waited for.
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = $1 AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()`,
    [sinkSessionName(name)],
  );
  await client.query(
    `INSERT INTO crossfade.progress AS p (name, epoch, mode, mapping_hash, instance, backends) VALUES ($1, 1, 'parallel', $2, $3, ARRAY[pg_backend_pid()])
     ON CONFLICT (name) DO UPDATE SET epoch = p.epoch + 1, mapping_hash = $2, instance = $3, backends = ARRAY[pg_backend_pid()], updated_at = now()`,
    [name, hash, options.instance],
  );
  const progress = await readProgress(client, name);
  invariant(progress !== undefined, 'the progress row was just written');
  return progress;
}

/** `giveUpPlace` has taken it: what the log still holds is not to come here any more, and who begins the path anew says where. @throws PipelineError CF-5006 */
function requirePlace({ name, mode, logOffset }: Progress): void {
  if (mode === 'consistent' && logOffset === undefined)
    throw new PipelineError('CF-5006', `the place of ${name} was given up here: a rollback was forced`);
}

interface SessionRole {
  readonly replica: boolean;
  readonly origin: boolean;
}

/** Uses what the role may: no foreign key checks and ordinary triggers, and a replication origin for the session that holds the target. */
async function prepareSession(client: pg.Client, name: string | undefined): Promise<SessionRole> {
  const replica = await allowed(client, 'SET session_replication_role = replica');
  if (name === undefined) return { replica, origin: false };
  const origin = originName(name);
  const made = await allowed(
    client,
    `SELECT CASE WHEN NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = '${origin}') THEN pg_replication_origin_create('${origin}') END`,
  );
  return { replica, origin: made && (await allowed(client, `SELECT pg_replication_origin_session_setup('${origin}')`)) };
}

async function allowed(client: pg.Client, sql: string): Promise<boolean> {
  try {
    await client.query(sql);
    return true;
  } catch {
    return false;
  }
}
