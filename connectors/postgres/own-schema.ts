/**
 * Our own tables: schema `crossfade`, on the target and wherever a fence or a reverse path stands. Guarantee: made and brought up to date by numbered steps, each once, under an
 * advisory lock and in one transaction; a role that owns the schema but may not create one only makes the tables.
 */
import type pg from 'pg';
import { messageOf, PipelineError } from '#schemas/errors.ts';

/** Step n brings the schema from version n - 1 to n. Steps are never edited once released. */
const STEPS: readonly string[] = [
  `CREATE TABLE crossfade.progress (
     name text PRIMARY KEY,
     epoch bigint NOT NULL,
     mode text NOT NULL CHECK (mode IN ('parallel', 'consistent')),
     applied_lsn pg_lsn,
     log_offset bigint,
     commit_time timestamptz,
     system_id text,
     timeline integer,
     mapping_hash text NOT NULL,
     instance text NOT NULL,
     backends integer[] NOT NULL DEFAULT '{}',
     stats jsonb NOT NULL DEFAULT '{}',
     started_at timestamptz NOT NULL DEFAULT now(),
     updated_at timestamptz NOT NULL DEFAULT now()
   ) WITH (fillfactor = 50);
   CREATE TABLE crossfade.table_progress (
     name text NOT NULL REFERENCES crossfade.progress ON DELETE CASCADE,
     source_schema text NOT NULL,
     source_table text NOT NULL,
     target_schema text NOT NULL,
     target_table text NOT NULL,
     state text NOT NULL CHECK (state IN ('waiting', 'copying', 'following', 'held')),
     log_offset bigint NOT NULL DEFAULT 0,
     lsn pg_lsn,
     rows_copied bigint NOT NULL DEFAULT 0,
     rows_estimated bigint,
     changes_applied bigint NOT NULL DEFAULT 0,
     error text,
     held_key text,
     held_offset bigint,
     held_lsn pg_lsn,
     updated_at timestamptz NOT NULL DEFAULT now(),
     PRIMARY KEY (name, source_schema, source_table)
   ) WITH (fillfactor = 50);
   CREATE TABLE crossfade.markers (
     name text NOT NULL,
     id text NOT NULL,
     lsn pg_lsn NOT NULL,
     applied_at timestamptz NOT NULL DEFAULT now(),
     PRIMARY KEY (name, id)
   );`,
  `CREATE TABLE crossfade.lease (
     name text PRIMARY KEY,
     holder text NOT NULL,
     backend integer NOT NULL,
     expires_at timestamptz NOT NULL
   ) WITH (fillfactor = 50);`,
  `CREATE TABLE crossfade.bookmark (
     name text PRIMARY KEY REFERENCES crossfade.progress ON DELETE CASCADE,
     log_offset bigint NOT NULL,
     bookmark jsonb NOT NULL,
     updated_at timestamptz NOT NULL DEFAULT now()
   ) WITH (fillfactor = 50);`,
  `ALTER TABLE crossfade.progress ADD COLUMN blocked_version bigint NOT NULL DEFAULT 0;
   CREATE TABLE crossfade.blocked (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL REFERENCES crossfade.progress ON DELETE CASCADE,
     source_schema text NOT NULL,
     source_table text NOT NULL,
     target_schema text NOT NULL,
     target_table text NOT NULL,
     key json NOT NULL,
     key_hash text NOT NULL,
     cause text NOT NULL CHECK (cause IN ('row', 'moved', 'dependant')),
     sql_state text NOT NULL,
     message text NOT NULL,
     constraint_name text,
     row_values json,
     row_bytes integer NOT NULL,
     is_delete boolean NOT NULL,
     lsn pg_lsn NOT NULL,
     log_offset bigint NOT NULL,
     last_lsn pg_lsn NOT NULL,
     queued bigint NOT NULL DEFAULT 0,
     attempts integer NOT NULL DEFAULT 1,
     published boolean NOT NULL DEFAULT false,
     first_at timestamptz NOT NULL DEFAULT now(),
     last_at timestamptz NOT NULL DEFAULT now(),
     discarded_at timestamptz,
     discarded_by text,
     discard_reason text
   );
   CREATE UNIQUE INDEX blocked_key ON crossfade.blocked (name, source_schema, source_table, key_hash) WHERE discarded_at IS NULL;`,
  `ALTER TABLE crossfade.blocked DROP CONSTRAINT blocked_cause_check,
     ADD CONSTRAINT blocked_cause_check CHECK (cause IN ('row', 'moved', 'dependant', 'mapping'));`,
  `CREATE TABLE crossfade.schema_steps (
     name text NOT NULL,
     step text NOT NULL,
     digest text NOT NULL,
     state text NOT NULL CHECK (state IN ('begun', 'done')),
     settled boolean NOT NULL DEFAULT false,
     at timestamptz NOT NULL DEFAULT now(),
     PRIMARY KEY (name, step)
   );`,
  // A source table may go to several targets.
  `ALTER TABLE crossfade.table_progress DROP CONSTRAINT table_progress_pkey,
     ADD PRIMARY KEY (name, source_schema, source_table, target_schema, target_table);
   DROP INDEX crossfade.blocked_key;
   CREATE UNIQUE INDEX blocked_key ON crossfade.blocked (name, source_schema, source_table, target_schema, target_table, key_hash)
     WHERE discarded_at IS NULL;`,
  `CREATE TABLE crossfade.plan (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL,
     hash text NOT NULL,
     signed boolean NOT NULL,
     since timestamptz NOT NULL DEFAULT now()
   );`,
  // Ids that stand for the source's keys. Rows are only ever added. What tells most comes first in the indexes: before there are statistics a
  // look-up by key would else be planned over all keys of its domain.
  `CREATE TABLE crossfade.key_map (
     name text COLLATE "C" NOT NULL,
     domain text COLLATE "C" NOT NULL,
     source_key text COLLATE "C" NOT NULL,
     target_key text COLLATE "C" NOT NULL,
     CONSTRAINT key_map_pkey PRIMARY KEY (source_key, domain, name),
     CONSTRAINT key_map_id UNIQUE (target_key, domain, name)
   );`,
  `CREATE TABLE crossfade.finding (
     name text NOT NULL,
     id text NOT NULL,
     first_at timestamptz NOT NULL,
     source_table text NOT NULL,
     target_table text NOT NULL,
     key jsonb,
     source_key jsonb,
     kind text NOT NULL CHECK (kind IN ('missing', 'extra', 'different')),
     columns text[] NOT NULL,
     rows bigint NOT NULL,
     cause text,
     state text NOT NULL CHECK (state IN ('suspected', 'confirmed', 'repairing', 'verified', 'flapped')),
     steps jsonb NOT NULL,
     PRIMARY KEY (name, id, first_at)
   );
   CREATE INDEX finding_open ON crossfade.finding (name) WHERE state IN ('suspected', 'confirmed', 'repairing');
   CREATE TABLE crossfade.comparison (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL,
     source_table text NOT NULL,
     target_table text NOT NULL,
     lsn pg_lsn,
     rows bigint NOT NULL,
     parts integer NOT NULL,
     parts_of integer NOT NULL,
     verdict text NOT NULL CHECK (verdict IN ('equal', 'differs', 'inconclusive')),
     differences bigint NOT NULL,
     cause text,
     seconds double precision NOT NULL,
     at timestamptz NOT NULL DEFAULT now()
   );
   CREATE INDEX comparison_at ON crossfade.comparison (name, at);`,
  // The state of cut-over and rollback. The journal stands on both sides: a row is written in the transaction of the fence that it decides.
  `CREATE TABLE crossfade.migration (
     name text PRIMARY KEY,
     state text NOT NULL DEFAULT 'following',
     serves text NOT NULL DEFAULT 'source' CHECK (serves IN ('source', 'target')),
     epoch bigint NOT NULL DEFAULT 0,
     version bigint NOT NULL DEFAULT 0,
     reverse_wanted boolean NOT NULL DEFAULT false,
     act jsonb,
     reads jsonb,
     plan_hash text,
     lease_holder text,
     lease_backend integer,
     lease_expires timestamptz,
     audit_seq bigint NOT NULL DEFAULT 0,
     audit_hash text NOT NULL DEFAULT '',
     updated_at timestamptz NOT NULL DEFAULT now()
   ) WITH (fillfactor = 50);
   CREATE TABLE crossfade.audit (
     name text NOT NULL,
     seq bigint NOT NULL,
     at text NOT NULL,
     actor text NOT NULL,
     event text NOT NULL,
     from_state text,
     to_state text,
     details jsonb NOT NULL,
     prev_hash text NOT NULL,
     hash text NOT NULL,
     PRIMARY KEY (name, seq)
   );
   CREATE TABLE crossfade.approval (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL,
     subject text NOT NULL,
     plan_hash text NOT NULL,
     person text NOT NULL,
     at timestamptz NOT NULL DEFAULT now(),
     reason text,
     UNIQUE (name, subject, plan_hash, person)
   );
   CREATE TABLE crossfade.journal (
     name text NOT NULL,
     epoch bigint NOT NULL,
     serves text NOT NULL CHECK (serves IN ('source', 'target')),
     marker text,
     at timestamptz NOT NULL DEFAULT now(),
     details jsonb NOT NULL DEFAULT '{}',
     PRIMARY KEY (name, epoch)
   );`,
  // What others than our sinks wrote on the side that does not serve.
  `CREATE TABLE crossfade.foreign_writes (
     name text NOT NULL,
     table_name text NOT NULL,
     changes bigint NOT NULL,
     last_lsn pg_lsn NOT NULL,
     first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     PRIMARY KEY (name, table_name)
   );`,
  // Plans as people signed them, so that a later one can be told what changed.
  `CREATE TABLE crossfade.plan_document (
     name text NOT NULL,
     hash text NOT NULL,
     document json NOT NULL,
     at timestamptz NOT NULL DEFAULT now(),
     PRIMARY KEY (name, hash)
   );`,
  // Where tables stand after a rename swap, under the names of both directions.
  `CREATE TABLE crossfade.renamed (
     name text NOT NULL,
     table_schema text NOT NULL,
     table_name text NOT NULL,
     now_schema text NOT NULL,
     now_name text NOT NULL,
     PRIMARY KEY (name, table_schema, table_name)
   );`,
  // Conflicts of dual writes, by kind and who won.
  `ALTER TABLE crossfade.table_progress ADD COLUMN conflicts jsonb NOT NULL DEFAULT '{}';`,
  // What the file's checks and shadow queries came to, each time that a running instance made them.
  `CREATE TABLE crossfade.check_verdict (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL,
     at timestamptz NOT NULL DEFAULT now(),
     check_name text NOT NULL,
     kind text NOT NULL,
     lsn pg_lsn,
     verdict text NOT NULL CHECK (verdict IN ('equal', 'differs', 'inconclusive')),
     source text,
     target text,
     message text NOT NULL,
     seconds double precision NOT NULL
   );
   CREATE INDEX check_verdict_at ON crossfade.check_verdict (name, at);`,
  // Of a way back that was begun anew while the target served: what was committed below it may never have come.
  `ALTER TABLE crossfade.progress ADD COLUMN gap_lsn pg_lsn;`,
];

