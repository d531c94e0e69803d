/**
 * The audit trail, `crossfade.audit` on the target. Guarantee: only ever added to, each record with the hash of the one before; its head stands in
 * the state row, whose lock puts the writers in a line. A trail that somebody has tampered with is told as such, and keeps nobody from acting.
 */
import type pg from 'pg';
import { connect, queryRow, queryRows } from '#connectors/postgres/session.ts';
import { auditHash, type AuditRecord, type AuditVerdict, type Details, verifyChain } from '#schemas/migration/audit-record.ts';
import type { MigrationRow } from '#schemas/migration/migration-row.ts';

export interface AuditEntry {
  readonly actor: string;
  readonly event: string;
  readonly fromState?: string;
  readonly toState?: string;
  readonly details?: Details;
}

/**
 * In a transaction that holds the row's lock (inState); one record each. Behind whatever stands there: a record that is not ours (put in by hand, or the state row was put back to an earlier
 * moment) breaks the chain for good, and would else refuse every later one, that of a decision too.
 */
export async function appendAudit(client: pg.ClientBase, row: MigrationRow, entry: AuditEntry): Promise<AuditRecord> {
  const clock = await queryRow(
    client,
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, audit_hash AS hash,
            greatest(audit_seq, (SELECT max(a.seq) FROM crossfade.audit a WHERE a.name = $1))::text AS seq
     FROM crossfade.migration WHERE name = $1`,
    [row.name],
  );
  const record = {
    name: row.name,
    seq: Number(clock!['seq']) + 1,
    at: clock!['at']!,
    actor: storable(entry.actor),
    event: entry.event,
    fromState: entry.fromState ?? null,
    toState: entry.toState ?? null,
    details: storableDetails(entry.details),
    prevHash: clock!['hash']!,
  };
  const hash = auditHash(record);
  await client.query(
    `INSERT INTO crossfade.audit (name, seq, at, actor, event, from_state, to_state, details, prev_hash, hash)
     VALUES ($1, $2::bigint, $3, $4, $5, $6, $7, $8::jsonb, $9, $10)`,
    [
      record.name,
      String(record.seq),
      record.at,
      record.actor,
      record.event,
      record.fromState,
      record.toState,
      JSON.stringify(record.details),
      record.prevHash,
      hash,
    ],
  );
  await client.query('UPDATE crossfade.migration SET audit_seq = $2::bigint, audit_hash = $3 WHERE name = $1', [
    record.name,
    String(record.seq),
    hash,
  ]);
  return { ...record, hash };
}

/** PostgreSQL's text holds no NUL and no half of a surrogate pair. */
function storable(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed();
}

/** As it will be read back. */
function storableDetails(details: Details = {}): Details {
  const text = JSON.stringify(details, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : typeof value === 'string' ? storable(value) : value,
  );
  return JSON.parse(text) as Details;
}

/** The oldest first; none where nothing was written. */
export async function readAudit(url: string, name: string): Promise<AuditRecord[]> {
  const client = await connect(url, { applicationName: 'crossfade audit', role: 'target' });
  try {
    return await readRecords(client, name);
  } finally {
    await client.end().catch(() => undefined);
  }
}

export interface AuditTrail {
  readonly records: readonly AuditRecord[];
  readonly verdict: AuditVerdict;
}

export async function verifyAudit(url: string, name: string): Promise<AuditVerdict> {
  return (await readTrail(url, name)).verdict;
}

/** Records and head of one moment. */
export async function readTrail(url: string, name: string): Promise<AuditTrail> {
  const client = await connect(url, { applicationName: 'crossfade audit', role: 'target' });
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const records = await readRecords(client, name);
    const head =
      (await client.query(`SELECT WHERE to_regclass('crossfade.migration') IS NOT NULL`)).rowCount === 0
        ? undefined
        : await queryRow(client, 'SELECT audit_seq::text AS seq, audit_hash AS hash FROM crossfade.migration WHERE name = $1', [name]);
    return { records, verdict: verifyChain(records, { seq: Number(head?.['seq'] ?? 0), hash: head?.['hash'] ?? '' }) };
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function readRecords(client: pg.ClientBase, name: string): Promise<AuditRecord[]> {
  if ((await client.query(`SELECT WHERE to_regclass('crossfade.audit') IS NOT NULL`)).rowCount === 0) return [];
  const rows = await queryRows(
    client,
    `SELECT seq::text AS seq, at, actor, event, from_state, to_state, details::text AS details, prev_hash, hash
     FROM crossfade.audit a WHERE name = $1 ORDER BY a.seq`,
    [name],
  );
  return rows.map((row) => ({
    name,
    seq: Number(row['seq']),
    at: row['at']!,
    actor: row['actor']!,
    event: row['event']!,
    fromState: row['from_state'] ?? null,
    toState: row['to_state'] ?? null,
    details: detailsOf(JSON.parse(row['details']!)),
    prevHash: row['prev_hash']!,
    hash: row['hash']!,
  }));
}

/** We write blocks; whatever else stands there was put there by somebody, and is kept, so that its hash does not hold. */
function detailsOf(found: unknown): Details {
  return typeof found === 'object' && found !== null && !Array.isArray(found) ? (found as Details) : { '': found };
}
