/**
 * What the reconciler found and when it compared, in `crossfade.finding` and `crossfade.comparison` on the target. Guarantee: one line for each
 * finding, brought up to date and never removed; comparisons, and the verdicts of the file's checks in `crossfade.check_verdict`, are forgotten after a
 * week.
 */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { ComparisonRecord } from '#schemas/reconcile/comparison-record.ts';

/** Findings that are not ended, the oldest first, all or at most so many; none where nothing ever ran. */
export async function readOpenFindings(url: string, name: string, most?: number): Promise<DriftFinding[]> {
  return withSession(url, async (client) => {
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.finding') IS NOT NULL`)).rowCount === 0) return [];
    return readFindings(
      client,
      `SELECT ${COLUMNS} FROM crossfade.finding WHERE name = $1 AND state IN ('suspected', 'confirmed', 'repairing') ORDER BY first_at, id LIMIT $2::bigint`,
      [name, most === undefined ? null : String(most)],
    );
  });
}

/** The last findings, ended or not, the newest first. */
export async function readLastFindings(url: string, name: string, most: number): Promise<DriftFinding[]> {
  return withSession(url, async (client) => {
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.finding') IS NOT NULL`)).rowCount === 0) return [];
    return readFindings(client, `SELECT ${COLUMNS} FROM crossfade.finding WHERE name = $1 ORDER BY first_at DESC, id LIMIT $2::bigint`, [
      name,
      String(most),
    ]);
  });
}

export interface LastComparison {
  readonly from: string;
  readonly to: string;
  readonly at: string;
  readonly lsn: string | null;
  readonly rows: number;
  readonly verdict: ComparisonRecord['verdict'];
  readonly differences: number;
  /** How many of this table are remembered. */
  readonly times: number;
}

/** Of each table that was compared, the last time; none where nothing ever ran. */
export async function readLastComparisons(url: string, name: string): Promise<LastComparison[]> {
  return withSession(url, async (client) => {
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.comparison') IS NOT NULL`)).rowCount === 0) return [];
    const { rows } = await client.query<Row>(
      `SELECT DISTINCT ON (source_table, target_table) source_table, target_table, lsn::text AS lsn, rows::text AS rows, verdict, differences::text AS differences,
         (count(*) OVER (PARTITION BY source_table, target_table))::text AS times, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
       FROM crossfade.comparison WHERE name = $1 ORDER BY source_table, target_table, id DESC`,
      [name],
    );
    return rows.map((row) => ({
      from: row['source_table']!,
      to: row['target_table']!,
      at: row['at']!,
      lsn: row['lsn'] ?? null,
      rows: Number(row['rows']),
      verdict: row['verdict'] as LastComparison['verdict'],
      differences: Number(row['differences']),
      times: Number(row['times']),
    }));
  });
}

const COLUMNS = `id, source_table, target_table, key::text AS key, source_key::text AS source_key, kind, to_json(columns)::text AS columns, rows::text AS rows, cause, state, steps::text AS steps`;

type Row = Readonly<Record<string, string | null>>;

async function readFindings(client: pg.ClientBase, sql: string, values: readonly (string | null)[]): Promise<DriftFinding[]> {
  const { rows } = await client.query<Row>(sql, [...values]);
  return rows.map((row) => {
    const sourceKey = parsed<string[]>(row['source_key']);
    return {
      id: row['id']!,
      from: row['source_table']!,
      to: row['target_table']!,
      key: parsed<Record<string, string | null>>(row['key']) ?? null,
      ...(sourceKey !== undefined && { sourceKey }),
      kind: row['kind'] as DriftFinding['kind'],
      columns: parsed<string[]>(row['columns'])!,
      rows: Number(row['rows']),
      ...(row['cause'] === 'held' && { cause: 'held' as const }),
      state: row['state'] as DriftFinding['state'],
      steps: parsed<DriftFinding['steps']>(row['steps'])!,
    };
  });
}

function parsed<T>(text: string | null | undefined): T | undefined {
  return text === null || text === undefined ? undefined : (JSON.parse(text) as T);
}

const SAVE_FINDINGS = `
  INSERT INTO crossfade.finding (name, id, first_at, source_table, target_table, key, source_key, kind, columns, rows, cause, state, steps)
  SELECT $1, f.id, to_timestamp(f.first_ms / 1000.0), f."from", f."to", f.key, f."sourceKey", f.kind,
    ARRAY(SELECT pg_catalog.json_array_elements_text(f.columns)), f.rows, f.cause, f.state, f.steps
  FROM pg_catalog.json_to_recordset($2::json) AS f(id text, first_ms double precision, "from" text, "to" text, key jsonb, "sourceKey" jsonb, kind text, columns json, rows bigint, cause text, state text, steps jsonb)
  ON CONFLICT (name, id, first_at) DO UPDATE SET kind = excluded.kind, columns = excluded.columns, rows = excluded.rows,
    cause = excluded.cause, state = excluded.state, steps = excluded.steps
  WHERE (pg_catalog.jsonb_array_length(excluded.steps), (excluded.steps -> -1 ->> 'atMs')::float8)
    >= (pg_catalog.jsonb_array_length(crossfade.finding.steps), (crossfade.finding.steps -> -1 ->> 'atMs')::float8)`;