const SCHEMA_LOCK = `pg_advisory_xact_lock(hashtextextended('crossfade schema', 0))`;

/** @throws PipelineError CF-5002 when the schema is missing and the role may not create it, or may not create tables in it. */
export async function ensureSchema(client: pg.Client): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(`SELECT ${SCHEMA_LOCK}`);
    if (!(await exists(client, `SELECT FROM pg_namespace WHERE nspname = 'crossfade'`))) await client.query('CREATE SCHEMA crossfade');
    if (!(await exists(client, `SELECT FROM pg_class WHERE oid = to_regclass('crossfade.schema_version')`))) {
      await client.query(
        'CREATE TABLE crossfade.schema_version (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())',
      );
    }
    const done = await client.query<{ version: string }>('SELECT coalesce(max(version), 0)::text AS version FROM crossfade.schema_version');
    for (let version = Number(done.rows[0]!.version) + 1; version <= STEPS.length; version++) {
      await client.query(STEPS[version - 1]!);
      await client.query('INSERT INTO crossfade.schema_version (version) VALUES ($1)', [version]);
    }
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    if ((error as { code?: string }).code !== '42501') throw error;
    throw new PipelineError('CF-5002', `the role cannot make the schema crossfade or its tables: ${messageOf(error)}`, {
      cause: error,
      remedy: 'CREATE SCHEMA crossfade AUTHORIZATION <the role>;',
    });
  }
}

async function exists(client: pg.Client, sql: string): Promise<boolean> {
  return ((await client.query(sql)).rowCount ?? 0) > 0;
}