const SAVE_COMPARISONS = `
  INSERT INTO crossfade.comparison (name, source_table, target_table, lsn, rows, parts, parts_of, verdict, differences, cause, seconds)
  SELECT $1, c."from", c."to", c.lsn::pg_lsn, c.rows, c.parts, c."partsOf", c.verdict, c.differences, c.cause, c.seconds
  FROM pg_catalog.json_to_recordset($2::json) AS c("from" text, "to" text, lsn text, rows bigint, parts integer, "partsOf" integer, verdict text, differences bigint, cause text, seconds double precision)`;

const FORGET = `DELETE FROM crossfade.comparison WHERE name = $1 AND at < now() - interval '7 days'`;

/**
 * Of one round, in one transaction. The last state of a finding given twice is what stays; a save that was given up and arrives late takes nothing
 * back: steps are only ever added, and where the oldest give way to new ones the last one is later.
 */
export async function saveRound(
  url: string,
  name: string,
  round: { readonly findings: readonly DriftFinding[]; readonly comparisons: readonly ComparisonRecord[] },
): Promise<void> {
  const last = new Map(round.findings.map((one) => [JSON.stringify([one.id, one.steps[0]!.atMs]), one]));
  if (last.size === 0 && round.comparisons.length === 0) return;
  await withSession(url, async (client) => {
    await client.query('BEGIN');
    const findings = [...last.values()].map((one) => ({ ...one, first_ms: one.steps[0]!.atMs }));
    if (findings.length > 0) await client.query(SAVE_FINDINGS, [name, JSON.stringify(findings)]);
    if (round.comparisons.length > 0) {
      await client.query(SAVE_COMPARISONS, [name, JSON.stringify(round.comparisons)]);
      await client.query(FORGET, [name]);
    }
    await client.query('COMMIT');
  });
}

const SAVE_CHECKS = `
  INSERT INTO crossfade.check_verdict (name, check_name, kind, lsn, verdict, source, target, message, seconds)
  SELECT $1, c.name, c.kind, c.lsn::pg_lsn, c.verdict, c.source, c.target, c.message, $3::double precision
  FROM pg_catalog.json_to_recordset($2::json) AS c(name text, kind text, lsn text, verdict text, source text, target text, message text)`;

const FORGET_CHECKS = `DELETE FROM crossfade.check_verdict WHERE name = $1 AND at < now() - interval '7 days'`;

/** Of one round of the file's checks and queries, which took so long together. */
export async function saveChecks(url: string, name: string, verdicts: readonly CheckVerdict[], seconds: number): Promise<void> {
  await withSession(url, async (client) => {
    await client.query('BEGIN');
    await client.query(SAVE_CHECKS, [name, JSON.stringify(verdicts), String(seconds)]);
    await client.query(FORGET_CHECKS, [name]);
    await client.query('COMMIT');
  });
}

export interface LastCheck extends Pick<CheckVerdict, 'name' | 'kind' | 'verdict' | 'source' | 'target' | 'message'> {
  readonly at: string;
  readonly lsn: string | null;
  /** How many verdicts of it are remembered. */
  readonly times: number;
}

/** Of each check and query of the file that was made, the last verdict; of several with one name each. None where nothing ever ran. */
export async function readLastChecks(url: string, name: string): Promise<LastCheck[]> {
  return withSession(url, async (client) => {
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.check_verdict') IS NOT NULL`)).rowCount === 0) return [];
    const { rows } = await client.query<Row>(
      `SELECT check_name, kind, lsn::text AS lsn, verdict, source, target, message, times::text AS times, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
       FROM (SELECT v.*, rank() OVER (w ORDER BY v.at DESC) AS place, count(*) OVER w AS times FROM crossfade.check_verdict v WHERE v.name = $1
         WINDOW w AS (PARTITION BY v.check_name, v.kind)) AS ranked
       WHERE place = 1 ORDER BY id`,
      [name],
    );
    return rows.map((row) => ({
      name: row['check_name']!,
      kind: row['kind'] as LastCheck['kind'],
      at: row['at']!,
      lsn: row['lsn'] ?? null,
      verdict: row['verdict'] as LastCheck['verdict'],
      source: row['source'] ?? null,
      target: row['target'] ?? null,
      message: row['message']!,
      times: Number(row['times']),
    }));
  });
}

/** Nobody is to wait for our notes: not for a standby, and not for a lock. */
const SETTINGS: Readonly<Record<string, string>> = { synchronous_commit: 'local', statement_timeout: '30000', lock_timeout: '5000' };

async function withSession<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(url, { applicationName: 'crossfade reconciler', role: 'target', settings: SETTINGS });
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
